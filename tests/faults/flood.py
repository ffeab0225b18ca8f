"""``python -m tests.faults.flood PORT AT_ONCE``, a token on its input: as many calls at once as it is told, on and on.

Prints ``ready`` when the first are answered, and when its input is closed, how many of each status in how many seconds.
"""

import asyncio
import json
import sys
from collections import Counter

from shared.clock import SystemClock

BODY = b'{"alias_name":"sandbox-echo","prompt":"Hello!","options":{"max_tokens":16}}'
_HEAD = "POST /ai-invoke HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\n"


async def caller(port: int, request: bytes, seen: Counter[str]) -> None:
    """Calls one after the other on one connection, without a pause and whatever it is told."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    while True:
        writer.write(request)
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = head.partition(b"content-length:")[2].partition(b"\r\n")[0]
        await reader.readexactly(int(length))
        seen[head[9:12].decode()] += 1
        if head[9:12] in (b"429", b"503"):
            seen["with_retry_after"] += b"\r\nretry-after:" in head


async def main(port: int, at_once: int, token: str) -> None:
    """Flood until the input is closed."""
    request = f"{_HEAD.format(token)}Content-Length: {len(BODY)}\r\n\r\n".encode() + BODY
    seen, clock = Counter[str](), SystemClock()
    callers = [asyncio.ensure_future(caller(port, request, seen)) for _ in range(at_once)]
    while not seen:  # noqa: ASYNC110 - ten times a second is often enough
        await asyncio.sleep(0.1)
    print("ready", flush=True)
    seen.clear()
    began = clock.monotonic()
    await asyncio.to_thread(sys.stdin.read)
    print(json.dumps(seen | {"seconds": clock.monotonic() - began}), flush=True)
    for one in callers:
        one.cancel()
    await asyncio.gather(*callers, return_exceptions=True)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2]), sys.stdin.readline().strip()))
