"""A static provider: one process, one canned chat completion, as little work as Python allows."""

import asyncio
import json
import sys
from typing import cast

import uvloop

ANSWER = json.dumps(
    {
        "id": "chatcmpl-bench",
        "object": "chat.completion",
        "model": "bench",
        "choices": [
            {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "word " * 80}},
        ],
        "usage": {"prompt_tokens": 12, "completion_tokens": 80, "total_tokens": 92},
    }
).encode()
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
RESPONSE = HEAD % len(ANSWER) + ANSWER


class Provider(asyncio.Protocol):
    """Answers every request on a connection with ``RESPONSE`` after ``delay_s`` seconds."""

    def __init__(self, delay_s: float) -> None:
        self._delay_s = delay_s
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
            del self._seen[: end + 4 + length]
            asyncio.get_running_loop().call_later(self._delay_s, self._answer)

    def _answer(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(RESPONSE)


async def main(delay_s: float) -> None:
    """Serve until the process is ended; the port is printed."""
    server = await asyncio.get_running_loop().create_server(lambda: Provider(delay_s), "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(float(sys.argv[1])))
