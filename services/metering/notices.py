"""What the database tells every replica at a commit: budgets that have room again, alerts that wait to be published.

Only a shorter way: whoever hears nothing looks again by itself.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import LiteralString

import psycopg

from shared import logs
from shared.db import EVERY_WORKSPACE, Database

AGAIN_S = 1.0
_PROBE_S = 15.0
Hear = Callable[[str], None]


class Notices:
    """Calls ``hear[channel]`` with what is told there, on a connection of its own, until ``stop``."""

    def __init__(self, database: Database, hear: Mapping[LiteralString, Hear]) -> None:
        self._database, self._hear = database, hear
        self._task: asyncio.Task[None] | None = None
        self._log = logs.get()

    async def start(self) -> None:
        """Begin."""
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """End."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            try:
                await self._listen()
            except (psycopg.Error, OSError, TimeoutError) as error:
                self._log.warning("the database tells nothing; trying again", exc=error)
            await asyncio.sleep(AGAIN_S)

    async def _listen(self) -> None:
        raw = await self._database.connect(EVERY_WORKSPACE)
        try:
            for channel in self._hear:
                await raw.execute(psycopg.sql.SQL("LISTEN {}").format(psycopg.sql.Identifier(channel)))
            while True:
                async for notice in raw.notifies(timeout=_PROBE_S):
                    self._hear[notice.channel](notice.payload)
                # A connection that a network has forgotten is silent for ever; a question finds out.
                async with asyncio.timeout(_PROBE_S):
                    await raw.execute("SELECT 1")
        finally:
            await raw.close()
