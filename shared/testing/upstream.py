"""A scriptable HTTP/1.1 server on loopback, byte by byte: what a provider does, on its good and bad days."""

import asyncio
import json
import socket
import ssl
import struct
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from math import inf
from typing import Any, Self
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Answer:
    """One scripted answer, and how it goes wrong.

    Attributes:
        delay_s: seconds before the first byte.
        cut_after: bytes of the body after which the connection is closed although more was promised.
        reset: close with a TCP reset: at once, or after ``cut_after`` bytes.
        hang: answer nothing until the client goes away (after ``cut_after`` bytes when that is given).
        drip_s: seconds between single bytes of the body.
        raw: send these bytes instead of a well-formed answer.
        parts: the body as chunks, sent one by one and ended unless ``hang`` or ``reset`` says otherwise
            (``cut_after`` counts their framing, too); an event among them is waited for.
    """

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    delay_s: float = 0.0
    cut_after: int | None = None
    reset: bool = False
    hang: bool = False
    drip_s: float = 0.0
    raw: bytes | None = None
    parts: Sequence[bytes | asyncio.Event] | None = None


def stream_answer(*parts: bytes | asyncio.Event, **how: Any) -> Answer:  # noqa: ANN401 - fields of Answer
    """``parts`` as a stream of server-sent events."""
    headers = {"content-type": "text/event-stream", **how.pop("headers", {})}
    return Answer(headers=headers, parts=parts, **how)


def json_answer(payload: object, status: int = 200, **how: Any) -> Answer:  # noqa: ANN401 - fields of Answer
    """``payload`` as a JSON answer."""
    headers = {"content-type": "application/json", **how.pop("headers", {})}
    return Answer(status=status, headers=headers, body=json.dumps(payload).encode(), **how)


@dataclass(frozen=True)
class Received:
    """A request as it arrived; header names in lower case, ``path`` with its query, undecoded."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:  # noqa: ANN401 - whatever was sent
        """The body as JSON."""
        return json.loads(self.body)


class Upstream:
    """``async with Upstream() as upstream:`` serves until the block ends.

    ``script`` queues answers for a method and path (the query is not part of it); the last one of ``always`` repeats.

    ``tls``: a context to speak TLS with (``certificates.Authority``).

    Attributes:
        leavings: how many clients have closed their connection before their answer was complete.
        body_bytes: how many bytes of bodies the network has taken.
    """

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self._tls = tls
        self.requests: list[Received] = []
        self.connections = 0
        self.leavings = 0
        self.body_bytes = 0
        self._queued: dict[tuple[str, str], deque[Answer]] = defaultdict(deque)
        self._default: dict[tuple[str, str], Answer] = {}
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._serving: set[asyncio.Task[Any]] = set()
        self._arrived = asyncio.Event()
        self._departed = asyncio.Event()
        self.port = 0

    @property
    def host(self) -> str:
        """``127.0.0.1:port``."""
        return f"127.0.0.1:{self.port}"

    @property
    def base_url(self) -> str:
        """``http://127.0.0.1:port``, or ``https://``."""
        return f"{'https' if self._tls else 'http'}://{self.host}"

    def script(self, method: str, path: str, *answers: Answer) -> None:
        """Give these answers, once each and in order, to requests for ``path``."""
        self._queued[method, path].extend(answers)

    def always(self, method: str, path: str, answer: Answer) -> None:
        """Give this answer whenever nothing is queued. ``path`` ``*`` stands for every path."""
        self._default[method, path] = answer

    async def arrival(self, count: int) -> None:
        """Wait until ``count`` requests have arrived."""
        while len(self.requests) < count:
            self._arrived.clear()
            await self._arrived.wait()

    async def left(self, count: int) -> None:
        """Wait until ``count`` clients have closed their connection before their answer was complete."""
        while self.leavings < count:
            self._departed.clear()
            await self._departed.wait()

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: asyncio.StreamReaderProtocol(_Reader(), self._serve, loop),
            "127.0.0.1",
            0,
            backlog=2048,
            ssl=self._tls,
        )
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for writer in tuple(self._writers):
            writer.transport.abort()
        for task in self._serving:
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert isinstance(reader, _Reader)
        self.connections += 1
        self._writers.add(writer)
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)
        try:
            while (request := await _receive(reader)) is not None:
                self.requests.append(request)
                self._arrived.set()
                if not await self._answer(self._choose(request), reader, writer):
                    break
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # cancelled only by ``__aexit__``; a stream handler that ends so would be reported as an error
        finally:
            self._writers.discard(writer)
            with suppress(ConnectionError, asyncio.CancelledError):
                writer.close()
                await writer.wait_closed()

    async def _answer(self, answer: Answer, reader: "_Reader", writer: asyncio.StreamWriter) -> bool:
        """Give ``answer``, or notice that the client has gone; whether the connection may serve another request."""
        giving = asyncio.ensure_future(self._give(answer, writer))
        gone = asyncio.ensure_future(reader.gone.wait())
        try:
            await asyncio.wait({giving, gone}, return_when=asyncio.FIRST_COMPLETED)
            if giving.done() and giving.exception() is None:
                return giving.result()
            self.leavings += 1
            self._departed.set()
            return False
        finally:
            giving.cancel()
            gone.cancel()
            await asyncio.gather(giving, gone, return_exceptions=True)

    async def _give(self, answer: Answer, writer: asyncio.StreamWriter) -> bool:
        """Send ``answer``; whether the connection may serve another request."""
        if answer.delay_s:
            await asyncio.sleep(answer.delay_s)
        whole = answer.cut_after is None
        if answer.raw is not None:
            writer.write(answer.raw)
        elif answer.parts is not None or not (whole and (answer.reset or answer.hang)):
            writer.write(_head(answer))
            await self._send_body(answer, writer)
        await writer.drain()
        if answer.hang:
            await asyncio.Event().wait()
        if answer.reset:
            _reset(writer)
        return whole and not answer.reset and answer.raw is None

    async def _send_body(self, answer: Answer, writer: asyncio.StreamWriter) -> None:
        for piece in _pieces(answer):
            if isinstance(piece, asyncio.Event):
                await piece.wait()
                continue
            writer.write(piece)
            await writer.drain()
            self.body_bytes += len(piece)
            if answer.drip_s:
                await asyncio.sleep(answer.drip_s)

    def _choose(self, request: Received) -> Answer:
        key = request.method, urlsplit(request.path).path
        if self._queued[key]:
            return self._queued[key].popleft()
        unknown = json_answer({"error": {"message": "nothing scripted here"}}, status=404)
        return self._default.get(key) or self._default.get((request.method, "*")) or unknown


