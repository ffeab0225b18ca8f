"""A scriptable HTTP/1.1 server on loopback, byte by byte: what a provider does, on its good and bad days."""

import asyncio
import base64
import json
import socket
import struct
from collections import defaultdict, deque
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

_FRAMING = {"content-length", "transfer-encoding", "content-encoding", "connection"}


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
    """

    def __init__(self) -> None:
        self.requests: list[Received] = []
        self.connections = 0
        self._queued: dict[tuple[str, str], deque[Answer]] = defaultdict(deque)
        self._default: dict[tuple[str, str], Answer] = {}
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._serving: set[asyncio.Task[Any]] = set()
        self._arrived = asyncio.Event()
        self.port = 0

    @property
    def host(self) -> str:
        """``127.0.0.1:port``."""
        return f"127.0.0.1:{self.port}"

    @property
    def base_url(self) -> str:
        """``http://127.0.0.1:port``."""
        return f"http://{self.host}"

    def script(self, method: str, path: str, *answers: Answer) -> None:
        """Give these answers, once each and in order, to requests for ``path``."""
        self._queued[method, path].extend(answers)

    def always(self, method: str, path: str, answer: Answer) -> None:
        """Give this answer whenever nothing is queued. ``path`` ``*`` stands for every path."""
        self._default[method, path] = answer

    def replay(self, file: Path) -> "list[Exchange]":
        """Queue the answers of a file of recordings, each for its recorded path; gives the exchanges."""
        exchanges = recorded(file)
        for exchange in exchanges:
            self.script(exchange.method, exchange.path, exchange.answer)
        return exchanges

    async def arrival(self, count: int) -> None:
        """Wait until ``count`` requests have arrived."""
        while len(self.requests) < count:
            self._arrived.clear()
            await self._arrived.wait()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=2**20, backlog=2048)
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
                if not await _give(self._choose(request), reader, writer):
                    break
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # cancelled only by ``__aexit__``; a stream handler that ends so would be reported as an error
        finally:
            self._writers.discard(writer)
            with suppress(ConnectionError, asyncio.CancelledError):
                writer.close()
                await writer.wait_closed()

    def _choose(self, request: Received) -> Answer:
        key = request.method, urlsplit(request.path).path
        if self._queued[key]:
            return self._queued[key].popleft()
        unknown = json_answer({"error": {"message": "nothing scripted here"}}, status=404)
        return self._default.get(key) or self._default.get((request.method, "*")) or unknown


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


async def _give(answer: Answer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    """Send ``answer``; whether the connection may serve another request."""
    if answer.delay_s:
        await asyncio.sleep(answer.delay_s)
    whole = answer.cut_after is None
    if answer.raw is not None:
        writer.write(answer.raw)
    elif not (whole and (answer.reset or answer.hang)):
        writer.write(_head(answer))
        await _send_body(answer, writer)
    await writer.drain()
    if answer.hang:
        await reader.read()
    if answer.reset:
        _reset(writer)
    return whole and not answer.reset and not answer.hang and answer.raw is None


def _head(answer: Answer) -> bytes:
    headers = {"content-length": str(len(answer.body)), **answer.headers}
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {answer.status} Scripted\r\n{lines}\r\n".encode("latin-1")


async def _send_body(answer: Answer, writer: asyncio.StreamWriter) -> None:
    body = answer.body[: answer.cut_after]
    step = 1 if answer.drip_s else 65_536
    for start in range(0, len(body), step):
        writer.write(body[start : start + step])
        await writer.drain()
        if answer.drip_s:
            await asyncio.sleep(answer.drip_s)


def _reset(writer: asyncio.StreamWriter) -> None:
    # Linger 0 makes the kernel send RST instead of FIN.
    peer: socket.socket = writer.get_extra_info("socket")
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


@dataclass(frozen=True)
class Exchange:
    """A recorded request and the answer to give to it, body verbatim. ``exact`` False: the recording was shortened."""

    name: str
    method: str
    url: str
    request_body: bytes
    answer: Answer
    exact: bool

    @property
    def path(self) -> str:
        """Path of the recorded URL, without its query."""
        return urlsplit(self.url).path


def recorded(file: Path) -> list[Exchange]:
    """The exchanges in a file of recordings (format: ``../shared/providers/recorded/README``)."""
    content = json.loads(file.read_text(encoding="utf-8"))
    items = content.get("exchanges", []) if isinstance(content, dict) else []
    return [_exchange(f"{file.stem}#{index}", item) for index, item in enumerate(items)]


def _exchange(name: str, item: dict[str, Any]) -> Exchange:
    request, response = item["request"], item["response"]
    given = {key.lower(): str(value) for key, value in response["headers"].items()}
    headers = {key: value for key, value in given.items() if key not in _FRAMING}
    answer = Answer(status=int(str(response["status"]).split()[0]), headers=headers, body=_bytes(response))
    exact = "body_full_bytes" not in request and "body_full_bytes" not in response
    return Exchange(name, request["method"], request["url"], _bytes(request), answer, exact)


def _bytes(part: dict[str, Any]) -> bytes:
    if "body_text" in part:
        return str(part["body_text"]).encode()
    if "body_b64" in part:
        return base64.b64decode(part["body_b64"])
    return json.dumps(part["body"]).encode() if "body" in part else b""
