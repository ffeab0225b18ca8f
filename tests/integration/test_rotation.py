"""KEK rotation in a vault that serves: what moves, what is refused afterwards, and what keeps it waiting."""

import asyncio
import json
import secrets
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from shared.errors import Code, OmniError
from shared.messages.custody import AuditV1, QueryAuditV1
from shared.messages.health import PingVaultV1, ReadyV1
from shared.messages.vault import KeyV1
from tests.integration.custody_world import (
    KekFile,
    custody_world,
    fresh,
    id_of,
    progress,
    refused,
    rotate,
    rotated,
    until,
)
from tests.integration.key_services import CREDENTIALS, Bao, Kms, bao_server, kms_server
from tests.integration.vault_world import World, replicas, vault_process

COUNT = 120
Running = tuple[World, KekFile]


@pytest.fixture(scope="module")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Running]:
    async with custody_world(tmp_path_factory.mktemp("rotation"), fresh()) as made:
        yield made


async def stored(world: World, count: int = 1) -> list[tuple[KeyV1, str]]:
    """Keys, each in a workspace of its own, with their secrets."""
    made = []
    for _ in range(count):
        secret = f"sk-{secrets.token_hex(16)}"
        made.append((await world.create(secret, workspace_id=secrets.randbelow(2**40) + 1), secret))
    return made


async def all_open(world: World, keys: list[tuple[KeyV1, str]]) -> None:
    for key, secret in keys:
        assert world.opened(await world.lease(key)) == secret


def kek_ids(world: World) -> set[object]:
    return {row[0] for row in world.sql("SELECT kek_id FROM workspace_deks WHERE wrapped IS NOT NULL")}


def wrapped_of(world: World, key: KeyV1) -> tuple[object, ...]:
    return world.sql("SELECT wrapped, kek_id FROM workspace_deks WHERE workspace_id = %s", key.workspace_id)[0]


def restore(world: World, key: KeyV1, wrapped: tuple[object, ...]) -> None:
    world.sql("UPDATE workspace_deks SET wrapped = %s, kek_id = %s WHERE workspace_id = %s", *wrapped, key.workspace_id)


async def actions(world: World) -> list[str]:
    page = await world.api.request(QueryAuditV1(workspace_id=0), AuditV1)
    return [entry.action for entry in page.items]


async def test_every_data_key_moves_and_the_old_kek_is_refused(running: Running) -> None:
    world, keks = running
    before = await progress(world)
    assert (before.state, before.kek_id) == ("idle", id_of(keks.lines[0]))
    keys = await stored(world, COUNT)
    old, new = keks.lines[0], fresh()
    copy = wrapped_of(world, keys[0][0])
    keks.put_first(new)
    done = await rotated(world)
    assert (done.kek_id, done.total, done.remaining, done.trouble) == (id_of(new), COUNT, 0, None)
    assert kek_ids(world) == {id_of(new)}
    await all_open(world, keys)
    assert (await actions(world))[:2] == ["kek_rotation_finished", "kek_rotation_started"]

    now = wrapped_of(world, keys[0][0])
    restore(world, keys[0][0], copy)
    assert id_of(old) in map(id_of, keks.lines), "the vault still has the old KEK, and refuses it all the same"
    assert await refused(world, keys[0][0])
    restore(world, keys[0][0], now)
    await all_open(world, keys[:1])


async def test_with_nothing_to_move_it_is_done_at_once(running: Running) -> None:
    world, keks = running
    found = await rotate(world)
    assert (found.state, found.kek_id, found.total) == ("done", id_of(keks.lines[0]), 0)


async def test_a_vault_does_not_start_with_a_retired_kek_in_front(running: Running) -> None:
    world, keks = running
    await stored(world)
    old = keks.lines[0]
    keks.put_first(fresh())
    await rotated(world)
    for lines in ((old,), (old, keks.lines[0])):
        file = KekFile(world.folder / "other-keks", *lines)
        with vault_process(world, "", VAULT_KEKS_FILE=str(file.path)) as process:
            assert await asyncio.to_thread(process.wait, 20) == 1
        assert "was rotated away and is refused; make the one it was rotated to" in world.log.read_text()


async def test_a_running_vault_ends_when_its_active_kek_is_retired(running: Running) -> None:
    world, keks = running
    await stored(world)
    stale = KekFile(world.folder / "stale-keks", *keks.lines)
    serving = world.log.read_bytes().count(b'"serving"')
    with vault_process(world, "", VAULT_KEKS_FILE=str(stale.path)) as process:
        await replicas(world, serving + 1)
        keks.put_first(fresh())
        await until_accepted(world, id_of(keks.lines[0]))
        assert await asyncio.to_thread(process.wait, 20) == 1


async def until_accepted(world: World, kek_id: str) -> None:
    # The stale replica may be asked, too: it opens a rotation to its own KEK, or goes on with ours.
    async with asyncio.timeout(20):
        while (await rotate(world)).kek_id != kek_id:  # noqa: ASYNC110 - another replica may answer the next time
            await asyncio.sleep(0.02)
    await until(world, "done")


async def test_a_replica_that_has_not_heard_of_a_kek_reads_the_file_again(running: Running) -> None:
    world, keks = running
    keys = await stored(world, 3)
    serving = world.log.read_bytes().count(b'"serving"')
    with vault_process(world, "", VAULT_KEKS_FILE=str(keks.path)):
        await replicas(world, serving + 1)
        for _ in range(3):
            keks.put_first(fresh())
            await rotated(world)
            for _ in range(4):
                await all_open(world, keys)


