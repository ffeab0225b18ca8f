"""Reads what a provider answers, whole or as a stream of events, within bounds of size and time."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from math import inf

from services.router.domain.bodies import (
    NOT_DECODABLE,
    TOO_LARGE,
    Unpacking,
    UnreadableError,
    decoded,
    without,
    without_in_texts,
)
from services.router.domain.sse import EventParser, ServerEvent, TooLargeError
from services.router.providers.base import Failure, HttpAnswer
from services.router.sending import Listener, Streamed
from shared.messages.vocabulary import Outcome

# Twice that still fits through the message bus, so that an answer that was paid for can be passed on.
LARGEST_ANSWER = 4 * 1024 * 1024
LARGEST_ERROR = 64 * 1024
LARGEST_STREAM = 32 * 1024 * 1024
"""Bytes of a body, decoded, that are read; of an error answer only the beginning."""

LEFTOVER = 64 * 1024
LEFTOVER_S = 0.2
"""What may follow a stream nobody wants more of, for its connection to be of further use."""

_ERROR_BODY_S = 5.0
_SILENT = "silent"
_EVENTS = "text/event-stream"

Chunks = AsyncIterator[bytes]


@dataclass(frozen=True)
class Head:
    """Status and headers (names in lower case) of an answer whose body is still to be read."""

    status: int
    headers: Mapping[str, str]

    @property
    def encoding(self) -> str:
        """How the body is compressed."""
        return self.headers.get("content-encoding", "")

    @property
    def streams(self) -> bool:
        """Whether the body is a stream of events."""
        kind = self.headers.get("content-type", "").partition(";")[0]
        return self.status == 200 and kind.strip().lower() == _EVENTS


async def whole(head: Head, chunks: Chunks, silence_s: float, secrets: Sequence[str]) -> HttpAnswer | Failure:
    """The whole answer, without the ``secrets``."""
    answer = await _whole(head, chunks, silence_s)
    if isinstance(answer, Failure):
        return answer
    body, headers = without(answer.body, answer.headers, secrets)
    return HttpAnswer(answer.status, headers, body)


async def _whole(head: Head, chunks: Chunks, silence_s: float) -> HttpAnswer | Failure:
    status, headers = head.status, head.headers
    if status >= 400:
        return HttpAnswer(status, headers, decoded(await _error_body(chunks), head.encoding, LARGEST_ERROR) or b"")
    raw, fault = await _body(chunks, LARGEST_ANSWER, silence_s)
    if fault == _SILENT:
        return Failure(Outcome.TIMEOUT, status, fault)
    body = None if fault else decoded(raw, head.encoding, LARGEST_ANSWER)
    if body is None:
        return Failure(Outcome.BAD_RESPONSE, status, fault or NOT_DECODABLE)
    return HttpAnswer(status, headers, body)


async def _error_body(chunks: Chunks) -> bytes:
    # The status has said it: a body that hangs must not turn a clear refusal into an unknown outcome.
    try:
        async with asyncio.timeout(_ERROR_BODY_S):
            return (await _body(chunks, LARGEST_ERROR, _ERROR_BODY_S))[0]
    except TimeoutError:
        return b""


async def _body(chunks: Chunks, limit: int, silence_s: float) -> tuple[bytes, str | None]:
    """The bytes as they came, and what was wrong with them."""
    raw, now = bytearray(), asyncio.get_running_loop().time
    try:
        async with asyncio.timeout(silence_s) as silence:
            async for chunk in chunks:
                raw += chunk
                if len(raw) > limit:
                    return bytes(raw[:limit]), TOO_LARGE
                silence.reschedule(now() + silence_s)
        return bytes(raw), None
    except TimeoutError:
        return bytes(raw), _SILENT
    except Exception:  # noqa: BLE001 - the libraries raise many kinds, none of which may pass
        return bytes(raw), "cut_answer"


class Stream:
    """One streamed answer on its way to its listener."""

    def __init__(
        self, head: Head, chunks: Chunks, listener: Listener, silence_s: float, secrets: Sequence[str]
    ) -> None:
        self._head, self._chunks, self._listener, self._silence_s = head, chunks, listener, silence_s
        self._clean = without_in_texts(secrets)
        self._headers = without(b"", head.headers, secrets)[1]
        self._parser = EventParser()
        self._now: Callable[[], float] = asyncio.get_running_loop().time

    async def heard(self, first_byte_due: float) -> Streamed | Failure:
        """Read until the body or the listener's interest ends.

        Args:
            first_byte_due: when the listener must have started, by the event loop's clock.
        """
        status = self._head.status
        try:
            body = Unpacking(self._head.encoding, LARGEST_STREAM)
            while not self._listener.is_over:
                started = self._listener.started
                due = self._now() + self._silence_s if started else first_byte_due
                try:
                    chunk = await _next(self._chunks, due)
                except TimeoutError:
                    return Failure(Outcome.TIMEOUT, status, _SILENT if started else "first_byte_timeout")
                except _CutError:
                    return Streamed(status, self._headers, clean=self._listener.is_over)
                if chunk is None:
                    return Streamed(status, self._headers, clean=body.is_whole)
                began = self._now()
                await self._hear(body, chunk)
                first_byte_due += self._now() - began
        except UnreadableError as error:
            return Failure(Outcome.BAD_RESPONSE, status, error.reason)
        except TooLargeError:
            return Failure(Outcome.BAD_RESPONSE, status, "event_too_large")
        return Streamed(status, self._headers, clean=True)

    async def _hear(self, body: Unpacking, chunk: bytes) -> None:
        for piece in body.feed(chunk):
            for event in self._parser.feed(piece):
                await self._listener.hear(ServerEvent(self._clean(event.data), self._clean(event.name)))
                if self._listener.is_over:
                    return


class _CutError(Exception):
    """The body broke off."""


async def _next(chunks: Chunks, due: float) -> bytes | None:
    """The next piece, None at the end. Raises _CutError, and TimeoutError when it has not come by ``due``."""
    limit = asyncio.timeout_at(None if due == inf else due)
    try:
        async with limit:
            return await anext(chunks, None)
    except Exception as error:
        if limit.expired():
            raise TimeoutError from None
        raise _CutError from error


async def leftover(chunks: Chunks) -> None:
    """Read to the end of a body nobody wants more of, if it is near."""
    size = 0
    try:
        async with asyncio.timeout(LEFTOVER_S):
            while size <= LEFTOVER and (chunk := await anext(chunks, None)) is not None:
                size += len(chunk)
    except Exception:  # noqa: BLE001, S110 - how it ends makes no difference any more
        pass
