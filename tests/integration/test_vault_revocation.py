"""A revocation answers once metering holds nothing for the key, and after four seconds at the latest."""

import asyncio
import itertools
import secrets
import time
from collections.abc import AsyncIterator, Iterator

import pytest

from shared.errors import Code, OmniError
from shared.messages.base import Done
from shared.messages.vault import KeyV1, RecordVerdictV1, RevokeKeyV1, UpdateKeyV1
from shared.messages.vocabulary import START_WITHIN_S, KeyStatus, Modality
from tests.integration.vault_world import PASSPHRASE, World, replicas, vault_process, vault_world

SECRET = "sk-proj-" + secrets.token_hex(20)


@pytest.fixture(scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with vault_world(tmp_path_factory.mktemp("vault")) as made:
        yield made


@pytest.fixture(autouse=True)
def fresh(world: World) -> Iterator[None]:
    world.blocked.clear()
    while not world.news.empty():
        world.news.get_nowait()
    yield
    world.held, world.metering_away = itertools.repeat(0), False


async def revoked(world: World, key: KeyV1) -> float:
    """Seconds the revocation took to answer."""
    began = time.monotonic()
    await world.api.request(RevokeKeyV1(workspace_id=key.workspace_id, key_id=key.id), Done, timeout=20)
    return time.monotonic() - began


def heard(world: World, key: KeyV1) -> int:
    events = [world.news.get_nowait() for _ in range(world.news.qsize())]
    return sum(event.revoked and event.key_id == key.id for event in events)


async def test_a_key_that_is_not_in_use_is_gone_at_once(world: World) -> None:
    key = await world.create(SECRET)
    spent = await revoked(world, key)
    assert spent < 1
    assert world.blocked == [key.id]


async def test_it_asks_until_the_last_reservation_has_ended(world: World) -> None:
    key = await world.create(SECRET)
    world.held = itertools.chain([3, 2, 2, 1], itertools.repeat(0))
    spent = await revoked(world, key)
    assert world.blocked == [key.id] * 5
    assert 0.07 < spent < 1.5  # 10 + 20 + 40 + 80 ms of pauses
    print(f"\nrevocation: asked={len(world.blocked)} ms={1000 * spent:.0f}")


async def test_the_ciphertext_is_gone_and_the_routers_know_before_it_waits(world: World) -> None:
    key = await world.create(SECRET)
    held = asyncio.Event()
    world.held = iter(lambda: int(not held.is_set()), None)
    while not world.news.empty():
        world.news.get_nowait()
    ending = asyncio.create_task(revoked(world, key))
    while not (event := await asyncio.wait_for(world.news.get(), 5)).revoked:
        pass
    assert event.key_id == key.id
    assert world.sql("SELECT ciphertext, status FROM ai_provider_keys WHERE id = %s", key.id) == [(None, "revoked")]
    assert not ending.done()
    held.set()
    await asyncio.wait_for(ending, 1)


async def test_a_router_that_hears_nothing_delays_it_by_four_seconds_and_no_more(world: World) -> None:
    key = await world.create(SECRET)
    world.held = itertools.repeat(1)
    spent = await revoked(world, key)
    assert START_WITHIN_S <= spent < START_WITHIN_S + 0.5
    reminders = heard(world, key)
    assert 6 <= reminders <= 9
    print(f"\nrevocation of a key that stays in use: seconds={spent:.2f} announcements={reminders}")


async def test_metering_that_goes_away_while_it_waits_is_waited_out(world: World) -> None:
    key = await world.create(SECRET)

    def leave() -> Iterator[int]:
        world.metering_away = True
        yield from itertools.repeat(1)

    world.held = leave()
    spent = await revoked(world, key)
    assert START_WITHIN_S <= spent < START_WITHIN_S + 0.5


async def test_a_repeated_revocation_waits_for_the_same_silence(world: World) -> None:
    key = await world.create(SECRET)
    await revoked(world, key)
    world.held = itertools.chain([1, 1], itertools.repeat(0))
    world.blocked.clear()
    await revoked(world, key)
    assert world.blocked == [key.id] * 3
    assert heard(world, key) == 2
    assert [entry.action for entry in await world.audit(key.workspace_id, key_id=key.id)] == [
        "key_created",
        "key_revoked",
    ]


async def test_a_vault_that_dies_while_it_waits_leaves_the_key_dead(world: World) -> None:
    key = await world.create(SECRET, workspace_id=71)
    with vault_process(world, PASSPHRASE) as process:
        await replicas(world, 2)
        world.held = itertools.repeat(1)
        # Enough of them that both replicas are at it.
        revocations = [asyncio.create_task(revoked(world, key)) for _ in range(8)]
        while not (await asyncio.wait_for(world.news.get(), 5)).revoked:
            pass
        process.kill()
    answers = await asyncio.gather(*revocations, return_exceptions=True)
    world.held = itertools.repeat(0)
    await revoked(world, key)
    assert world.sql("SELECT ciphertext FROM ai_provider_keys WHERE id = %s", key.id) == [(None,)]
    assert all(isinstance(answer, float | OmniError) for answer in answers)
    assert [entry.action for entry in await world.audit(71)] == ["key_created", "key_revoked"]


async def test_nothing_revives_a_revoked_key(world: World) -> None:
    key = await world.create(SECRET, workspace_id=72)
    await asyncio.gather(revoked(world, key), *(_verdict(world, key) for _ in range(20)), return_exceptions=True)
    place = {"key_id": key.id, "workspace_id": 72, "provider": key.provider, "host": key.host}
    attempts = [
        UpdateKeyV1(workspace_id=72, key_id=key.id, label="back"),
        UpdateKeyV1(workspace_id=72, key_id=key.id, scopes=frozenset(Modality)),
        UpdateKeyV1(workspace_id=72, key_id=key.id, host=key.host, sealed=world.sealed(SECRET, **place)),  # type: ignore[arg-type]
        world.creation(SECRET, workspace_id=72, key_id=key.id),
    ]
    for attempt in attempts:
        with pytest.raises(OmniError) as caught:
            await world.api.request(attempt, KeyV1)
        assert caught.value.code is Code.CONFLICT
    assert (await _verdict(world, key)).status is KeyStatus.REVOKED
    for verifying in (False, True):
        with pytest.raises(OmniError) as caught:
            await world.lease(key, verifying=verifying)
        assert caught.value.code is Code.MISSING_KEY
    found = world.sql("SELECT status, ciphertext, revoked_at IS NOT NULL FROM ai_provider_keys WHERE id = %s", key.id)
    assert found == [("revoked", None, True)]


async def _verdict(world: World, key: KeyV1) -> KeyV1:
    verdict = RecordVerdictV1(
        workspace_id=key.workspace_id, key_id=key.id, version=key.version, status=KeyStatus.ACTIVE
    )
    return await world.router.request(verdict, KeyV1)
