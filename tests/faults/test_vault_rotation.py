"""kill -9 of the vault: while every data key moves to a new KEK under load, and while a workspace is shredded."""

import asyncio
import itertools
import random
import secrets
import subprocess
from collections.abc import AsyncIterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID, uuid4

import psycopg
import pytest

from services.vault.domain import envelope
from services.vault.domain.envelope import DekPlace, KeyPlace
from services.vault.keks.local import LocalKek
from shared import sealing
from shared.clock import SystemClock
from shared.errors import OmniError
from shared.messages.base import Done
from shared.messages.custody import ShredWorkspaceV1
from shared.messages.vault import LeaseKeyV1, LeaseV1
from shared.messages.vocabulary import Modality
from tests.integration.custody_world import ACTOR, KekFile, fresh, progress, rotate
from tests.integration.vault_world import HOST, World, ready, replicas, vault_process, world_without_a_vault

pytestmark = pytest.mark.faults
KEYS = 10_000
PER_S = 100
KILLS = 5
WITHIN_S = 10.0
OLD = fresh()
Stored = dict[UUID, tuple[int, str]]

DEK_COLUMNS = "id, workspace_id, kek_id, wrapped, active, created_at"
KEY_COLUMNS = (
    "id, workspace_id, provider, label, masked_key, scopes, status, host, version, dek_id, ciphertext, "
    "created_at, updated_at"
)


# The values of the columns from ``provider`` to ``version``.
_ALIKE = ("openai", "x", "sk-…", ["text"], "active", HOST, 1)


async def store(world: World, number: int) -> Stored:
    """So many keys, each in a workspace of its own; workspace and secret by id."""
    kek, stored = LocalKek.parse(OLD), Stored()
    dek_rows, key_rows, now = list[tuple[object, ...]](), list[tuple[object, ...]](), datetime(2026, 11, 1, tzinfo=UTC)
    for workspace in range(1, number + 1):
        key_id, dek, secret = uuid4(), secrets.token_bytes(32), f"sk-{secrets.token_hex(12)}"
        place = DekPlace(workspace, uuid4(), kek.id)
        home = KeyPlace(workspace, key_id, 1, "openai", HOST, place.dek_id)
        ciphertext = envelope.encrypt_key(dek, secret.encode(), home, secrets.token_bytes(32))
        dek_rows.append((place.dek_id, workspace, kek.id, await kek.wrap(dek, place), True, now))
        key_rows.append((key_id, workspace, *_ALIKE, place.dek_id, ciphertext, now, now))
        stored[key_id] = (workspace, secret)
    with psycopg.connect(world.owner_url, options="-c search_path=vault") as connection:
        _copy(connection, f"workspace_deks ({DEK_COLUMNS})", dek_rows)
        _copy(connection, f"ai_provider_keys ({KEY_COLUMNS})", key_rows)
    return stored


def _copy(connection: psycopg.Connection[tuple[object, ...]], into: str, rows: list[tuple[object, ...]]) -> None:
    with connection.cursor().copy(f"COPY {into} FROM STDIN".encode()) as copy:
        for row in rows:
            copy.write_row(row)


class Load:
    """``PER_S`` leases a second, each opened as a router would."""

    def __init__(self, world: World, stored: Stored) -> None:
        self._world, self._stored, self._ids = world, stored, list(stored)
        self._tasks: set[asyncio.Task[None]] = set()
        self.served = 0
        self.failed: list[str] = []
        self.over = False

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        while not self.over:
            task = asyncio.create_task(self.lease(random.choice(self._ids)))  # noqa: S311 - any will do
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            due += 1 / PER_S
            await asyncio.sleep(max(0.0, due - loop.time()))
        await asyncio.gather(*self._tasks)

    async def lease(self, key_id: UUID) -> None:
        workspace, secret = self._stored[key_id]
        request = LeaseKeyV1(
            router_id="router-1",
            public_key=sealing.encode(self._world.router_key.public_key().public_bytes_raw()),
            workspace_id=workspace,
            key_id=str(key_id),
            host=HOST,
            scope=Modality.TEXT,
        )
        try:
            lease = await self._world.router.request(request, LeaseV1, timeout=WITHIN_S, repeatable=True)
            assert self._world.opened(lease) == secret
        except (OmniError, AssertionError, sealing.CannotOpen) as error:
            self.failed.append(repr(error))
        else:
            self.served += 1


class Replicas:
    """Two vault processes. ``kill`` ends one with -9 and starts it again."""

    def __init__(self, world: World, keks: KekFile) -> None:
        self._world, self._keks, self._stack = world, keks, ExitStack()
        self._processes = [self._start(), self._start()]
        self.kills = 0

    def _start(self) -> "subprocess.Popen[bytes]":
        environment = {"VAULT_KEKS_FILE": str(self._keks.path), "VAULT_REVERIFY_HOURS": "0"}
        return self._stack.enter_context(vault_process(self._world, "", **environment))

    @property
    def whole(self) -> bool:
        """Whether both have begun to serve."""
        return self._world.log.read_bytes().count(b'"serving"') == 2 + self.kills

    def kill(self) -> None:
        self._processes[0].kill()
        self._processes = [self._processes[1], self._start()]
        self.kills += 1

    def stop(self) -> None:
        self._stack.close()


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with world_without_a_vault(tmp_path) as made:
        yield made


