"""A static provider: one process, one canned chat completion, as little work as Python allows.

Asked for a stream it sends the same answer in ``PIECES`` events, each in a write of its own.
"""

import asyncio
import json
import sys
from collections.abc import Iterator
from typing import Any, cast

import uvloop

PIECES = 200
_USAGE = {"prompt_tokens": 12, "completion_tokens": 80, "total_tokens": 92}
ANSWER = json.dumps(
    {
        "id": "chatcmpl-bench",
        "object": "chat.completion",
        "model": "bench",
        "choices": [
            {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "word " * 80}},
        ],
        "usage": _USAGE,
    }
).encode()
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
RESPONSE = HEAD % len(ANSWER) + ANSWER
STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


def _event(data: str) -> bytes:
    line = f"data: {data}\n\n".encode()
    return b"%x\r\n%s\r\n" % (len(line), line)


def _piece(choices: list[dict[str, Any]], **more: object) -> bytes:
    row = {"id": "chatcmpl-bench", "object": "chat.completion.chunk", "model": "bench", "choices": choices}
    return _event(json.dumps({**row, **more}))


WORD = _piece([{"index": 0, "delta": {"content": "word "}, "finish_reason": None}])
LAST = (
    _piece([{"index": 0, "delta": {}, "finish_reason": "stop"}])
    + _piece([], usage=_USAGE)
    + _event("[DONE]")
    + b"0\r\n\r\n"
)


class Provider(asyncio.Protocol):
    """Answers every request on a connection after ``delay_s`` seconds; pieces of a stream are ``pause_s`` apart."""

    def __init__(self, delay_s: float, pause_s: float) -> None:
        self._delay_s, self._pause_s = delay_s, pause_s
        self._seen = bytearray()
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.WriteTransport", transport)

    def data_received(self, data: bytes) -> None:
        self._seen += data
        while (end := self._seen.find(b"\r\n\r\n")) >= 0:
            length = 0
            for line in bytes(self._seen[:end]).lower().split(b"\r\n"):
                if line.startswith(b"content-length:"):
                    length = int(line[15:])
            if len(self._seen) < end + 4 + length:
                return
            streams = b'"stream":true' in self._seen[: end + 4 + length]
            del self._seen[: end + 4 + length]
            writes = iter((STREAM_HEAD, *[WORD] * PIECES, LAST) if streams else (RESPONSE,))
            asyncio.get_running_loop().call_later(self._delay_s, self._write, writes)

    def _write(self, writes: Iterator[bytes]) -> None:
        body = next(writes, None)
        if body is not None and self._transport is not None and not self._transport.is_closing():
            self._transport.write(body)
            asyncio.get_running_loop().call_later(self._pause_s, self._write, writes)


async def main(delay_s: float, pause_s: float) -> None:
    """Serve until the process is ended; the port is printed."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Provider(delay_s, pause_s), "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(*map(float, sys.argv[1:])))
