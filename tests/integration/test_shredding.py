"""A workspace's data key: replaced while its keys are leased, and destroyed with the workspace."""

import asyncio
import secrets
from collections.abc import AsyncIterator

import pytest

from shared.errors import Code, OmniError
from shared.messages.base import Done
from shared.messages.custody import AuditV1, DekRotationV1, QueryAuditV1, RotateDekV1, ShredWorkspaceV1
from shared.messages.vault import KeyV1, UpdateKeyV1
from shared.messages.vocabulary import KeyStatus
from tests.integration.custody_world import ACTOR, custody_world, fresh, refused
from tests.integration.vault_world import World

KEYS = 6


@pytest.fixture(scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with custody_world(tmp_path_factory.mktemp("shredding"), fresh()) as (made, _):
        yield made


@pytest.fixture
def workspace() -> int:
    return secrets.randbelow(2**40) + 1


async def rotate_dek(world: World, workspace: int) -> int:
    request = RotateDekV1(workspace_id=workspace, actor=ACTOR)
    return (await world.api.request(request, DekRotationV1, timeout=20)).keys


async def shred(world: World, workspace: int, timeout_s: float = 30) -> None:
    await world.api.request(ShredWorkspaceV1(workspace_id=workspace, actor=ACTOR), Done, timeout=timeout_s)


async def stored(world: World, workspace: int, count: int = KEYS) -> list[tuple[KeyV1, str]]:
    texts = [f"sk-{secrets.token_hex(16)}" for _ in range(count)]
    return [(await world.create(text, workspace_id=workspace), text) for text in texts]


async def actions(world: World, workspace: int) -> list[str]:
    page = await world.api.request(QueryAuditV1(workspace_id=workspace), AuditV1)
    return [entry.action for entry in page.items]


def deks(world: World, workspace: int) -> list[tuple[object, ...]]:
    statement = "SELECT id, wrapped, active FROM workspace_deks WHERE workspace_id = %s ORDER BY created_at, id"
    return world.sql(statement, workspace)


async def problem(awaited: object) -> OmniError:
    with pytest.raises(OmniError) as caught:
        await awaited  # type: ignore[misc]
    return caught.value


# -- a new data key ------------------------------------------------------------------------------------------


async def test_leases_go_on_while_the_data_key_is_replaced(world: World, workspace: int) -> None:
    keys, served, over = await stored(world, workspace), 0, asyncio.Event()

    async def lease(key: KeyV1, secret: str) -> None:
        nonlocal served
        while not over.is_set():
            assert world.opened(await world.lease(key)) == secret
            served += 1

    leasing = [asyncio.create_task(lease(*key)) for key in keys]
    for _ in range(20):
        assert await rotate_dek(world, workspace) == KEYS
    over.set()
    await asyncio.gather(*leasing)
    rows = deks(world, workspace)
    print(f"data key replaced: rotations=20 keys={KEYS} leases={served} failed=0")
    assert len(rows) == 21
    assert [(wrapped is None, active) for _, wrapped, active in rows].count((True, False)) == 20
    assert (await actions(world, workspace)).count("dek_rotated") == 20
    assert served > 20


async def test_nothing_opens_under_the_old_data_key(world: World, workspace: int) -> None:
    (key, _), *_ = await stored(world, workspace, 1)
    before = world.sql("SELECT ciphertext, dek_id FROM ai_provider_keys WHERE id = %s", key.id)[0]
    await rotate_dek(world, workspace)
    world.sql("UPDATE ai_provider_keys SET ciphertext = %s, dek_id = %s WHERE id = %s", *before, key.id)
    assert await refused(world, key)


async def test_keys_stored_and_replaced_meanwhile_open_afterwards(world: World, workspace: int) -> None:
    keys = await stored(world, workspace, 2)
    secret = "sk-" + secrets.token_hex(16)

    async def replaced(key: KeyV1) -> KeyV1:
        sealed = world.sealed(secret, key_id=key.id, workspace_id=workspace, provider=key.provider, host=key.host)
        update = UpdateKeyV1(workspace_id=workspace, key_id=key.id, host=key.host, sealed=sealed)
        return await world.api.request(update, KeyV1)

    async def rotations() -> None:
        for _ in range(6):
            await rotate_dek(world, workspace)

    creating = [world.create(secret, workspace_id=workspace) for _ in range(12)]
    results = await asyncio.gather(rotations(), *creating, *(replaced(key) for key, _ in keys), return_exceptions=True)
    made = [found for found in results if isinstance(found, KeyV1)]
    # Losing against too many rotations in a row is a plain "try again", never a key that does not open.
    assert {found.code for found in results if isinstance(found, OmniError)} <= {Code.UNAVAILABLE}
    assert len(made) >= 10
    for key in made:
        assert world.opened(await world.lease(key)) == secret
    await rotate_dek(world, workspace)
    for key in made:
        assert world.opened(await world.lease(key)) == secret


async def test_a_workspace_without_a_data_key_has_none_to_rotate(world: World, workspace: int) -> None:
    assert (await problem(rotate_dek(world, workspace))).code is Code.NOT_FOUND


async def test_one_key_that_cannot_be_opened_changes_nothing(world: World, workspace: int) -> None:
    (good, secret), (bad, _) = await stored(world, workspace, 2)
    world.sql("UPDATE ai_provider_keys SET ciphertext = %s WHERE id = %s", bytes(120), bad.id)
    before = deks(world, workspace)
    assert (await problem(rotate_dek(world, workspace))).code is Code.UNAVAILABLE
    assert deks(world, workspace) == before
    assert world.opened(await world.lease(good)) == secret


# -- no data key any more ------------------------------------------------------------------------------------


async def test_a_dump_from_before_opens_nothing(world: World, workspace: int) -> None:
    keys = await stored(world, workspace)
    columns = "id, status, ciphertext, revoked_at"
    dump = world.sql(f"SELECT {columns} FROM ai_provider_keys WHERE workspace_id = %s", workspace)
    await shred(world, workspace)
    assert set(world.blocked) >= {key.id for key, _ in keys}
    assert [(wrapped, active) for _, wrapped, active in deks(world, workspace)] == [(None, False)]
    left = world.sql("SELECT status, ciphertext FROM ai_provider_keys WHERE workspace_id = %s", workspace)
    assert left == [("revoked", None)] * KEYS

    restore = "UPDATE ai_provider_keys SET status = %s, ciphertext = %s, revoked_at = %s WHERE id = %s"
    for key_id, *values in dump:
        world.sql(restore, *values, key_id)
    results = [await refused(world, key) for key, _ in keys]
    print(f"shredded: keys restored from a dump={len(results)} leases refused={sum(results)}")
    assert all(results)


async def test_it_is_told_and_written_down_once(world: World, workspace: int) -> None:
    keys = await stored(world, workspace, 2)
    while not world.news.empty():
        world.news.get_nowait()
    for _ in range(3):
        await shred(world, workspace)
    told = [world.news.get_nowait() for _ in range(world.news.qsize())]
    assert {news.key_id for news in told if news.revoked} == {key.id for key, _ in keys}
    done = await actions(world, workspace)
    assert done[:3] == ["workspace_shredded", "key_revoked", "key_revoked"]
    assert done.count("workspace_shredded") == 1


async def test_a_shredded_workspace_takes_no_key(world: World, workspace: int) -> None:
    await stored(world, workspace, 1)
    await shred(world, workspace)
    assert (await problem(world.create("sk-again-and-again", workspace_id=workspace))).code is Code.NOT_FOUND
    empty = workspace + 1
    await shred(world, empty)
    assert (await problem(world.create("sk-again-and-again", workspace_id=empty))).code is Code.NOT_FOUND
    assert (await problem(rotate_dek(world, workspace))).code is Code.NOT_FOUND


async def test_keys_stored_meanwhile_are_refused_or_shredded(world: World, workspace: int) -> None:
    await stored(world, workspace, 1)
    creating = [asyncio.create_task(world.create("sk-while-shredding", workspace_id=workspace)) for _ in range(20)]
    await shred(world, workspace)
    results = await asyncio.gather(*creating, return_exceptions=True)
    codes = {found.code for found in results if isinstance(found, OmniError)}
    assert codes <= {Code.NOT_FOUND, Code.UNAVAILABLE}
    living = "SELECT count(*) FROM ai_provider_keys WHERE workspace_id = %s AND ciphertext IS NOT NULL"
    assert world.sql(living, workspace) == [(0,)]
    assert [row for row in deks(world, workspace) if row[1] is not None] == []


async def test_without_metering_nothing_is_destroyed_and_a_repeat_completes_it(world: World, workspace: int) -> None:
    (key, secret), *_ = await stored(world, workspace, 1)
    world.metering_away = True
    try:
        assert (await problem(shred(world, workspace))).code is Code.UNAVAILABLE
    finally:
        world.metering_away = False
    assert world.opened(await world.lease(key)) == secret
    assert (await problem(world.create("sk-too-late-now", workspace_id=workspace))).code is Code.NOT_FOUND
    await shred(world, workspace)
    assert (await problem(world.lease(key))).code is Code.MISSING_KEY
    assert world.sql("SELECT status FROM ai_provider_keys WHERE id = %s", key.id) == [(KeyStatus.REVOKED.value,)]
