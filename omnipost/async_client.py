"""The async client: the same as ``Client``, awaited."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack

import httpx2

from omnipost.asking import Ask
from omnipost.calling import Filters, Piece, Question, StreamState, call, call_page
from omnipost.everything import Everything
from omnipost.exchange import Result, Send, Steps, asked, lost, responded
from omnipost.saving import Exported, Progress, Saving, export_of
from omnipost.settings import is_loopback, read
from omnipost.shapes import Answer, Call

T = TypeVar("T")
R = TypeVar("R")


class AsyncClient(Everything["AsyncClient"]):
    """OmniPost, awaited; in an ``async with`` block, or closed at the end. See ``Client``."""

    def __init__(
        self,
        url: str | None = None,
        token: str | None = None,
        *,
        workspace_id: int | None = None,
        retries: int = 2,
        allow_http: bool = False,
    ) -> None:
        settings = read(url, token, workspace_id=workspace_id, allow_http=allow_http)
        self._http = httpx2.AsyncClient(base_url=settings.url, trust_env=not is_loopback(settings.url))
        super().__init__(self, settings, retries)

    async def ask(self, ask: Ask[T]) -> T:
        """The answer of any request."""
        return await self._drive(asked(ask, self._settings.token, self._retries))

    async def invoke(self, alias: str, **question: Unpack[Question]) -> Answer:
        """Call an alias, and wait for the whole answer."""
        return await self.ask(call(alias, self.workspace_id, **question))

    def stream(self, alias: str, **question: Unpack[Question]) -> "AsyncStream":
        """Call an alias and read the answer as it comes; leaving the ``async with`` block ends the call."""
        return AsyncStream(self, call(alias, self.workspace_id, stream=True, **question))

    async def calls(self, **filters: Unpack[Filters]) -> AsyncIterator[Call]:
        """The call log, newest first, page by page as it is read."""
        cursor: str | None = None
        while True:
            page = await self.ask(call_page(self.workspace_id, cursor, filters))
            for row in page["items"]:
                yield row
            if not (cursor := page["next_cursor"]):
                return

    async def export(
        self,
        path: str | Path,
        format_: str = "csv",
        *,
        since: str | None = None,
        until: str | None = None,
        progress: Progress | None = None,
    ) -> Exported:
        """The call log of [since, until) in a file. It is there whole or not at all."""
        ask = export_of(self.workspace_id, format_, since, until)
        async with self._open(ask) as response:
            with Saving(Path(path), response, format_, progress) as saving:
                try:
                    async for chunk in response.aiter_bytes():
                        await asyncio.to_thread(saving.write, chunk)
                except httpx2.RequestError as error:
                    broken = lost(type(error).__name__)
                else:
                    return saving.finish()
            raise broken

    async def close(self) -> None:
        """Close its connections."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    @asynccontextmanager
    async def _open(self, ask: Ask[Any]) -> AsyncIterator[httpx2.Response]:
        response = await self._drive(responded(ask, self._settings.token, self._retries, streamed=True))
        try:
            yield response
        finally:
            await response.aclose()

    async def _drive(self, steps: Steps[R]) -> R:
        result: Result = None
        while True:
            try:
                step = steps.send(result)
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]
            if isinstance(step, Send):
                result = await self._sent(step)
            else:
                await asyncio.sleep(step.seconds)
                result = None

    async def _sent(self, send: Send) -> Result:
        request = self._http.build_request(**send.parts())
        try:
            response = await self._http.send(request, stream=True)
            if not send.streamed or not response.is_success:
                try:
                    await response.aread()
                finally:
                    await response.aclose()
        except httpx2.RequestError as error:
            return error
        return response


class AsyncStream(StreamState):
    """A streamed answer: iterate over its pieces in an ``async with`` block; then ``answer`` is the whole of it."""

    def __init__(self, client: AsyncClient, ask: Ask[Answer]) -> None:
        super().__init__()
        self._opening = client._open(ask)  # noqa: SLF001 - a part of the client

    async def __aenter__(self) -> Self:
        return self._opened(await self._opening.__aenter__())

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._opening.__aexit__(kind, error, trace)

    async def __aiter__(self) -> AsyncIterator[Piece]:
        """Pieces as they come. Raises OmniPostError when the call fails or the stream is cut."""
        try:
            async for event in self._events():
                if (piece := self._reading.take(event)) is not None:
                    yield piece
        except (httpx2.RequestError, ValueError) as error:
            broken = self._reading.broken(error)
        else:
            self._reading.whole()
            return
        raise broken

    async def text(self) -> AsyncIterator[str]:
        """Only the pieces' texts."""
        async for piece in self:
            if piece.text:
                yield piece.text
