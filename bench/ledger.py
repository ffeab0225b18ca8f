"""Reservations per second on one hot budget row, and finished calls per second that one metering process counts."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from uuid import uuid4

from psycopg import AsyncConnection

from bench.processes import cpu_s
from bench.standin import router
from shared.bus import Bus
from shared.clock import SystemClock
from shared.messages.metering import ReservationV1, ReserveV1
from shared.messages.router import CallFinishedV1, TokensV1
from shared.messages.vault import KeysV1, ListKeysV1
from shared.messages.vocabulary import Billing, Outcome
from shared.testing.stack import Stack

CLIENTS = 256
TTL_S = 600.0
LONGEST_S = 60.0
# Asked of an index, so the question costs next to nothing.
_HELD = b"SELECT count(*) FROM metering.reservations WHERE state = 'held' AND workspace_id = 1"
_ROWS = "SELECT count(*) FROM metering.ai_call_logs WHERE attempt_id = ANY(%s::uuid[])"
PARTS = ("metering", "postgres", "nats")


async def ledger(stack: Stack, count: int) -> None:
    """Reserve ``count`` attempts with the first key of workspace 1, as a router does, and count their ends."""
    async with router(stack) as bus:
        key_id = (await bus.request(ListKeysV1(workspace_id=1), KeysV1)).items[0].id
        warm = await _reserve(bus, key_id, count // 10)
        await _finish(stack, bus, key_id, warm + await _reservations(stack, bus, key_id, count))


async def _reservations(stack: Stack, bus: Bus, key_id: str, count: int) -> list[str]:
    before, began = cpu_s(stack), time.perf_counter()
    attempts = await _reserve(bus, key_id, count)
    spent, after = time.perf_counter() - began, cpu_s(stack)
    metering, postgres, nats = (1000 * (after[part] - before[part]) / count for part in PARTS)
    print(
        f"reservations_per_s={count / spent:.0f} cpu_ms_per_reservation={metering + postgres:.3f} "
        f"metering={metering:.3f} postgres={postgres:.3f} nats={nats:.3f} clients={CLIENTS}"
    )
    return attempts


async def _reserve(bus: Bus, key_id: str, count: int) -> list[str]:
    attempts = [str(uuid4()) for _ in range(count)]

    async def reserve(attempt: str) -> None:
        request = ReserveV1(
            attempt_id=attempt, call_id=attempt, workspace_id=1, key_id=key_id, provider="bench", model="bench",
            alias_name="bench", capability="chat", usd_micros=700, tokens=1100, ttl_s=TTL_S,
        )  # fmt: skip
        if not (await bus.request(request, ReservationV1, timeout=10)).granted:
            raise RuntimeError("a reservation far below the cap was refused")

    await _side_by_side(attempts, reserve)
    return attempts


async def _finish(stack: Stack, bus: Bus, key_id: str, attempts: Sequence[str]) -> None:
    """The events are all in the stream before metering may read it: only its own speed is measured."""
    async with _halted(stack), await AsyncConnection.connect(stack.owner_url, autocommit=True) as database:
        await _side_by_side(attempts, lambda attempt: bus.record(_finished(attempt, key_id), timeout=10))
        before, began = cpu_s(stack), time.perf_counter()
        os.kill(stack.pid("metering"), signal.SIGCONT)
        async with asyncio.timeout(LONGEST_S):
            while await (await database.execute(_HELD)).fetchone() != (0,):  # noqa: ASYNC110 - rows have no event
                await asyncio.sleep(0.02)
        spent, after = time.perf_counter() - began, cpu_s(stack)
    rows = (await stack.query(_ROWS, list(attempts)))[0][0]
    if rows != len(attempts):
        raise RuntimeError(f"{len(attempts)} calls were finished and {rows} were logged")
    metering, postgres, nats = (1e6 * (after[part] - before[part]) / rows for part in PARTS)
    print(
        f"ingest_events_per_s={rows / spent:.0f} cpu_us_per_event={metering + postgres:.0f} metering={metering:.0f} "
        f"postgres={postgres:.0f} nats={nats:.0f} events={rows}"
    )


@asynccontextmanager
async def _halted(stack: Stack) -> AsyncIterator[None]:
    """Metering stands still; at the end it goes on in any case."""
    os.kill(stack.pid("metering"), signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(stack.pid("metering"), signal.SIGCONT)


def _finished(attempt: str, key_id: str) -> CallFinishedV1:
    now = SystemClock().now()
    return CallFinishedV1(
        attempt_id=attempt, call_id=attempt, workspace_id=1, key_id=key_id, provider="bench", model="bench",
        alias_name="bench", capability="chat", attempt_index=0, sent=True, outcome=Outcome.SUCCESS,
        billing=Billing.COST, status=200, finish_reason="stop", tokens=TokensV1(input_tokens=80, output_tokens=60),
        cost_usd_micros=200, latency_ms=412, started_at=now, finished_at=now,
    )  # fmt: skip


async def _side_by_side(attempts: Iterable[str], do: Callable[[str], Awaitable[None]]) -> None:
    remaining = iter(attempts)

    async def client() -> None:
        for attempt in remaining:
            await do(attempt)

    await asyncio.gather(*(client() for _ in range(CLIENTS)))
