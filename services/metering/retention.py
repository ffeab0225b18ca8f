"""How long the call log is kept, and the purge that keeps it so: small batches, sums untouched.

What goes: rows older than their workspace wants, reservations that ended long ago (their ids stay for ever), and
partitions that are empty.
"""

import asyncio
from datetime import date, datetime, time, timedelta
from typing import LiteralString

from psycopg.rows import tuple_row

from services.metering import actions
from services.metering.connection import Connection, Raw
from services.metering.domain import intake
from shared import logs
from shared.clock import Clock
from shared.errors import OmniError
from shared.messages.bookkeeping import GetRetentionV1, RetentionV1, SetRetentionV1

BATCH = 1000
FIRST_AFTER_S = 60.0
EVERY_S = 3600.0
RESERVATIONS_KEPT = timedelta(days=35)
"""Longer than a month and than the stream's memory: by then the period is over and no fact is on its way."""

_GET = "SELECT call_log_days FROM call_log_retention WHERE workspace_id = %s"
_FORGET = "DELETE FROM call_log_retention WHERE workspace_id = %s"
_SET = """
    INSERT INTO call_log_retention (workspace_id, call_log_days, updated_at) VALUES (%s, %s, %s)
    ON CONFLICT (workspace_id) DO UPDATE SET call_log_days = excluded.call_log_days, updated_at = excluded.updated_at
"""
_ALL = "SELECT workspace_id, call_log_days FROM call_log_retention ORDER BY workspace_id"
_PURGE_LOG = """
    DELETE FROM ai_call_logs WHERE (started_at, attempt_id) IN (
        SELECT started_at, attempt_id FROM ai_call_logs WHERE workspace_id = %s AND started_at < %s
        ORDER BY started_at LIMIT %s FOR UPDATE SKIP LOCKED
    ) AND started_at < %s
"""
_PURGE_RESERVATIONS = """
    WITH gone AS (
        DELETE FROM reservations WHERE attempt_id IN (
            SELECT attempt_id FROM reservations WHERE finished_at < %s
            ORDER BY finished_at LIMIT %s FOR UPDATE SKIP LOCKED
        ) RETURNING attempt_id, workspace_id, state
    )
    INSERT INTO ended_attempts (attempt_id, workspace_id, state) SELECT * FROM gone ON CONFLICT DO NOTHING
"""
_PARTITIONS = """
    SELECT to_date(right(inhrelid::regclass::text, 7), 'YYYY_MM') FROM pg_inherits
    WHERE inhparent = 'ai_call_logs'::regclass AND inhrelid::regclass::text ~ '_[0-9]{4}_[0-9]{2}$'
    ORDER BY 1
"""
_DROP = "SELECT drop_empty_call_log_partition(%s)"
_SCOPE = "SELECT set_config('omnipost.workspace', %s, true)"


class Retention:
    """How long each workspace's call log is kept. Raises OmniError ``invalid_request``, ``unavailable``."""

    def __init__(self, connection: Connection, clock: Clock) -> None:
        self._connection, self._clock = connection, clock

    async def get(self, request: GetRetentionV1) -> RetentionV1:
        """For ever unless somebody has said otherwise."""
        workspace_id = intake.check_workspace(request.workspace_id)

        async def work(raw: Raw) -> int | None:
            async with raw.transaction():
                await raw.execute(_SCOPE, (str(workspace_id),))
                reader = raw.cursor(row_factory=tuple_row)
                row = await (await reader.execute(_GET, (workspace_id,))).fetchone()
                return row[0] if row else None

        return RetentionV1(workspace_id=workspace_id, call_log_days=await self._connection.run(work))

    async def set(self, request: SetRetentionV1) -> RetentionV1:
        """From now on; the next purge acts on it."""
        workspace_id, days = intake.check_workspace(request.workspace_id), request.call_log_days
        now = self._clock.now()

        async def work(raw: Raw) -> None:
            async with raw.transaction():
                await raw.execute(_SCOPE, (str(workspace_id),))
                await raw.execute(_FORGET, (workspace_id,))
                if days is not None:
                    await raw.execute(_SET, (workspace_id, days, now))
                facts = {"call_log_days": days}
                await actions.note(raw, workspace_id, "retention.set", str(workspace_id), request.actor, facts, now)

        await self._connection.run(work)
        return RetentionV1(workspace_id=workspace_id, call_log_days=days)


class Purger:
    """Purges once an hour until ``stop``; any number of replicas may."""

    def __init__(self, connection: Connection, clock: Clock) -> None:
        self._connection, self._clock = connection, clock
        self._task: asyncio.Task[None] | None = None
        self._log = logs.get()

    async def start(self) -> None:
        """Begin."""
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """End; a batch under way is rolled back."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._connection.close()

    async def purge(self) -> dict[str, int]:
        """Everything that is due: rows of the log, reservations, partitions. Raises OmniError ``unavailable``."""
        now = self._clock.now()
        rows = 0
        for workspace_id, days in await self._connection.run(_wishes):
            before = datetime.combine(now.date() - timedelta(days=days), time(), now.tzinfo)
            rows += await self._in_batches(_PURGE_LOG, workspace_id, before, BATCH, before)
        reservations = await self._in_batches(_PURGE_RESERVATIONS, now - RESERVATIONS_KEPT, BATCH)
        return {"rows": rows, "reservations": reservations, "partitions": await self._drop_partitions()}

    async def _in_batches(self, statement: LiteralString, *values: object) -> int:
        async def work(raw: Raw) -> int:
            return (await raw.execute(statement, values)).rowcount

        total = 0
        while True:
            count = await self._connection.run(work)
            total += count
            if count < BATCH:
                return total

    async def _drop_partitions(self) -> int:
        dropped = 0
        for month in await self._connection.run(_months):
            try:
                dropped += await self._connection.run(lambda raw, first=month: _drop(raw, first))  # type: ignore[misc]
            except OmniError:
                # Somebody writes to the log at this moment; the next hour will do.
                continue
        return dropped

    async def _run(self) -> None:
        await asyncio.sleep(FIRST_AFTER_S)
        while True:
            try:
                purged = await self.purge()
                if any(purged.values()):
                    self._log.info("purged", count=sum(purged.values()))
            except Exception as error:  # noqa: BLE001 - the loop must outlive whatever one purge met
                self._log.warning("purge failed; it is tried again", exc=error)
            await asyncio.sleep(EVERY_S)


async def _wishes(raw: Raw) -> list[tuple[int, int]]:
    return await (await raw.cursor(row_factory=tuple_row).execute(_ALL)).fetchall()


async def _months(raw: Raw) -> list[date]:
    return [row[0] for row in await (await raw.cursor(row_factory=tuple_row).execute(_PARTITIONS)).fetchall()]


async def _drop(raw: Raw, month: date) -> bool:
    row = await (await raw.cursor(row_factory=tuple_row).execute(_DROP, (month,))).fetchone()
    return bool(row and row[0])
