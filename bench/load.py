"""A load generator that costs little itself: prepared bytes on kept connections."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

_STREAM_ENDS = b"\r\n0\r\n\r\n"


@dataclass(frozen=True)
class Target:
    """Where to send what."""

    port: int
    request: bytes

    @classmethod
    def post(cls, port: int, path: str, body: bytes, token: str) -> "Target":
        """A POST of ``body`` to 127.0.0.1."""
        head = (
            f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\nauthorization: Bearer {token}\r\n"
            f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        )
        return cls(port, head.encode() + body)


@dataclass(frozen=True)
class Heard:
    """A streamed answer, with HTTP's own framing. ``first_s``: seconds until something of it was there."""

    first_s: float
    body: bytes = field(repr=False)


class Connection:
    """One kept connection, for one call at a time."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def call(self) -> float:
        """Seconds one call took. Raises RuntimeError unless it is answered with 200."""
        began = time.perf_counter()
        reader, head = await self._answer()
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0])
        body = await reader.readexactly(length)
        if b" 200 " not in head.split(b"\r\n", 1)[0]:
            raise RuntimeError(body[:500])
        return time.perf_counter() - began

    async def stream(self) -> Heard:
        """One answer in chunks of HTTP. Raises RuntimeError unless it is answered with 200."""
        began = time.perf_counter()
        reader, head = await self._answer()
        if b" 200 " not in head.split(b"\r\n", 1)[0]:
            raise RuntimeError(head[:500])
        body = bytearray(await reader.read(2**16))
        first = time.perf_counter()
        while not body.endswith(_STREAM_ENDS):
            body += await reader.read(2**16)
        return Heard(first - began, bytes(body))

    async def _answer(self) -> tuple[asyncio.StreamReader, bytes]:
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._target.port)
        reader, writer = self._streams
        writer.write(self._target.request)
        return reader, await reader.readuntil(b"\r\n\r\n")

    def close(self) -> None:
        """Hang up."""
        if self._streams is not None:
            self._streams[1].close()


async def closed_loop(target: Target, concurrency: int, calls: int) -> float:
    """Seconds that ``calls`` calls took, ``concurrency`` at a time."""
    remaining = iter(range(calls))
    connections = [Connection(target) for _ in range(concurrency)]

    async def worker(connection: Connection) -> None:
        for _ in remaining:
            await connection.call()

    began = time.perf_counter()
    await asyncio.gather(*map(worker, connections))
    spent = time.perf_counter() - began
    for connection in connections:
        connection.close()
    return spent


async def paired(targets: Sequence[Target], per_second: float, rounds: int) -> list[list[float]]:
    """Seconds of every call, a list per target: the targets take turns, so that all see the same machine.

    A call begins when its time has come, however many are still under way.
    """
    idle = [[Connection(target) for _ in range(8)] for target in targets]
    for pool in idle:
        for connection in pool:
            await connection.call()
    samples: list[list[float]] = [[] for _ in targets]
    loop = asyncio.get_running_loop()
    start, tasks = loop.time(), []

    async def one(place: int) -> None:
        connection = idle[place].pop() if idle[place] else Connection(targets[place])
        samples[place].append(await connection.call())
        idle[place].append(connection)

    for turn in range(rounds * len(targets)):
        await asyncio.sleep(max(0.0, start + turn / (per_second * len(targets)) - loop.time()))
        tasks.append(asyncio.create_task(one(turn % len(targets))))
    await asyncio.gather(*tasks)
    for pool in idle:
        for connection in pool:
            connection.close()
    return samples


def percentile(samples: Sequence[float], share: float) -> float:
    """The sample below which ``share`` (0 to 1) of them lie."""
    ordered = sorted(samples)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
