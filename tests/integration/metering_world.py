"""Metering between a real NATS server with JetStream and a real PostgreSQL, all started here from the wheels."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import get_args
from uuid import uuid4

import psycopg
from psycopg.rows import dict_row

from services.metering.app import Metering
from services.metering.settings import Settings
from shared.bus import Bus
from shared.clock import SystemClock
from shared.messages.base import Service
from shared.messages.custody import ActorV1
from shared.messages.health import PingMeteringV1, ReadyV1
from shared.messages.metering import (
    BudgetsV1,
    BudgetV1,
    Credits,
    ListBudgetsV1,
    ReservationV1,
    ReserveV1,
    SetKeyBudgetV1,
    SetWorkspaceBudgetV1,
    Unit,
)
from shared.messages.platform_credits import CreditsV1, SetCreditsV1
from shared.messages.router import CallFinishedV1
from shared.messages.usage import CallsV1, QueryCallsV1, QueryUsageV1, UsageReportV1
from shared.messages.vocabulary import Funds
from shared.runtime import Stop
from shared.schemas import service_url
from tests.integration.servers import (
    PASSWORD,
    ROOT,
    Postgres,
    bus,
    close_queues,
    end,
    make_streams,
    migrated_postgres,
    nats_server,
)


class MovingClock(SystemClock):
    """The machine's clock, ahead by what a test has let pass."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def now(self) -> datetime:
        return super().now() + self.ahead


@dataclass
class World:
    """Stands in for the router, the edge and the vault, each on its own connection."""

    folder: Path
    nats_url: str
    postgres: Postgres
    router: Bus
    api: Bus
    vault: Bus
    clock: MovingClock = field(default_factory=MovingClock)

    @property
    def settings(self) -> Settings:
        url = service_url(self.postgres.url, "metering", PASSWORD)
        return Settings(nats_url=self.nats_url, database_url=url, metering_sweep_s=60)

    async def key(self, workspace_id: int, **caps: int | None) -> str:
        """A new key with a budget."""
        return (await self.set_caps(workspace_id, str(uuid4()), **caps)).key_id or ""

    async def set_caps(self, workspace_id: int, key_id: str, **caps: int | None) -> BudgetV1:
        """Names of caps are units, those of a day begin with ``day_``."""
        request = SetKeyBudgetV1(workspace_id=workspace_id, key_id=key_id, **_windows(caps))
        return await self.api.request(request, BudgetV1)

    async def set_workspace_caps(
        self, workspace_id: int, funds: Funds = Funds.OWN, **caps: int | None
    ) -> tuple[BudgetV1, ...]:
        request = SetWorkspaceBudgetV1(workspace_id=workspace_id, funds=funds, **_windows(caps))
        return (await self.api.request(request, BudgetsV1)).items

    async def switch_credits(self, workspace_id: int, to: Credits = "allowed") -> CreditsV1:
        """As an owner of the workspace."""
        actor = ActorV1(kind="token", id="t", role="owner")
        return await self.api.request(SetCreditsV1(workspace_id=workspace_id, credits=to, actor=actor), CreditsV1)

    async def reserve(self, workspace_id: int, key_id: str, **changes: object) -> ReservationV1:
        return await self.router.request(reservation(workspace_id, key_id, **changes), ReservationV1, timeout=10)

    async def finish(self, attempt_id: str, workspace_id: int, key_id: str, **changes: object) -> None:
        await self.router.record(finished(attempt_id, workspace_id, key_id, **changes))

    async def calls(self, workspace_id: int, **filters: object) -> CallsV1:
        request = QueryCallsV1.model_validate({"workspace_id": workspace_id, "limit": 500, **filters})
        return await self.api.request(request, CallsV1)

    async def budget(self, workspace_id: int, key_id: str | None, period: str = "month") -> BudgetV1:
        """A key's budget, or the workspace's own."""
        budgets = await self.api.request(ListBudgetsV1(workspace_id=workspace_id), BudgetsV1)
        return next(item for item in budgets.items if (item.key_id, item.period) == (key_id, period))

    async def usage(self, workspace_id: int, **changes: object) -> UsageReportV1:
        request = QueryUsageV1.model_validate({"workspace_id": workspace_id, **changes})
        return await self.api.request(request, UsageReportV1)

    def rows(self, workspace_id: int) -> list[dict[str, object]]:
        """The call log as it is stored."""
        return self.sql("SELECT * FROM ai_call_logs WHERE workspace_id = %s ORDER BY started_at", workspace_id)

    def sql(self, statement: str, *values: object) -> list[dict[str, object]]:
        """As the database owner, committed at once."""
        options = "-c search_path=metering -c timezone=UTC"
        with psycopg.connect(self.postgres.url, autocommit=True, options=options, row_factory=dict_row) as connection:
            cursor = connection.execute(statement.encode(), values)
            return cursor.fetchall() if cursor.description else []

    async def until(self, condition: Callable[[], Awaitable[bool]] | Callable[[], bool], timeout_s: float = 20) -> None:
        """Return once ``condition`` holds. A database's rows have no event to wait for."""
        async with asyncio.timeout(timeout_s):
            while True:
                holds = condition()
                if holds if isinstance(holds, bool) else await holds:
                    return
                await asyncio.sleep(0.01)

    async def settled(self, *attempts: str) -> None:
        """Return once none of ``attempts`` is held."""
        held = "SELECT 1 FROM reservations WHERE state = 'held' AND attempt_id = ANY(%s::uuid[])"
        await self.until(lambda: not self.sql(held, list(attempts)))


