"""Streamed answers: pieces per second, the CPU each costs from provider to client, and what is added to the first."""

import asyncio
import time

from bench.load import Connection, Heard, Target, percentile
from bench.processes import cpu_s
from bench.provider import PIECES
from shared.testing.stack import Stack

CONCURRENCY = 16


async def throughput(stack: Stack, target: Target, count: int) -> None:
    """``count`` streams, ``CONCURRENCY`` at a time, as fast as they go. A piece is one event of the provider's."""
    before = cpu_s(stack)
    spent = await heard(target, count, CONCURRENCY)
    await asyncio.sleep(1.5)  # the ledger settles behind the answers
    after = cpu_s(stack)
    pieces = count * PIECES
    by_part = {part: 1e6 * (after[part] - before[part]) / pieces for part in after}
    split = " ".join(f"{part}={cost:.1f}" for part, cost in by_part.items())
    print(f"stream_chunks_per_s={pieces / spent:.0f} stream_cpu_us_per_chunk={sum(by_part.values()):.1f} {split}")


async def heard(target: Target, count: int, concurrency: int) -> float:
    """Seconds that ``count`` streams took, ``concurrency`` at a time. Raises RuntimeError when one is not whole."""
    remaining = iter(range(count))

    async def worker() -> None:
        connection = Connection(target)
        for _ in remaining:
            _check(await connection.stream())
        connection.close()

    began = time.perf_counter()
    await asyncio.gather(*(worker() for _ in range(concurrency)))
    return time.perf_counter() - began


async def first_chunk(direct: Target, through: Target, rounds: int) -> None:
    """What the stack adds to the time until the first piece is there, measured in turns with direct calls."""
    connections = Connection(direct), Connection(through)
    samples: tuple[list[float], list[float]] = [], []
    for _ in range(rounds):
        for connection, mine in zip(connections, samples, strict=True):
            mine.append((await connection.stream()).first_s)
    plain, ours = (1000 * percentile(mine, 0.5) for mine in samples)
    print(
        f"first_chunk_added_ms={ours - plain:.2f} first_chunk_direct_ms={plain:.2f} first_chunk_through_ms={ours:.2f}"
    )
    for connection in connections:
        connection.close()


def _check(answer: Heard) -> None:
    # All of the text comes in pieces, joined or not, and once more with the event that ends it.
    words = answer.body.partition(b"event: done")[0].count(b"word ")
    if words != PIECES:
        raise RuntimeError(f"{words} of {PIECES} words have come")
