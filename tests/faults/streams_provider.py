"""``python -m tests.faults.streams_provider SEED``: a provider whose streams break off as ``streams_plans.py`` says.

A process of its own, so that what it notes is late by as little as possible. Times are of the machine's monotonic
clock, the same in every process. ``GET /journal?<beginning of a subject>`` tells of requests.
"""

import asyncio
import json
import random
import socket
import struct
import sys
from collections import Counter
from dataclasses import asdict, dataclass
from itertools import count
from time import monotonic
from typing import cast

import uvloop

from tests.faults.streams_plans import conduct_of, pieces_of, plan_of, slices_of
from tests.faults.streams_wire import Asked, asked, begun, piece, whole

TICK_S = 0.05
_ANSWER = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n"


@dataclass
class Note:
    """A request.

    Attributes:
        id: what ``x-request-id`` says in the answer.
        received: when it was there; ``done``: when all was written that would ever be; ``closed``: when its connection
            ended although more was to come.
        cut: what the provider does in the middle; None: nothing.
        written: bytes of the answer so far; with ``enough`` of them the text and why it ended are told.
        continued: characters it was asked to go on after; ``strays``: they were not the answer's beginning.
    """

    id: str
    subject: str
    received: float
    done: float | None = None
    closed: float | None = None
    cut: str | None = None
    written: int = 0
    enough: int = 0
    continued: int = 0
    strays: bool = False


JOURNAL: list[Note] = []
_attempts: Counter[str] = Counter()
_ids = count(1)


class Provider(asyncio.Protocol):
    """One connection."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._seen = bytearray()
        self._note: Note | None = None
        self._transport: asyncio.WriteTransport | None = None
        self._left: list[bytes] = []
        self._longest_pause_s = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.WriteTransport", transport)

    def connection_lost(self, _: Exception | None) -> None:
        self._transport = None
        if self._note is not None:
            self._note.closed = monotonic()

    def data_received(self, data: bytes) -> None:
        self._seen += data
        head, found, rest = bytes(self._seen).partition(b"\r\n\r\n")
        lines = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:] if b": " in line)
        length = int(lines.get(b"content-length", b"0"))
        if found and len(rest) >= length:
            self._seen = bytearray(rest[length:])
            method, path, _ = head.decode().split(" ", 2)
            self._answer(method, path, rest[:length])

    def _answer(self, method: str, path: str, body: bytes) -> None:
        if method == "GET":
            listed = [asdict(note) for note in JOURNAL if note.subject.startswith(path.partition("?")[2])]
            self._give(listed if path.startswith("/journal") else {"data": [], "models": []})
            return
        request = asked(path, body)
        self._note = Note(f"req-{next(_ids)}", request.subject, monotonic())
        JOURNAL.append(self._note)
        if request.subject.startswith("endless"):
            self._write(begun(request.dialect, self._note.id))
            self._tick()
        else:
            self._stream(self._note, request)

    def _stream(self, note: Note, request: Asked) -> None:
        number, attempt = int(request.subject.rpartition("-")[2]), _attempts[request.subject]
        _attempts[request.subject] += 1
        plan = plan_of(self._seed, number)
        conduct = conduct_of(self._seed, plan, attempt)
        note.continued, note.strays = len(request.said), not plan.text.startswith(request.said)
        again = min(len(request.said), 12 + attempt * 17) if conduct.repeats and not request.prefilled else 0
        rest = plan.text[len(request.said) - again :]
        answer = whole(request.dialect, pieces_of(self._seed, number, rest), note.id)
        note.cut, note.enough = conduct.cut, answer.enough
        upto = int(conduct.share * len(answer.data)) if conduct.cut else len(answer.data)
        self._longest_pause_s = plan.longest_pause_s
        self._left = slices_of(self._seed, number, attempt, answer.data[:upto])
        self._next()

    def _next(self) -> None:
        if self._transport is None or self._note is None:
            return
        if self._left:
            self._note.written += len(self._left[0])
            self._write(self._left.pop(0))
        if self._left:
            asyncio.get_running_loop().call_later(random.uniform(0, self._longest_pause_s), self._next)  # noqa: S311 - no secret
        else:
            self._end(self._note, self._transport)

    def _end(self, note: Note, transport: asyncio.WriteTransport) -> None:
        if note.cut != "stall":
            self._note, note.done = None, monotonic()
        if note.cut == "fin":
            transport.close()
        elif note.cut == "rst":
            _reset(transport)

    def _tick(self) -> None:
        if self._transport is not None:
            self._write(piece("and on "))
            asyncio.get_running_loop().call_later(TICK_S, self._tick)

    def _give(self, payload: object) -> None:
        body = json.dumps(payload).encode()
        self._write(_ANSWER.format(len(body)).encode() + body)

    def _write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)


def _reset(transport: asyncio.WriteTransport) -> None:
    # Linger 0 makes the kernel send RST instead of FIN.
    peer: socket.socket = transport.get_extra_info("socket")
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


async def main(seed: int) -> None:
    """Serve until the process is ended; the port is printed."""
    server = await asyncio.get_running_loop().create_server(lambda: Provider(seed), "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
