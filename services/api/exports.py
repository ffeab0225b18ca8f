"""The call log as a file and as pages. What has been asked of metering is never more than who reads it has taken."""

import asyncio
import json
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from services.api.domain.pulled import Pulled, cursor_of, pulled_of
from services.api.domain.tables import ndjson_page
from shared.bus import Bus
from shared.errors import Code, OmniError, unavailable
from shared.messages.export import CallPageV1, ReadCallsV1

# Each takes a process of some 20 MB, 70 for Parquet.
AT_ONCE = 8
PAGE_TIMEOUT_S = 15.0
_CHUNK = 128 * 1024
_ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Download:
    """``total``: rows of the file; None when they are too many to be counted in time."""

    total: int | None
    chunks: AsyncIterator[bytes]


@dataclass(frozen=True, slots=True)
class PulledPage:
    """A page of NDJSON. ``at_end``: there was no more when it was read; ``cursor`` asks for what comes later."""

    body: bytes
    rows: int
    sha256: str
    pulled: Pulled
    cursor: str
    at_end: bool


class Exports:
    """Raises OmniError as metering does. ``secret`` signs cursors; every replica has the same."""

    def __init__(self, bus: Bus, secret: bytes) -> None:
        self._bus, self._secret = bus, secret
        self._running = 0

    async def download(self, query: ReadCallsV1, format_: str) -> Download:
        """A file of one snapshot. Its first page has been read when this returns, so failures come before it begins."""
        if self._running >= AT_ONCE:
            raise unavailable("Too many exports are running; try again when one has ended.")
        first = await self._read(query.model_copy(update={"count": True}))
        return Download(first.total, self._chunks(format_, self._pages(query, first)))

    async def pull(self, workspace_id: int, cursor: str | None, limit: int) -> PulledPage:
        """The rows behind ``cursor`` in the order they were written or corrected."""
        so_far = pulled_of(cursor, workspace_id, self._secret) if cursor else Pulled(workspace_id)
        query = ReadCallsV1(workspace_id=workspace_id, order="changed", after=so_far.place, limit=limit)
        page = await self._read(query)
        body = ndjson_page(page.columns)
        pulled = so_far.with_page(body, page.rows, page.next)
        return PulledPage(
            body, page.rows, sha256(body).hexdigest(), pulled, cursor_of(pulled, self._secret), not page.more
        )

    async def _read(self, query: ReadCallsV1) -> CallPageV1:
        try:
            return await self._bus.request(query, CallPageV1, timeout=PAGE_TIMEOUT_S)
        except OmniError as error:
            if error.code is not Code.UNAVAILABLE:
                raise
        # Another replica has the same page.
        return await self._bus.request(query, CallPageV1, timeout=PAGE_TIMEOUT_S)

    async def _pages(self, query: ReadCallsV1, page: CallPageV1) -> AsyncIterator[CallPageV1]:
        yield page
        while page.more:
            page = await self._read(query.model_copy(update={"after": page.next, "upto": page.upto}))
            yield page

    async def _chunks(self, format_: str, pages: AsyncIterator[CallPageV1]) -> AsyncIterator[bytes]:
        self._running += 1
        try:
            async with _rendering(format_) as renderer:
                feeding = asyncio.create_task(renderer.feed(pages))
                try:
                    while chunk := await renderer.file.read(_CHUNK):
                        yield chunk
                    await feeding
                    await renderer.check()
                finally:
                    feeding.cancel()
                    await asyncio.gather(feeding, return_exceptions=True)
        finally:
            self._running -= 1


@dataclass(frozen=True, slots=True)
class _Renderer:
    process: Process
    pages: asyncio.StreamWriter
    file: asyncio.StreamReader

    async def feed(self, pages: AsyncIterator[CallPageV1]) -> None:
        try:
            async for page in pages:
                columns = json.dumps(page.columns, ensure_ascii=False, separators=(",", ":"))
                self.pages.write(columns.encode() + b"\n")
                await self.pages.drain()
        except BaseException:
            # Its input must not seem to have ended: a file that is cut short would look complete.
            self.kill()
            raise
        self.pages.close()

    async def check(self) -> None:
        if await self.process.wait():
            # Its last words may repeat what it was given, so nobody has heard them.
            raise unavailable("The export could not be rendered.")

    def kill(self) -> None:
        with suppress(ProcessLookupError):
            self.process.kill()


@asynccontextmanager
async def _rendering(format_: str) -> AsyncIterator[_Renderer]:
    # Nothing of this process's environment is for it, and no signal of its terminal.
    command = (sys.executable, "-E", "-m", "services.api.render", format_)
    process = await asyncio.create_subprocess_exec(
        *command, stdin=PIPE, stdout=PIPE, stderr=DEVNULL, cwd=_ROOT, env={}, start_new_session=True
    )
    if process.stdin is None or process.stdout is None:
        raise RuntimeError("a process without the pipes that were asked for")
    renderer = _Renderer(process, process.stdin, process.stdout)
    try:
        yield renderer
    finally:
        renderer.kill()
        renderer.pages.close()
        while await renderer.file.read(_CHUNK):
            pass  # a pipe is closed once it has been read to its end
        await process.wait()
