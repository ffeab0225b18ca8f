"""The database as it is on bad days: deadlocks, serialisation failures and broken connections inside transactions."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest

from shared.errors import Code, OmniError
from shared.testing.stack import full_run
from tests.integration.books import drift
from tests.integration.metering_world import World, metering_processes, metering_world

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]
INJECTIONS = 1_000 if full_run() else 150
CLIENTS = 16
# Real errors, raised by the server where they hurt: on the way, and at the commit itself (a deferred trigger). The last
# kind ends the connection in the middle of the transaction. Sequences count on through every rollback.
FUNCTION = """
CREATE FUNCTION inject() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = metering AS $$
DECLARE
    -- One throw a transaction, however many rows it has: another try is another throw.
    dice integer := mod(abs(hashint8(pg_current_xact_id()::text::bigint)), 100);
BEGIN
    IF TG_NAME = 'inject_at_commit' THEN
        dice := dice - 10;
    END IF;
    IF dice BETWEEN 0 AND 3 THEN
        PERFORM nextval('injected_deadlocks');
        RAISE EXCEPTION 'injected' USING ERRCODE = 'deadlock_detected';
    ELSIF dice BETWEEN 4 AND 7 THEN
        PERFORM nextval('injected_serialisation_failures');
        RAISE EXCEPTION 'injected' USING ERRCODE = 'serialization_failure';
    ELSIF dice BETWEEN 8 AND 9 THEN
        PERFORM nextval('injected_disconnects');
        PERFORM pg_terminate_backend(pg_backend_pid());
    END IF;
    RETURN NULL;
END $$
"""
ON_THE_WAY = """
CREATE TRIGGER inject_on_the_way AFTER INSERT OR UPDATE ON reservations FOR EACH ROW EXECUTE FUNCTION inject()
"""
AT_COMMIT = """
CREATE CONSTRAINT TRIGGER inject_at_commit AFTER INSERT OR UPDATE ON reservations
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION inject()
"""
KINDS = ("deadlocks", "serialisation_failures", "disconnects")


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with metering_world(tmp_path) as world:
        yield world


class TestLedgerDatabase:
    async def test_no_call_is_lost_to_what_the_database_refuses(self, world: World) -> None:
        async with metering_processes(world, 2):
            keys = [(workspace, await world.key(workspace)) for workspace in (1, 2) for _ in range(3)]
            # Every workspace's own account is there before anything goes wrong.
            done = [await _call(world, *key) for key in keys]
            _inject(world)
            refused = Counter[str]()
            while sum(_injected(world).values()) < INJECTIONS:
                clients = (_client(world, keys, refused, done) for _ in range(CLIENTS))
                await asyncio.gather(*clients)
            world.sql("DROP TRIGGER inject_on_the_way ON reservations")
            world.sql("DROP TRIGGER inject_at_commit ON reservations")
            await world.settled(*done)
        rows = Counter(str(row["attempt_id"]) for row in world.sql("SELECT attempt_id FROM ai_call_logs"))
        lost, doubled = set(done) - rows.keys(), [attempt for attempt, count in rows.items() if count > 1]
        letters, drifted = world.sql("SELECT reason FROM dead_letters"), drift(world)
        counted = _injected(world)
        print(f"injected {counted} under {len(done)} calls ({refused.total()} asked again): "
              f"{len(lost)} lost, {len(doubled)} doubled, {len(drifted)} drifted, {len(letters)} letters")  # fmt: skip
        assert (lost, doubled, drifted, letters) == (set(), [], [], [])
        assert set(rows) == set(done)


async def _client(world: World, keys: list[tuple[int, str]], refused: "Counter[str]", done: list[str]) -> None:
    for _ in range(10):
        workspace, key = random.choice(keys)  # noqa: S311 - which key
        done.append(await _call(world, workspace, key, refused))


async def _call(world: World, workspace: int, key: str, refused: "Counter[str] | None" = None) -> str:
    """Reserve until the answer is yes, then say how it ended; the attempt."""
    attempt = str(uuid4())
    while True:
        try:
            await world.reserve(workspace, key, attempt_id=attempt)
        except OmniError as error:
            # Whether it is held is unknown then, and asking again with the same id is safe.
            if error.code is not Code.UNAVAILABLE or refused is None:
                raise
            refused[error.code.value] += 1
            await asyncio.sleep(0.02)
        else:
            await world.finish(attempt, workspace, key)
            return attempt


def _inject(world: World) -> None:
    for kind in KINDS:
        world.sql(f"CREATE SEQUENCE injected_{kind}")
    for statement in (FUNCTION, ON_THE_WAY, AT_COMMIT):
        world.sql(statement)


def _injected(world: World) -> dict[str, int]:
    counted = {kind: world.sql(f"SELECT last_value, is_called FROM injected_{kind}")[0] for kind in KINDS}
    return {kind: int(str(row["last_value"])) if row["is_called"] else 0 for kind, row in counted.items()}
