"""A streamed answer as server-sent events: as slow as the client reads, given up the moment it leaves."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any

from starlette.types import Receive, Scope, Send

from services.api.dialects.dialect import Writer
from services.api.http.errors import problem_document, told
from services.api.http.invoked import delta_events, invoked_view
from services.api.http.listening import while_listening
from services.api.once import AskPieces, Pieces
from shared.errors import OmniError
from shared.messages.chat import DeltaV1
from shared.messages.router import InvokedV1

# After so much silence the client is sent a comment; before the first one the answer's headers.
SILENCE_S = 10.0
WAITING = b": waiting\n\n"
_HEADERS = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"x-accel-buffering", b"no")]


def encoded(name: str, data: dict[str, Any]) -> bytes:
    """One event."""
    return f"event: {name}\ndata: {json.dumps(data, ensure_ascii=False)}\n\n".encode()


class OwnWriter:
    """Our own events: ``delta`` and ``continued``, then one ``done`` or one ``error``."""

    def begin(self) -> bytes:
        """Nothing comes before the first piece."""
        return b""

    def waiting(self) -> bytes:
        """A comment."""
        return WAITING

    def delta(self, delta: DeltaV1) -> bytes:
        """A piece's events."""
        return b"".join(encoded(name, data) for name, data in delta_events(delta))

    def end(self, answer: InvokedV1) -> bytes:
        """The object of a plain answer."""
        return encoded("done", invoked_view(answer))

    def failed(self, error: OmniError) -> bytes:
        """The problem document."""
        return encoded("error", problem_document(error))


class EventStream:
    """The response, in the words of ``writer``.

    A failure before anything was sent is raised (OmniError), so that it is answered with a status of its own.
    ``limit_s``: how long the client may take in all.
    """

    def __init__(
        self, ask: AskPieces, limit_s: float, writer: Writer | None = None, headers: Mapping[str, str] | None = None
    ) -> None:
        self._ask, self._limit_s, self._writer = ask, limit_s, writer or OwnWriter()
        self._headers = [*_HEADERS, *((name.encode(), value.encode()) for name, value in (headers or {}).items())]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, until the client leaves."""
        del scope
        async with while_listening(receive, self._limit_s):
            await _Answer(send, self._writer, self._headers).give(self._ask)


class _Answer:
    """What has been sent of a response."""

    def __init__(self, send: Send, writer: Writer, headers: list[tuple[bytes, bytes]]) -> None:
        self._send, self._writer, self._headers, self._begun = send, writer, headers, False

    async def give(self, ask: AskPieces) -> None:
        """Pass on everything that arrives."""
        try:
            async with ask() as arriving:
                while (events := await self._next(arriving)) is not None:
                    if events:
                        await self._write(events)
                last = self._writer.end(arriving.final)
        except Exception as error:
            if not self._begun:
                raise
            last = self._writer.failed(told(error))
        await self._write(last)
        await self._send({"type": "http.response.body", "body": b""})

    async def _next(self, arriving: Pieces) -> bytes | None:
        try:
            async with asyncio.timeout(SILENCE_S) as limit:
                delta = await anext(arriving, None)
        except TimeoutError:
            if limit.expired():
                return self._writer.waiting()
            raise
        return None if delta is None else self._writer.delta(delta)

    async def _write(self, body: bytes) -> None:
        if not self._begun:
            self._begun = True
            await self._send({"type": "http.response.start", "status": 200, "headers": self._headers})
            body = self._writer.begin() + body
        await self._send({"type": "http.response.body", "body": body, "more_body": True})
