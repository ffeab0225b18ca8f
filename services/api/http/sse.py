"""A streamed answer as server-sent events: as slow as the client reads, given up the moment it leaves."""

import asyncio
import json
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

from starlette.types import Receive, Scope, Send

from services.api.http.errors import problem_document
from services.api.http.invoked import delta_events, invoked_view
from shared import logs
from shared.arriving import Arriving
from shared.errors import Code, OmniError
from shared.messages.router import InvokedV1

# After so much silence the client is sent a comment; before the first one the answer's headers.
SILENCE_S = 10.0
WAITING = b": waiting\n\n"
_HEADERS = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"x-accel-buffering", b"no")]

Ask = Callable[[], AbstractAsyncContextManager[Arriving[InvokedV1]]]


def encoded(name: str, data: dict[str, Any]) -> bytes:
    """One event."""
    return f"event: {name}\ndata: {json.dumps(data, ensure_ascii=False)}\n\n".encode()


class EventStream:
    """The response: ``delta`` and ``continued`` events, then one ``done`` or one ``error``.

    A failure before anything was sent is raised (OmniError), so that it is answered with a status of its own.
    ``limit_s``: how long the client may take in all.
    """

    def __init__(self, ask: Ask, limit_s: float) -> None:
        self._ask, self._limit_s = ask, limit_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, until the client leaves."""
        del scope
        limit = asyncio.timeout(self._limit_s)
        watch: asyncio.Task[None] | None = None
        try:
            async with limit:
                watch = asyncio.create_task(_end_when_left(receive, limit))
                await _Answer(send).give(self._ask)
        except TimeoutError:
            if not limit.expired():
                raise
        finally:
            if watch is not None:
                watch.cancel()


async def _end_when_left(receive: Receive, limit: asyncio.Timeout) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    if not limit.expired():
        limit.reschedule(0.0)


class _Answer:
    """What has been sent of a response."""

    def __init__(self, send: Send) -> None:
        self._send, self._begun = send, False

    async def give(self, ask: Ask) -> None:
        """Pass on everything that arrives."""
        try:
            async with ask() as arriving:
                while (events := await self._next(arriving)) is not None:
                    if events:
                        await self._write(events)
                last = encoded("done", invoked_view(arriving.final))
        except Exception as error:
            if not self._begun:
                raise
            last = encoded("error", problem_document(_told(error)))
        await self._write(last)
        await self._send({"type": "http.response.body", "body": b""})

    async def _next(self, arriving: Arriving[InvokedV1]) -> bytes | None:
        try:
            async with asyncio.timeout(SILENCE_S) as limit:
                delta = await anext(arriving, None)
        except TimeoutError:
            if limit.expired():
                return WAITING
            raise
        return None if delta is None else b"".join(encoded(name, data) for name, data in delta_events(delta))

    async def _write(self, body: bytes) -> None:
        if not self._begun:
            self._begun = True
            await self._send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
        await self._send({"type": "http.response.body", "body": body, "more_body": True})


def _told(error: Exception) -> OmniError:
    if isinstance(error, OmniError):
        return error
    logs.get().error("request failed", exc=error)
    return OmniError(Code.INTERNAL, "Something went wrong on our side; the call log says what was done.")
