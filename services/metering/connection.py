"""One raw PostgreSQL connection for hand-written transactions: opened when needed, dropped after trouble, retried."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

import psycopg
from psycopg import AsyncConnection
from psycopg.pq import TransactionStatus

from shared import logs
from shared.db import EVERY_WORKSPACE, Database
from shared.errors import OmniError, unavailable

Raw = AsyncConnection[tuple[object, ...]]
T = TypeVar("T")

CONFLICTS = (psycopg.errors.SerializationFailure, psycopg.errors.DeadlockDetected)
BAD_DATA = (psycopg.DataError, psycopg.IntegrityError)
"""What another try cannot heal, because it lies in the data itself."""

MAX_CONFLICTS = 8
_WORK_S = 5.0
# A process that hangs in the middle of a transaction must not keep the hot rows locked.
_SESSION = "SET statement_timeout = '3s'; SET idle_in_transaction_session_timeout = '5s'; SET timezone = 'UTC'"


class Connection:
    """Runs whole transactions, one at a time; others wait."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._raw: Raw | None = None
        self._one_at_a_time = asyncio.Lock()
        self._log = logs.get()

    async def run(self, work: Callable[[Raw], Awaitable[T]]) -> T:
        """Run ``work``, a whole transaction that may safely run again.

        Conflicts with other transactions are retried with jitter; a lost connection is replaced once.
        Raises OmniError ``unavailable`` when the database is away or too slow (whether it committed is then unknown),
        and psycopg errors of ``BAD_DATA``. Nothing is left open after any exception.
        """
        async with self._one_at_a_time:
            return await self._run(work)

    async def _run(self, work: Callable[[Raw], Awaitable[T]]) -> T:
        conflicts = 0
        replaced = False
        while True:
            try:
                raw = await self._open()
                async with asyncio.timeout(_WORK_S):
                    return await work(raw)
            except CONFLICTS as error:
                await self._roll_back()
                conflicts += 1
                if conflicts > MAX_CONFLICTS:
                    raise _away() from error
                await asyncio.sleep(random.random() * 0.01 * 2**conflicts)  # noqa: S311 - jitter
            except BAD_DATA:
                await self._roll_back()
                raise
            except (psycopg.Error, TimeoutError, OSError) as error:
                await self.close()
                if replaced or not _is_lost(error):
                    self._log.warning("the database does not answer", exc=error)
                    raise _away() from error
                replaced = True
            except BaseException:
                await self.close()
                raise

    async def close(self) -> None:
        """Drop the connection; the next ``run`` opens another."""
        raw, self._raw = self._raw, None
        if raw is not None:
            await raw.close()

    async def _open(self) -> Raw:
        if self._raw is None or self._raw.closed:
            self._raw = None
            # One transaction of ours serves whoever waits: the calls of many workspaces.
            raw = await self._database.connect(EVERY_WORKSPACE)
            try:
                await raw.execute(_SESSION)
            except BaseException:
                await raw.close()
                raise
            self._raw = raw
        return self._raw

    async def _roll_back(self) -> None:
        try:
            if self._raw is not None and self._raw.info.transaction_status != TransactionStatus.IDLE:
                await self._raw.rollback()
        except psycopg.Error:
            await self.close()


def _is_lost(error: Exception) -> bool:
    # A statement that was too slow would be too slow again; a connection that broke may have been idle too long.
    return isinstance(error, (psycopg.OperationalError, psycopg.InterfaceError, OSError)) and not isinstance(
        error, (psycopg.errors.QueryCanceled, psycopg.errors.LockNotAvailable, TimeoutError)
    )


def _away() -> OmniError:
    return unavailable("The ledger's database cannot be reached; no call can be admitted. Try again shortly.")