async def test_a_lost_data_key_keeps_a_rotation_waiting_and_says_so(running: Running) -> None:
    world, keks = running
    keys = await stored(world, 5)
    hurt = keys[0][0]
    whole = wrapped_of(world, hurt)
    restore(world, hurt, (bytes(130), whole[1]))
    keks.put_first(fresh())
    await rotate(world)
    waiting = await until(world, "running", trouble=True)
    assert waiting.remaining == 1
    assert waiting.trouble is not None
    assert waiting.trouble.startswith("1 data keys cannot be opened")
    await all_open(world, keys[1:])
    restore(world, hurt, whole)
    assert (await rotate(world)).state == "running", "asked again, it goes on"
    done = await until(world, "done")
    assert done.remaining == 0
    await all_open(world, keys)


async def test_a_newer_kek_takes_a_rotation_over(running: Running) -> None:
    world, keks = running
    keys = await stored(world, 3)
    whole = wrapped_of(world, keys[0][0])
    restore(world, keys[0][0], (bytes(130), whole[1]))
    keks.put_first(fresh())
    await rotate(world)
    await until(world, "running", trouble=True)
    keks.put_first(fresh())
    assert (await rotate(world)).kek_id == id_of(keks.lines[0])
    restore(world, keys[0][0], whole)
    await rotate(world)
    assert (await until(world, "done")).kek_id == id_of(keks.lines[0])
    await all_open(world, keys)
    assert kek_ids(world) == {id_of(keks.lines[0])}


async def test_unknown_keks_are_counted_at_the_start(running: Running) -> None:
    world, keks = running
    (key, _), *_ = await stored(world, 1)
    whole = wrapped_of(world, key)
    restore(world, key, (whole[0], "local:unknown"))
    serving = world.log.read_bytes().count(b'"serving"')
    with vault_process(world, "", VAULT_KEKS_FILE=str(keks.path)):
        await replicas(world, serving + 1)
    said = [json.loads(line) for line in world.log.read_text().splitlines() if "does not have" in line]
    assert [line["count"] for line in said] == [1]
    restore(world, key, whole)


async def test_a_vault_that_knows_no_kek_in_use_is_not_ready(running: Running) -> None:
    world, keks = running
    await stored(world)
    before = keks.lines
    keks.write(fresh())
    with pytest.raises(OmniError) as caught:
        await world.api.request(PingVaultV1(), ReadyV1)
    assert caught.value.code is Code.UNAVAILABLE
    assert "restore it" in caught.value.detail
    keks.write(*before)
    await world.api.request(PingVaultV1(), ReadyV1)


@pytest.mark.parametrize("weak", ["", "a passphrase of some length", "aws-kms:alias/omnipost"])
async def test_production_does_not_start_with_a_missing_or_weak_kek(running: Running, weak: str) -> None:
    world, _ = running
    with vault_process(world, weak, OMNIPOST_ENV="production") as process:
        assert await asyncio.to_thread(process.wait, 20) == 1
    said = json.loads(world.log.read_text().splitlines()[-1])
    assert said["event"] == "cannot start"
    assert "AI_ENCRYPTION_KEY" in said["reason"]
    assert not weak or weak not in world.log.read_text()


async def test_a_replica_with_older_keks_does_not_turn_a_rotation_back(running: Running) -> None:
    world, keks = running
    keys = await stored(world, 3)
    whole = wrapped_of(world, keys[0][0])
    stale = KekFile(world.folder / "older-keks", *keks.lines)
    restore(world, keys[0][0], (bytes(130), whole[1]))
    keks.put_first(fresh())
    await rotate(world)
    await until(world, "running", trouble=True)
    serving = world.log.read_bytes().count(b'"serving"')
    with vault_process(world, "", VAULT_KEKS_FILE=str(stale.path)):
        await replicas(world, serving + 1)
        assert {(await rotate(world)).kek_id for _ in range(20)} == {id_of(keks.lines[0])}
    restore(world, keys[0][0], whole)
    await rotate(world)
    await until(world, "done")
    await all_open(world, keys)


@pytest.mark.parametrize("kind", ["transit", "aws-kms"])
async def test_leases_fail_closed_while_the_key_service_is_silent(kind: str, tmp_path: Path) -> None:
    with bao_server(tmp_path) as bao, kms_server(tmp_path) as kms:
        service: Bao | Kms = bao if kind == "transit" else kms
        local, remote = fresh(), bao.new_key("omnipost") if kind == "transit" else kms.new_key()
        async with custody_world(tmp_path, local, **CREDENTIALS) as (world, keks):
            keys = await stored(world, 3)
            service.pause()
            keks.put_first(remote)
            await rotate(world)
            waiting = await until(world, "running", trouble=True)
            assert waiting.remaining == 3
            await all_open(world, keys)
            service.resume()
            await rotate(world)
            assert (await until(world, "done")).remaining == 0
            await all_open(world, keys)

            service.pause()
            with pytest.raises(OmniError) as caught:
                await world.lease(keys[0][0])
            assert caught.value.code is Code.UNAVAILABLE
            assert "cannot be opened" not in caught.value.detail
            service.resume()
            await all_open(world, keys)
            print(f"key service silent and back: kek={kind} leases fail closed, then serve without a restart")
