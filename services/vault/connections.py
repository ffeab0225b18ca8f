"""A few raw PostgreSQL connections for the one statement on the path of every call: cheaper than the session's pool.

Each sees no workspace's rows until a statement names one, and is replaced after any trouble.
"""

import asyncio
import os
import socket
from contextlib import suppress
from typing import Any

import psycopg
from psycopg import AsyncClientCursor, AsyncConnection
from psycopg.rows import namedtuple_row

from shared import logs
from shared.db import Database
from shared.errors import OmniError, unavailable

SIZE = 4
TIME_S = 2.0
_NO_WORKSPACE = -1
_SESSION = f"SET statement_timeout = {int(1000 * TIME_S)}; SET timezone = 'UTC'"
# Sent in one message with the statement, which the server runs as one transaction: the setting ends with it.
_SCOPE = "SELECT set_config('omnipost.workspace', %s, true); "


class Connections:
    """At most ``SIZE``, opened when needed."""

    def __init__(self, database: Database) -> None:
        self._lines = [_Line(database) for _ in range(SIZE)]
        self._free: asyncio.LifoQueue[_Line] = asyncio.LifoQueue()
        for line in self._lines:
            self._free.put_nowait(line)
        self._log = logs.get()

    async def first(self, workspace_id: int, statement: str, *values: object) -> Any:  # noqa: ANN401 - a row of any shape
        """The first row of ``statement`` (a named tuple) among the rows of ``workspace_id``; None without one.

        One round trip. A connection that turns out to be lost is replaced once. Raises OmniError ``unavailable``
        when the database is away or takes longer than ``TIME_S`` in all.
        """
        until = asyncio.get_running_loop().time() + TIME_S
        try:
            async with asyncio.timeout_at(until):
                line = await self._free.get()
        except TimeoutError:
            raise _away() from None
        try:
            return await line.first(_SCOPE + statement, (str(workspace_id), *values), until)
        except (psycopg.Error, TimeoutError, OSError) as error:
            self._log.warning("the database does not answer", exc=error)
            raise _away() from error
        finally:
            self._free.put_nowait(line)

    async def close(self) -> None:
        """Close every connection."""
        for line in self._lines:
            await line.close()


class _Line:
    """A place for a connection."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._raw: AsyncConnection[tuple[object, ...]] | None = None

    async def first(self, statement: str, values: tuple[object, ...], until: float) -> Any:  # noqa: ANN401
        """Raises psycopg.Error, TimeoutError, OSError; nothing is left open then."""
        is_fresh = self._raw is None
        try:
            return await self._run(statement, values, until)
        except BaseException as error:
            await self.close()
            # One that was kept may have been lost long ago; whatever fails on a fresh one would fail again.
            if is_fresh or not isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
                raise
        return await self.first(statement, values, until)

    async def close(self) -> None:
        """The next statement opens another."""
        raw, self._raw = self._raw, None
        if raw is not None:
            await raw.close()

    async def _run(self, statement: str, values: tuple[object, ...], until: float) -> Any:  # noqa: ANN401
        if self._raw is None:
            async with asyncio.timeout_at(until):
                self._raw = await self._database.connect(_NO_WORKSPACE)
                await self._raw.execute(_SESSION)
        # Cancelling a statement asks the server first, which may hang as well: hanging up needs nobody.
        hang_up = asyncio.get_running_loop().call_at(until, _hang_up, self._raw)
        try:
            cursor = AsyncClientCursor(self._raw, row_factory=namedtuple_row)
            await cursor.execute(statement.encode(), values)
            cursor.nextset()
            return await cursor.fetchone()
        finally:
            hang_up.cancel()


def _hang_up(raw: AsyncConnection[tuple[object, ...]]) -> None:
    with suppress(OSError, psycopg.Error), socket.socket(fileno=os.dup(raw.fileno())) as line:
        line.shutdown(socket.SHUT_RDWR)


def _away() -> OmniError:
    return unavailable("The vault's database cannot be reached; try again shortly.")
