"""Publishing records from an outbox: written in the transaction that made them true, told until the stream has them.

Any number of replicas may tell the same: a record's id is its ``Nats-Msg-Id``, and whoever hears it twice knows it by
that. A table that serves has the columns ``alert_id``, ``body`` (the record as JSON), ``raised_at`` and ``told_at``.
"""

import asyncio
from contextlib import suppress
from typing import Protocol
from uuid import UUID

from sqlmodel import text

from shared import logs
from shared.clock import Clock
from shared.db import EVERY_WORKSPACE, Database
from shared.errors import OmniError
from shared.messages.base import Record

BATCH = 100
LOOK_AGAIN_S = 5.0
_LONGEST_PAUSE_S = 30.0
_WAITING = "SELECT alert_id, body FROM {table} WHERE told_at IS NULL ORDER BY raised_at, alert_id LIMIT :n"
_TOLD = "UPDATE {table} SET told_at = :now WHERE alert_id = ANY(:told) AND told_at IS NULL"


class Recorder(Protocol):
    """The bus, as far as it is needed here."""

    async def record(self, record: Record, *, timeout: float = 2.0) -> None:  # noqa: ASYNC109
        """Raises OmniError ``unavailable`` unless the stream has it."""
        ...


class Outbox:
    """Tells what waits in ``table``, from ``begin`` to ``stop``."""

    def __init__(self, database: Database, bus: Recorder, clock: Clock, kind: type[Record], table: str) -> None:
        self._database, self._bus, self._clock, self._kind = database, bus, clock, kind
        self._waiting, self._told = text(_WAITING.format(table=table)), text(_TOLD.format(table=table))
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._log = logs.get()

    def begin(self) -> None:
        """Begin with what is left from before."""
        self._wake.set()
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """End; what has not been told is told later, or by another replica."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def wake(self) -> None:
        """Something has been written, and committed."""
        self._wake.set()

    async def tell(self) -> int:
        """Publish what waits, oldest first; how many. Raises OmniError ``unavailable``: the rest waits on."""
        async with self._database.session(EVERY_WORKSPACE) as session:
            rows = (await (await session.connection()).execute(self._waiting, {"n": BATCH})).all()
        told: list[UUID] = []
        try:
            for alert_id, body in rows:
                await self._bus.record(self._kind.model_validate_json(body))
                told.append(alert_id)
        finally:
            if told:
                async with self._database.session(EVERY_WORKSPACE) as session:
                    await (await session.connection()).execute(self._told, {"now": self._clock.now(), "told": told})
        return len(told)

    async def _run(self) -> None:
        pause = LOOK_AGAIN_S
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._wake.wait()
            self._wake.clear()
            try:
                while await self.tell() == BATCH:
                    pass
                pause = LOOK_AGAIN_S
            except OmniError as error:
                # Without its consumer the stream may not be there yet; nothing else must suffer from that.
                if pause == LOOK_AGAIN_S:
                    self._log.warning("records wait to be published", name=self._kind.__name__, exc=error)
                pause = min(_LONGEST_PAUSE_S, pause * 2)
            except Exception as error:  # noqa: BLE001 - the loop must outlive whatever one round met
                self._log.error("records cannot be published", name=self._kind.__name__, exc=error)
                pause = min(_LONGEST_PAUSE_S, pause * 2)
