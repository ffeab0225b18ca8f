"""What nobody asks for but must happen: holds whose end nobody told expire, and partitions are made ahead."""

import asyncio
from collections.abc import Callable
from datetime import datetime
from typing import LiteralString
from uuid import UUID

from psycopg.rows import args_row, scalar_row

from services.metering import postings
from services.metering.connection import BAD_DATA, Connection, Raw
from services.metering.domain.settlement import Reservation, expire
from shared import failpoints, logs
from shared.clock import Clock, month_of, next_month
from shared.errors import OmniError

BATCH = 200
PARTITIONS_EVERY_S = 3600.0

WRONG = (*BAD_DATA, postings.Drift)

# SKIP LOCKED: a row that is being settled, or swept by another replica, is theirs.
_LOCK_DUE = (
    postings.SELECT_RESERVATIONS
    + "state = 'held' AND expires_at <= %s ORDER BY expires_at LIMIT %s FOR UPDATE SKIP LOCKED"
)
_LOCK_ONE = postings.SELECT_RESERVATIONS + "state = 'held' AND attempt_id = %s FOR UPDATE SKIP LOCKED"
_DUE = "SELECT attempt_id FROM reservations WHERE state = 'held' AND expires_at <= %s"


class Sweeper:
    """Runs until ``stop``; any number of replicas may.

    ``may_judge`` False: facts may still be on their way (the bus was away), so a hold that is due is left alone; it
    would be charged in full although what it cost is known.
    """

    def __init__(
        self, connection: Connection, clock: Clock, every_s: float, may_judge: Callable[[], bool] = lambda: True
    ) -> None:
        self._connection, self._clock, self._every_s, self._may_judge = connection, clock, every_s, may_judge
        self._task: asyncio.Task[None] | None = None
        self._log = logs.get()

    async def start(self) -> None:
        """Make the partitions, then begin. Raises OmniError ``unavailable``."""
        await self.make_partitions()
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """End; a transaction under way is rolled back and done again by whoever comes next."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._connection.close()

    async def sweep(self) -> int:
        """Expire every hold that is due; how many. Raises OmniError ``unavailable``."""
        now, total = self._clock.now(), 0
        try:
            while True:
                expired = await self._connection.run(lambda raw: _expire_due(raw, now))
                total += expired
                if expired < BATCH:
                    return total
        except WRONG:
            return total + await self._sweep_each(now)

    async def _sweep_each(self, now: datetime) -> int:
        # One broken reservation must not keep all others held for ever.
        expired = 0
        for attempt in await self._connection.run(lambda raw: _due(raw, now)):
            try:
                expired += await self._connection.run(lambda raw, one=attempt: _expire_one(raw, one, now))  # type: ignore[misc]
            except WRONG as error:
                self._log.error("a reservation cannot expire", attempt_id=str(attempt), exc=error)
        return expired

    async def make_partitions(self) -> None:
        """The call log's partitions of this month and the next two. Raises OmniError ``unavailable``."""
        now = self._clock.now()
        months = [month_of(now).date(), next_month(now).date(), next_month(next_month(now)).date()]

        async def make(raw: Raw) -> None:
            for month in months:
                await raw.execute("SELECT ensure_call_log_partition(%s)", (month,))

        await self._connection.run(make)

    async def _run(self) -> None:
        # The first sweep comes after a pause, so that events which waited for this process settle before it judges.
        partitions_at = self._clock.monotonic() + PARTITIONS_EVERY_S
        while True:
            await asyncio.sleep(self._every_s)
            try:
                expired = await self.sweep() if self._may_judge() else 0
                if expired:
                    self._log.warning("reservations expired; charged at their maximum", count=expired)
                if self._clock.monotonic() >= partitions_at:
                    await self.make_partitions()
                    partitions_at = self._clock.monotonic() + PARTITIONS_EVERY_S
            except OmniError:
                continue
            except Exception as error:  # noqa: BLE001 - the loop must outlive whatever one sweep met
                self._log.error("sweep failed", exc=error)


async def _expire_due(raw: Raw, now: datetime) -> int:
    return await _expire(raw, _LOCK_DUE, (now, BATCH), now)


async def _expire_one(raw: Raw, attempt: UUID, now: datetime) -> int:
    return await _expire(raw, _LOCK_ONE, (attempt,), now)


async def _expire(raw: Raw, lock: LiteralString, parameters: tuple[object, ...], now: datetime) -> int:
    async with raw.pipeline():
        await raw.execute("BEGIN")
        cursor = raw.cursor(row_factory=args_row(Reservation))
        await cursor.execute(lock, parameters)
        due = await cursor.fetchall()
    await postings.post(raw, [expire(reservation, now) for reservation in due], now)
    if due:
        failpoints.passing("metering.expire.commit")
    await raw.execute("COMMIT")
    if due:
        failpoints.passing("metering.expire.committed")
    return len(due)


async def _due(raw: Raw, now: datetime) -> list[UUID]:
    cursor = raw.cursor(row_factory=scalar_row)
    await cursor.execute(_DUE, (now,))
    return await cursor.fetchall()
