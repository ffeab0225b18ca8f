"""Reports and the call log at ten million rows (reduced: 300,000), and how fast finished calls are counted."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from functools import partial
from statistics import median
from typing import Any, NamedTuple
from uuid import UUID, uuid4

import psycopg
import pytest

from services.metering.connection import Connection
from services.metering.settler import Settler
from shared.db import Database
from shared.messages.base import Service
from shared.messages.health import PingMeteringV1, ReadyV1
from shared.messages.vocabulary import Outcome
from shared.records import Delivery
from shared.telemetry import Telemetry
from shared.testing.stack import full_run
from tests.faults.usage_scale import OPTIONS, RARE_KEY, WORKSPACE, grow
from tests.integration.metering_world import World, finished, metering, metering_world

pytestmark = [pytest.mark.faults, pytest.mark.timeout(3600)]
SMALL, LARGE, LARGE_REDUCED = 100_000, 10_000_000, 300_000
ROUNDS = 40 if full_run() else 15
BATCH = 256
GROUPS = (None, "provider", "alias", "model", "key", "capability", "outcome", "day")
RARE: tuple[dict[str, Any], ...] = (
    {}, {"provider": "mistral"}, {"model": "rare"}, {"alias_name": "rare"}, {"key_id": str(RARE_KEY)},
    {"outcome": Outcome.CONTENT_POLICY}, {"outcome": Outcome.RATE_LIMITED}, {"outcome": Outcome.SUCCESS},
    {"call_id": "call-77"}, {"model": "model-1", "alias_name": "alias-2", "key_id": str(UUID(int=2))},
)  # fmt: skip
PING = "an empty request"


class Times(NamedTuple):
    """Milliseconds from the question to the answer, at the edge's side."""

    p50: float
    p95: float


@pytest.fixture
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with metering_world(tmp_path_factory.mktemp("scale")) as world:
        yield world


class TestLedgerUsage:
    async def test_no_report_grows_with_the_log(self, world: World) -> None:
        large = LARGE if full_run() else LARGE_REDUCED
        async with metering(world):
            await asyncio.to_thread(grow, world, 0, SMALL)
            small = await _measure(world)
            began = time.monotonic()
            await asyncio.to_thread(grow, world, SMALL, large)
            print(f"usage: {large} rows after {time.monotonic() - began:.0f} s")
            found = await _measure(world)
        _print(small, found, large)
        noise = found.pop(PING).p95
        # A machine that is busy with other things answers nothing in time: an empty request says how busy it is.
        # The reduced run may share its machine: its printed times are to be read, and only their growth is judged.
        assert max(times.p95 for times in found.values()) < (50 if full_run() else 1_000) + noise
        assert sum(times.p50 for times in found.values()) < 1.5 * sum(small[name].p50 for name in found)

    async def test_finished_calls_per_second(self, world: World) -> None:
        number = 40_000 if full_run() else 10_000
        deliveries = await _held(world, number)
        database = Database(world.settings.database_url)
        settler = Settler(Connection(database), world.clock, Telemetry(Service.METERING, None))
        began, cpu = time.perf_counter(), time.process_time()
        for start in range(0, number, BATCH):
            await settler.settle(deliveries[start : start + BATCH])
        taken, cpu = time.perf_counter() - began, time.process_time() - cpu
        await settler.close()
        await database.close()
        counted = world.sql("SELECT sum(requests)::bigint AS n FROM usage_days")[0]["n"]
        print(f"ingest: {number / taken:.0f} events/s, {1e6 * cpu / number:.0f} us CPU of metering per event")
        assert counted == number
        assert number / taken > 200  # what the busiest machine reaches; the number to read is the printed one


async def _measure(world: World) -> dict[str, Times]:
    now = world.clock.now()
    stretches: dict[str, dict[str, Any]] = {
        "all": {},
        "the month": {"since": now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)},
        "30 days to the hour": {"since": now - timedelta(days=30, hours=5), "until": now - timedelta(hours=7)},
        "a day": {"since": now - timedelta(days=1)},
    }
    times = {PING: await _times(lambda: world.api.request(PingMeteringV1(), ReadyV1))}
    stretches["3 days"] = {"since": now - timedelta(days=3)}
    for name, stretch in stretches.items():
        for group in ("hour",) if name == "3 days" else GROUPS:
            times[f"{name} by {group}"] = await _times(partial(world.usage, WORKSPACE, group_by=group, **stretch))
    for filters in RARE:
        name = " ".join(f"{key}={value}" for key, value in filters.items()) or "newest"
        times[f"calls {name}"] = await _times(partial(world.calls, WORKSPACE, **{"limit": 50, **filters}))
    return times


async def _times(ask: Callable[[], Awaitable[object]]) -> Times:
    taken = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        await ask()
        taken.append(1000 * (time.perf_counter() - began))
    return Times(median(taken), sorted(taken)[int(0.95 * ROUNDS)])


def _print(small: dict[str, Times], found: dict[str, Times], large: int) -> None:
    for name, times in sorted(found.items(), key=lambda item: -item[1].p95):
        print(f"usage: p50 {times.p50:5.1f} p95 {times.p95:5.1f} ms; at {SMALL} rows {small[name].p50:5.1f} and "
              f"{small[name].p95:5.1f}: {name}")  # fmt: skip
    queries = [name for name in found if name != PING]
    ratio = sum(found[name].p50 for name in queries) / sum(small[name].p50 for name in queries)
    worst = max(queries, key=lambda name: found[name].p95)
    print(
        f"usage: {len(queries)} queries at {large} rows: slowest p95 {found[worst].p95:.1f} ms ({worst}), all medians"
    )
    print(f"usage: together {ratio:.2f} of those at {SMALL} rows; p95 of an empty request {found[PING].p95:.1f} ms")


async def _held(world: World, number: int) -> list[Delivery]:
    """Deliveries of the ends of ``number`` reservations: 4 keys of a workspace, 4 models."""
    async with metering(world):
        keys = [await world.key(2) for _ in range(4)]
        for key in keys:
            await world.reserve(2, key)
    attempts = [str(uuid4()) for _ in range(number)]
    world.sql("DELETE FROM reservations")
    with psycopg.connect(world.postgres.url, autocommit=True, options=OPTIONS) as connection:
        connection.execute(
            b"""
            INSERT INTO reservations (attempt_id, call_id, workspace_id, key_id, provider, model, alias_name,
                capability, attempt_index, usd_micros, tokens, period_start, created_at, expires_at)
            SELECT a, 'c', 2, (%s::uuid[])[1 + g %% 4], 'openai', 'm' || g / 4 %% 4, 'a', 'chat', 0, 700, 1100,
                date_trunc('month', now() AT TIME ZONE 'UTC'), now(), now() + interval '1 hour'
            FROM unnest(%s::uuid[]) WITH ORDINALITY AS r (a, g)
            """,
            (keys, attempts),
        )
    world.sql(
        "UPDATE budget_periods SET held_usd_micros = %s, held_tokens = %s, held_requests = %s",
        *(number * amount for amount in (700, 1100, 1)),
    )
    world.sql("VACUUM ANALYZE reservations")
    return [
        Delivery(finished(attempt, 2, keys[place % 4], model="m0").model_dump_json().encode(), None, 1)
        for place, attempt in enumerate(attempts, 1)
    ]
