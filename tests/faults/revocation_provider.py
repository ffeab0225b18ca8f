"""``python -m tests.faults.revocation_provider``: a provider that notes when requests arrive and connections end.

A process of its own with nothing else to do, so that what it notes is late by as little as possible; it can never be
early. Times are of the machine's monotonic clock, the same in every process. ``GET /journal?<key>`` tells of a key.
"""

import asyncio
import json
from collections import defaultdict
from dataclasses import asdict, dataclass
from time import monotonic
from typing import cast

import uvloop

DELAY_S, DRIP_S = 0.05, 0.02
_CHAT = {
    "choices": [{"finish_reason": "stop", "message": {"content": "hi"}}],
    "usage": {"prompt_tokens": 5, "completion_tokens": 1},
}
_HEAD = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n"


@dataclass
class Note:
    """A request: when its first byte arrived, and when its connection ended while it was being answered."""

    received: float
    closed: float | None = None


JOURNAL: defaultdict[str, list[Note]] = defaultdict(list)


class Provider(asyncio.Protocol):
    """Answers chats after ``DELAY_S``; those for the model ``trickle`` never end."""

    def __init__(self) -> None:
        self._seen = bytearray()
        self._first_at: float | None = None
        self._note: Note | None = None
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.WriteTransport", transport)

    def connection_lost(self, _: Exception | None) -> None:
        self._transport = None
        if self._note is not None:
            self._note.closed = monotonic()

    def data_received(self, data: bytes) -> None:
        self._first_at = self._first_at or monotonic()
        self._seen += data
        head, found, rest = bytes(self._seen).partition(b"\r\n\r\n")
        lines = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:] if b": " in line)
        length = int(lines.get(b"content-length", b"0"))
        if found and len(rest) >= length:
            self._answer(head, lines.get(b"authorization", b"").decode(), rest[:length])
            self._seen, self._first_at = bytearray(rest[length:]), None

    def _answer(self, head: bytes, authorization: str, body: bytes) -> None:
        assert self._first_at is not None
        if head.startswith(b"GET /journal"):
            key = head.split(b" ", 2)[1].partition(b"?")[2].decode()
            self._give([asdict(note) for note in JOURNAL[key]])
        elif head.startswith(b"GET "):
            self._give({"data": []})
        else:
            self._note = Note(self._first_at)
            JOURNAL[authorization.removeprefix("bearer ")].append(self._note)
            loop = asyncio.get_running_loop()
            if json.loads(body)["model"] == "trickle":
                self._write(_HEAD.format(1_000_000).encode())
                loop.call_later(DRIP_S, self._drip)
            else:
                loop.call_later(DELAY_S, self._give, _CHAT)

    def _give(self, payload: object) -> None:
        body = json.dumps(payload).encode()
        self._write(_HEAD.format(len(body)).encode() + body)
        self._note = None

    def _drip(self) -> None:
        if self._transport is not None:
            self._write(b" ")
            asyncio.get_running_loop().call_later(DRIP_S, self._drip)

    def _write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)


async def main() -> None:
    """Serve until the process is ended; the port is printed."""
    server = await asyncio.get_running_loop().create_server(Provider, "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main())