class _Reader(asyncio.StreamReader):
    """Notices that the client has gone while nobody reads."""

    def __init__(self) -> None:
        super().__init__(limit=2**20)
        self.gone = asyncio.Event()

    def feed_eof(self) -> None:
        super().feed_eof()
        self.gone.set()

    def set_exception(self, exc: Exception) -> None:
        super().set_exception(exc)
        self.gone.set()


async def _receive(reader: asyncio.StreamReader) -> Received | None:
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    except asyncio.IncompleteReadError as error:
        if error.partial:
            raise
        return None
    first, *lines = head.split("\r\n")
    method, path, _ = first.split(" ", 2)
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Received(method, path, headers, body)


def _head(answer: Answer) -> bytes:
    framing = {"content-length": str(len(answer.body))} if answer.parts is None else {"transfer-encoding": "chunked"}
    headers = framing | dict(answer.headers)
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {answer.status} Scripted\r\n{lines}\r\n".encode("latin-1")


def _pieces(answer: Answer) -> Iterator[bytes | asyncio.Event]:
    """The body as it goes over the wire, up to where it is cut."""
    wire: Iterable[bytes | asyncio.Event] = [answer.body]
    if answer.parts is not None:
        framed = (b"%x\r\n%b\r\n" % (len(part), part) if isinstance(part, bytes) else part for part in answer.parts)
        unended = answer.cut_after is None and (answer.hang or answer.reset)
        wire = (*framed, *(() if unended else (b"0\r\n\r\n",)))
    left = inf if answer.cut_after is None else answer.cut_after
    step = 1 if answer.drip_s else 65_536
    for part in wire:
        if isinstance(part, asyncio.Event):
            yield part
            continue
        for start in range(0, len(part), step):
            piece = part[start : start + step]
            if left <= 0:
                return
            yield piece[: int(min(left, len(piece)))]
            left -= len(piece)


def _reset(writer: asyncio.StreamWriter) -> None:
    # Linger 0 makes the kernel send RST instead of FIN.
    peer: socket.socket = writer.get_extra_info("socket")
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
