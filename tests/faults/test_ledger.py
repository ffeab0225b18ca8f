"""One long bad day: kills, failpoints, outages, a lost stream; at its end the provider's journal and the books agree.

The tests run in order on one stack under load. The last one waits until nothing is held and compares everything.
"""

import asyncio
import os
import random
import shutil
import signal
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from time import monotonic
from uuid import uuid4

import nats
import pytest

from shared.messages.router import CallFinishedV1
from shared.testing.stack import PARTS, Stack, full_run
from tests.e2e.world import connected, eventually
from tests.faults.journal import Load, Provider, audit, loaded

pytestmark = [pytest.mark.faults, pytest.mark.timeout(3600)]
CLIENTS = 8
KILLS, CALLS, PASSES, OUTAGE_S = (200, 20_000, 50, 10.0) if full_run() else (6, 300, 1, 6.0)
# From here on a router may no longer begin what it was admitted for before (shared.messages.vocabulary.START_WITHIN_S).
STARTED_S = 4.5
BACK_WITHIN_S = 5.0
POINTS = (
    "api.asks", "api.answers", "router.received", "router.admitted", "router.answered", "router.record",
    "router.recorded", "router.replies", "metering.reserve.commit", "metering.reserve.committed",
    "metering.settle.commit", "metering.settle.committed", "metering-calls.acknowledged", "vault.asked", "vault.leased",
)  # fmt: skip
# Passed when a hold expires, which takes half a minute: they lie in wait meanwhile.
RARE = ("metering.expire.commit", "metering.expire.committed")


@pytest.fixture(scope="class")
async def load(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Load]:
    home = tmp_path_factory.mktemp("ledger")
    (home / "failpoints").mkdir()
    environment = {
        "OMNIPOST_ALLOWED_PRIVATE_HOSTS": "127.0.0.1",
        "OMNIPOST_FAILPOINTS_DIR": str(home / "failpoints"),
    }
    stack = await asyncio.to_thread(Stack.start, home / "home", environment=environment)
    try:
        async with connected(stack) as world, Provider() as provider:
            yield await loaded(stack, world, provider)
    finally:
        await asyncio.to_thread(stack.stop)


@asynccontextmanager
async def calling(load: Load) -> AsyncIterator[None]:
    """Clients call meanwhile."""
    load.start(CLIENTS)
    try:
        await load.more(CLIENTS)
        yield
    finally:
        await load.stop()
        assert not load.strange, load.strange[:3]


async def ready(stack: Stack) -> bool | None:
    return await asyncio.to_thread(stack.is_ready) or None


@asynccontextmanager
async def away(stack: Stack, part: str) -> AsyncIterator[None]:
    """``part`` is killed and nobody starts it again."""
    os.kill(stack.process.pid, signal.SIGSTOP)
    try:
        await asyncio.to_thread(stack.kill, part)
        yield
    finally:
        os.kill(stack.process.pid, signal.SIGCONT)


class TestLedgerUnderFire:
    async def test_random_kills_of_every_part(self, load: Load) -> None:
        began, slowest = monotonic(), 0.0
        async with calling(load):
            for number in range(KILLS):
                await asyncio.sleep(random.uniform(0, 0.5))  # noqa: S311 - when to kill
                part = PARTS[number % len(PARTS)]
                killed = monotonic()
                await asyncio.to_thread(load.stack.kill, part)
                await eventually(lambda: ready(load.stack), within_s=90)
                slowest = max(slowest, monotonic() - killed)
            await load.more(max(1, CALLS - len(load.answered)), within_s=1800)
        print(f"kills: {KILLS} random kill -9 in {monotonic() - began:.0f} s, {len(load.answered)} calls answered, "
              f"{len(load.provider.journal)} requests, slowest recovery {slowest:.1f} s")  # fmt: skip
        assert len(load.answered) >= CALLS

    async def test_death_at_every_boundary_of_a_calls_life(self, load: Load) -> None:
        died = Counter[str]()
        async with calling(load):
            for number in range(PASSES):
                for point in RARE:
                    died[point] += _arm(load, point, 1)
                for point in random.sample(POINTS, len(POINTS)):
                    await _die_at(load, point, 1 + number % 7)
                    died[point] += 1
        print(f"failpoints: {len(POINTS)} boundaries x {PASSES}: {sum(died[point] for point in POINTS)} deaths")
        assert died.keys() >= set(POINTS)

    @pytest.mark.parametrize("part", ["postgres", "nats", "metering"])
    async def test_nothing_is_sent_while_a_part_is_away(self, load: Load, part: str) -> None:
        async with calling(load):
            async with away(load.stack, part):
                began = monotonic()
                await asyncio.sleep(OUTAGE_S)
                ended = monotonic()
            while load.answered and max(load.answered.values()) < ended:
                await load.more(1)
            recovery = min(at for at in load.answered.values() if at > ended) - ended
        sent = [entry for entry in load.provider.journal if began + STARTED_S < entry.at < ended]
        print(f"{part} away for {OUTAGE_S:.0f} s: {len(sent)} calls sent, serving again after {recovery:.1f} s")
        assert not sent
        assert recovery <= BACK_WITHIN_S * _crowded()

    async def test_the_stream_may_be_lost_whole(self, load: Load) -> None:
        before = set(load.answered)
        async with calling(load):
            lost = _said_so(load.stack)
            await asyncio.to_thread(shutil.rmtree, load.stack.home / "nats" / "jetstream", ignore_errors=True)
            await eventually(lambda: _told(load.stack, lost), within_s=30)
            await load.more(100)
        answered = set(load.answered) - before
        settled = await eventually(lambda: _rows_of(load, answered), within_s=60)
        print(f"JetStream's folder deleted under load: {len(answered)} calls answered, {settled} rows with their cost")

    async def test_a_router_that_dies_with_the_stream_leaves_holds_that_expire(self, load: Load) -> None:
        async with calling(load):
            lost = _said_so(load.stack)
            await asyncio.to_thread(shutil.rmtree, load.stack.home / "nats" / "jetstream", ignore_errors=True)
            await asyncio.to_thread(load.stack.kill, "router")
            await eventually(lambda: _told(load.stack, lost), within_s=30)
            await load.more(100)

    async def test_journal_and_books_agree(self, load: Load) -> None:
        seconds = await _nothing_held(load)
        died = sum(not _point(load, point).exists() for point in RARE)
        verdict = await audit(load)
        letters = await load.stack.query("SELECT reason, count(*)::int FROM metering.dead_letters GROUP BY 1")
        print(f"after {seconds:.0f} s nothing is held; {verdict}; letters {dict(letters)}; statuses {load.statuses}; "
              f"died while expiring: {died} of {len(RARE)}")  # fmt: skip
        assert (verdict.missing, verdict.doubled, verdict.foreign, verdict.drift) == (0, 0, 0, 0)
        assert verdict.rows >= len(load.provider.journal)

    async def test_the_whole_event_stream_again_changes_nothing(self, load: Load) -> None:
        # Metering may have died at one of the rare points just now.
        await eventually(lambda: ready(load.stack), within_s=30)
        before, usage = await audit(load), await load.world.usage(load.workspace)
        replayed = await _replay(load)
        after = await audit(load)
        letters = await load.stack.query("SELECT reason, count(*)::int FROM metering.dead_letters GROUP BY 1")
        print(
            f"{replayed} events published again, past the window: rows {before.rows} -> {after.rows}, {dict(letters)}"
        )
        assert after == before
        assert (await load.world.usage(load.workspace))["totals"] == usage["totals"]