def _windows(caps: dict[str, int | None]) -> dict[str, dict[Unit, int | None]]:
    month: dict[Unit, int | None] = {unit: caps[unit] for unit in get_args(Unit) if unit in caps}
    day: dict[Unit, int | None] = {unit: caps[f"day_{unit}"] for unit in get_args(Unit) if f"day_{unit}" in caps}
    return {"caps": month, "day_caps": day}


def reservation(workspace_id: int, key_id: str, **changes: object) -> ReserveV1:
    fields: dict[str, object] = {
        "attempt_id": str(uuid4()), "call_id": str(uuid4()), "workspace_id": workspace_id, "key_id": key_id,
        "provider": "openai", "model": "gpt-4o-mini", "alias_name": "fast-drafts", "capability": "chat",
        "usd_micros": 700, "tokens": 1100, "ttl_s": 360,
    }  # fmt: skip
    return ReserveV1.model_validate(fields | changes)


def finished(attempt_id: str, workspace_id: int, key_id: str, **changes: object) -> CallFinishedV1:
    now = SystemClock().now()
    fields: dict[str, object] = {
        "attempt_id": attempt_id, "workspace_id": workspace_id, "key_id": key_id, "sent": True, "status": 200,
        "call_id": attempt_id, "finish_reason": "stop", "tokens": {"input_tokens": 8, "output_tokens": 9},
        "cost_usd_micros": 7, "latency_ms": 412, "started_at": now, "finished_at": now,
    }  # fmt: skip
    return CallFinishedV1.model_validate(CallFinishedV1.example | fields | changes)


@asynccontextmanager
async def metering_world(folder: Path) -> AsyncIterator[World]:
    """Servers and stand-ins up, schema migrated; no metering yet."""
    with migrated_postgres(folder) as postgres, nats_server(folder) as nats_url:
        buses = [bus(service, nats_url) for service in (Service.ROUTER, Service.API, Service.VAULT)]
        await asyncio.gather(make_streams(nats_url), *(one.start() for one in buses))
        yield World(folder, nats_url, postgres, buses[0], buses[1], buses[2])
        await asyncio.gather(*(one.stop() for one in buses))


@asynccontextmanager
async def metering_in_world(folder: Path) -> AsyncIterator[tuple[World, Metering]]:
    """The world with one replica inside this process."""
    async with metering_world(folder) as world, metering(world) as app:
        yield world, app


@asynccontextmanager
async def metering(world: World) -> AsyncIterator[Metering]:
    """One replica inside this process, on the world's clock; its sweeper waits to be called."""
    app = Metering(world.settings, world.clock, Stop())
    await app.start()
    try:
        yield app
    finally:
        await app.stop(4)
        await close_queues(app.bus)


@asynccontextmanager
async def metering_processes(world: World, number: int) -> AsyncIterator[list[int]]:
    """Replicas as they run in production: ``python -m services.metering``; their process ids."""
    log = world.folder / "metering.log"
    before = log.read_bytes().count(b'"serving"') if log.exists() else 0
    environment = {"PATH": os.defpath, "NATS_URL": world.nats_url, "DATABASE_URL": world.settings.database_url}
    with log.open("ab") as output:
        processes = [
            subprocess.Popen(  # noqa: ASYNC220 - it returns at once
                [sys.executable, "-m", "services.metering"], cwd=ROOT, env=environment, stdout=output, stderr=output
            )
            for _ in range(number)
        ]
    try:
        await world.until(lambda: log.read_bytes().count(b'"serving"') - before == number)
        await world.api.request(PingMeteringV1(), ReadyV1)
        yield [process.pid for process in processes]
    finally:
        for process in processes:
            end(process, signal.SIGTERM)
        assert [process.returncode for process in processes] == [0] * number, log.read_text()[-3000:]
