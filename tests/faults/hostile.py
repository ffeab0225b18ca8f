"""``python -m tests.faults.hostile NAME PORT COUNT``, a token on its input: one kind of bad client, in its own process.

Prints ``ready`` when all of it is in place, goes on until its input is closed, then prints what it saw as JSON.
"""

import asyncio
import json
import resource
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress

MIB = 1 << 20
REST_S = 0.2
_HEAD = "POST /ai-invoke HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\n"
DEEP = b"[" * 1_000_000
MANY_FIELDS = b"{" + b'"":0,' * 800_000 + b'"a":0}'
WIDE = b'{"input":[' + b'"",' * 1_300_000 + b'""],"alias_name":"a"}'


class Bad:
    """``count`` clients of one kind. ``seen``: what became of them, by kind."""

    def __init__(self, port: int, count: int, token: str) -> None:
        self.port, self.count, self.token = port, count, token
        self.seen: Counter[str] = Counter()
        self.end = asyncio.Event()

    def head(self, fields: str) -> bytes:
        """A request's head with a good token."""
        return (_HEAD.format(token=self.token) + fields).encode()

    async def drip(self, first: bytes, every_s: float) -> None:
        """Send ``first``, then a byte from time to time."""
        reader, writer = await self._open()
        try:
            writer.write(first)
            self.seen["open"] += 1
            while not self.end.is_set():
                with suppress(TimeoutError):
                    async with asyncio.timeout(every_s):
                        heard = await reader.read(4096)
                        self.seen["refused" if heard else "closed"] += 1
                        return
                writer.write(b"a")
                await writer.drain()
        except OSError:
            self.seen["closed"] += 1
        finally:
            writer.close()

    async def idle(self) -> None:
        """Connect and say nothing."""
        reader, writer = await self._open()
        self.seen["open"] += 1
        closing = asyncio.ensure_future(self.end.wait())
        hearing = asyncio.ensure_future(reader.read(1))
        await asyncio.wait({closing, hearing}, return_when=asyncio.FIRST_COMPLETED)
        self.seen["closed"] += hearing.done()
        hearing.cancel()
        writer.close()

    async def pour(self, fields: str, body: Callable[[], bytes], most: int) -> None:
        """Again and again, with a short rest, a request whose body is as bad as can be, as fast as it is taken."""
        while not self.end.is_set():
            reader, writer = await self._open()
            self.seen["open"] += 1
            heard = asyncio.ensure_future(reader.read(65536))
            with suppress(OSError):
                writer.write(self.head(fields))
                sent = 0
                while sent < most and not heard.done() and not self.end.is_set():
                    piece = body()
                    writer.write(piece)
                    sent += len(piece)
                    await writer.drain()
                self.seen["mib_sent"] += sent // MIB
            with suppress(OSError, TimeoutError):
                async with asyncio.timeout(5):
                    self.seen[(await heard)[9:12].decode() or "closed"] += 1
            writer.close()
            # More would only measure how much of the machine this process takes from the others.
            await asyncio.sleep(REST_S)

    async def opened(self, count: int) -> None:
        """Return once so many have been in place."""
        while self.seen["open"] < count:  # noqa: ASYNC110 - ten times a second is often enough
            await asyncio.sleep(0.1)

    async def _open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port)


def _chunk() -> bytes:
    return b"10000\r\n" + b"x" * 65536 + b"\r\n"


def _whole(bad: Bad, body: bytes) -> Awaitable[None]:
    return bad.pour(f"Content-Length: {len(body)}\r\n\r\n", lambda: body, len(body))


KINDS: dict[str, Callable[[Bad], Awaitable[None]]] = {
    "slow_heads": lambda bad: bad.drip(b"GET /ai-keys HTTP/1.1\r\nHost: x\r\nX-A: ", 1.0),
    "slow_bodies": lambda bad: bad.drip(bad.head("Content-Length: 60000\r\n\r\n{"), 1.0),
    "slow_large_bodies": lambda bad: bad.drip(bad.head("Content-Length: 4000000\r\n\r\n") + b"x" * 100_000, 1.0),
    "idle": lambda bad: bad.idle(),
    "gigabyte": lambda bad: bad.pour(f"Content-Length: {1 << 30}\r\n\r\n", lambda: b"x" * 65536, 1 << 30),
    "gigabyte_chunked": lambda bad: bad.pour("Transfer-Encoding: chunked\r\n\r\n", _chunk, 1 << 30),
    "million_fields": lambda bad: bad.pour("", lambda: b"x-a: b\r\n" * 8192, 8 * 1_000_000),
    "deep": lambda bad: _whole(bad, DEEP),
    "many_fields": lambda bad: _whole(bad, MANY_FIELDS),
    "wide": lambda bad: _whole(bad, WIDE),
}


async def main(name: str, port: int, count: int, token: str) -> None:
    """Be bad until the input is closed."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    bad = Bad(port, count, token)
    clients = []
    for number in range(count):
        clients.append(asyncio.ensure_future(KINDS[name](bad)))
        if number % 100 == 99:
            await bad.opened(number - 200)
    await bad.opened(count)
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    bad.end.set()
    await asyncio.gather(*clients, return_exceptions=True)
    print(json.dumps(bad.seen), flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.stdin.readline().strip()))