class TestVaultRotation:
    async def test_ten_thousand_keys_move_under_load_and_kills(self, world: World) -> None:
        stored, keks, clock = await store(world, KEYS), KekFile(world.folder / "keks", OLD), SystemClock()
        key_id = next(iter(stored))
        copy = _dek(world, stored[key_id][0])
        vaults = Replicas(world, keks)
        try:
            await replicas(world, 2)
            await ready(world)
            load = Load(world, stored)
            loading = asyncio.create_task(load.run())
            keks.put_first(fresh())
            began = clock.monotonic()
            await rotate(world)
            await _kill_on_the_way(world, vaults)
            seconds = clock.monotonic() - began
            load.over = True
            await loading
            left = _left(world)
            print(
                f"rotation: keys={KEYS} leases={load.served} failed={len(load.failed)} kills={vaults.kills} "
                f"left_on_old={left} seconds={seconds:.1f} leases_per_s={load.served / seconds:.0f}"
            )
            assert load.failed == []
            assert (vaults.kills, left) == (KILLS, 0)
            await _old_kek_is_refused(world, load, key_id, stored[key_id][0], copy)
        finally:
            vaults.stop()
        await _vault_with_the_old_kek_ends(world)


class TestVaultShredding:
    async def test_a_killed_shredding_is_completed_by_a_repeat(self, world: World) -> None:
        kek, request = fresh(), ShredWorkspaceV1(workspace_id=7, actor=ACTOR)
        destroyed = "SELECT count(*) FROM workspace_deks WHERE destroyed_at IS NOT NULL"
        marked = "SELECT count(*) FROM shredded_workspaces"
        with vault_process(world, kek) as process:
            await ready(world)
            key = await world.create("sk-soon-beyond-recovery", workspace_id=7)
            # Killed once before anything is destroyed, and once after, while it waits for calls to end.
            world.metering_away = True
            await _killed_when(world, process, request, marked)
        assert world.sql(destroyed) == [(0,)]
        world.metering_away, world.held = False, itertools.repeat(1)
        with vault_process(world, kek) as process:
            await ready(world)
            await _killed_when(world, process, request, destroyed)
        world.held = itertools.repeat(0)
        with vault_process(world, kek):
            await ready(world)
            await world.api.request(request, Done, timeout=20)
            with pytest.raises(OmniError):
                await world.lease(key)
        assert world.sql("SELECT status, ciphertext FROM ai_provider_keys") == [("revoked", None)]
        print("shredding: kills=2 completed by a repeat, keys left=0")


async def _killed_when(
    world: World, process: "subprocess.Popen[bytes]", request: ShredWorkspaceV1, statement: str
) -> None:
    """Ask for it, and kill the vault as soon as ``statement`` counts one."""
    asking = asyncio.create_task(world.api.request(request, Done, timeout=3))
    async with asyncio.timeout(20):
        while world.sql(statement) == [(0,)]:  # noqa: ASYNC110 - a table has no event
            await asyncio.sleep(0.01)
    process.kill()
    with pytest.raises(OmniError):
        await asking


async def _kill_on_the_way(world: World, vaults: Replicas) -> None:
    async with asyncio.timeout(150):
        while (found := await progress(world)).state != "done":
            # One more with every sixth of the way: the last one leaves work to be done. The other one always serves.
            if vaults.kills < KILLS and vaults.whole and KEYS - found.remaining >= KEYS * vaults.kills / (KILLS + 1):
                vaults.kill()
            await asyncio.sleep(0.1)
    assert found.total == KEYS


async def _old_kek_is_refused(world: World, load: Load, key_id: UUID, workspace: int, copy: tuple[object, ...]) -> None:
    now = _dek(world, workspace)
    assert now != copy
    _restore(world, workspace, copy)
    await load.lease(key_id)
    assert len(load.failed) == 1
    assert "cannot be opened" in load.failed[0]
    _restore(world, workspace, now)
    await load.lease(key_id)
    assert len(load.failed) == 1
    print("old KEK: a restored data key is refused")


async def _vault_with_the_old_kek_ends(world: World) -> None:
    with vault_process(world, OLD) as process:
        assert await asyncio.to_thread(process.wait, 30) == 1
    assert "was rotated away and is refused" in world.log.read_text().splitlines()[-1]
    print("old KEK: a vault that has only it does not start, and says what to do")


def _dek(world: World, workspace: int) -> tuple[object, ...]:
    return world.sql("SELECT wrapped, kek_id FROM workspace_deks WHERE workspace_id = %s", workspace)[0]


def _restore(world: World, workspace: int, wrapped: tuple[object, ...]) -> None:
    world.sql("UPDATE workspace_deks SET wrapped = %s, kek_id = %s WHERE workspace_id = %s", *wrapped, workspace)


def _left(world: World) -> int:
    old = LocalKek.parse(OLD).id
    return int(str(world.sql("SELECT count(*) FROM workspace_deks WHERE kek_id = %s", old)[0][0]))
