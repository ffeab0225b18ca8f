"""Deletes stored content whose days are over, or whose workspace wants none: in batches, every hour and when told."""

import asyncio

from psycopg.rows import tuple_row

from services.metering.connection import Connection, Raw
from services.metering.domain.contents import Policy
from shared import logs
from shared.clock import Clock

BATCH = 500
EVERY_S = 3600.0
_POLICIES = "SELECT workspace_id, store_content, content_days, zero_retention FROM content_policies"
_DELETE = """
    DELETE FROM ai_call_contents WHERE attempt_id IN (
        SELECT attempt_id FROM ai_call_contents WHERE workspace_id = %s AND stored_at < %s
        ORDER BY stored_at LIMIT %s FOR UPDATE SKIP LOCKED
    )
"""


class Forgetter:
    """Runs until ``stop``; any number of replicas may."""

    def __init__(self, connection: Connection, clock: Clock) -> None:
        self._connection, self._clock = connection, clock
        self._wanted = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._log = logs.get()

    def wake(self) -> None:
        """Look now."""
        self._wanted.set()

    async def start(self) -> None:
        """Begin, with a look."""
        self._wanted.set()
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """End; a batch under way is rolled back."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._connection.close()

    async def forget(self) -> int:
        """Delete all that is due; how many rows. Raises OmniError ``unavailable``."""
        now, gone = self._clock.now(), 0
        for workspace_id, policy in await self._connection.run(_policies):
            oldest = policy.oldest(now)

            async def work(raw: Raw, values: tuple[object, ...] = (workspace_id, oldest, BATCH)) -> int:
                return (await raw.execute(_DELETE, values)).rowcount

            while (count := await self._connection.run(work)) == BATCH:
                gone += count
            gone += count
        return gone

    async def _run(self) -> None:
        while True:
            try:
                async with asyncio.timeout(EVERY_S):
                    await self._wanted.wait()
            except TimeoutError:
                pass
            self._wanted.clear()
            try:
                gone = await self.forget()
                if gone:
                    self._log.info("stored content forgotten", count=gone)
            except Exception as error:  # noqa: BLE001 - the loop must outlive whatever one look met
                self._log.warning("stored content could not be forgotten; it is tried again", exc=error)


async def _policies(raw: Raw) -> list[tuple[int, Policy]]:
    rows = await (await raw.cursor(row_factory=tuple_row).execute(_POLICIES)).fetchall()
    return [(row[0], Policy(*row[1:])) for row in rows]