def _point(load: Load, name: str) -> Path:
    return load.stack.home.parent / "failpoints" / name


def _arm(load: Load, name: str, passes: int) -> bool:
    """Whether it has been passed since it was armed last, and is armed anew."""
    file = _point(load, name)
    if file.exists():
        return False
    file.write_text(str(passes))
    return True


async def _die_at(load: Load, name: str, passes: int) -> None:
    if name.startswith("vault"):
        # Leases are remembered: only a router that has just started asks.
        passes = 1
        await asyncio.to_thread(load.stack.kill, "router")
    file = _point(load, name)
    _arm(load, name, passes)
    # The file is gone only if the process that passed it is.
    await eventually(lambda: _gone(file), within_s=120)
    await eventually(lambda: ready(load.stack), within_s=90)


async def _gone(file: Path) -> bool | None:
    return None if await asyncio.to_thread(file.exists) else True


def _crowded() -> float:
    """How many times slower this machine is because others use it."""
    return max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))


def _said_so(stack: Stack) -> int:
    return sum("lost its files" in line for line in stack.printed)


async def _told(stack: Stack, before: int) -> bool | None:
    return _said_so(stack) > before or None


async def _rows_of(load: Load, calls: set[str]) -> int | None:
    rows = await load.stack.query(
        "SELECT count(DISTINCT call_id)::int FROM metering.ai_call_logs"
        " WHERE call_id = ANY(%s) AND outcome = 'success' AND cost_usd_micros IS NOT NULL",
        list(calls),
    )
    return rows[0][0] if rows[0][0] == len(calls) else None


async def _nothing_held(load: Load) -> float:
    began = monotonic()

    async def none() -> bool | None:
        held = await load.stack.query("SELECT 1 FROM metering.reservations WHERE state = 'held' LIMIT 1")
        return None if held else True

    await eventually(none, within_s=180)
    return monotonic() - began


async def _buried(load: Load, attempt: str) -> bool | None:
    return bool(await load.stack.query("SELECT 1 FROM metering.dead_letters WHERE attempt_id = %s", attempt)) or None


async def _replay(load: Load) -> int:
    """Every fact of the log once more, without the id by which the stream would know it."""
    columns = [name for name in CallFinishedV1.model_fields if name not in ("sent", "tokens", "fallback_from")]
    rows = await load.stack.query(
        "SELECT to_jsonb(l) FROM metering.ai_call_logs l WHERE workspace_id = %s", load.workspace
    )
    marker = str(uuid4())
    client = await nats.connect(
        load.stack.nats_url, nkeys_seed=str(load.stack.home / "secrets" / "nkey-router.seed"),
        inbox_prefix="_INBOX_router",
    )  # fmt: skip
    for (row,) in rows:
        tokens = {name: row[name] for name in ("input_tokens", "output_tokens")}
        event = CallFinishedV1.model_validate({**{name: row[name] for name in columns}, "sent": True, "tokens": tokens})
        await client.publish(CallFinishedV1.subject, event.model_dump_json().encode())
    # What comes last is read last: an attempt nobody has reserved.
    await client.publish(
        CallFinishedV1.subject, event.model_copy(update={"attempt_id": marker}).model_dump_json().encode()
    )
    await client.flush()
    await eventually(lambda: _buried(load, marker), within_s=60)
    await client.close()
    return len(rows)
