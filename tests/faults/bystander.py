"""Somebody who calls while others misbehave: how long each call takes, and what the edge's memory does meanwhile."""

import asyncio
import json
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx2

from shared.clock import SystemClock
from shared.testing.stack import ROOT, Stack
from tests.e2e.world import Caller

CALL = {"alias_name": "sandbox-echo", "prompt": "Hello!", "options": {"max_tokens": 16}}
_CLOCK = SystemClock()


@dataclass
class Seen:
    """Latencies in seconds of the calls that were answered, statuses of those that were not."""

    seconds: list[float] = field(default_factory=list)
    refused: list[int] = field(default_factory=list)

    @property
    def p99_ms(self) -> float:
        """The 99th percentile."""
        return sorted(self.seconds)[int(len(self.seconds) * 0.99)] * 1000

    @property
    def p50_ms(self) -> float:
        """The median."""
        return sorted(self.seconds)[len(self.seconds) // 2] * 1000


async def watch(caller: Caller, calls: int, *, every_s: float = 0.02) -> Seen:
    """So many calls of the sandbox's echo, one after the other."""
    seen = Seen()
    for _ in range(calls):
        began = _CLOCK.monotonic()
        answer: httpx2.Response = await caller.post("/ai-invoke", **CALL)
        if answer.status_code == 200:
            seen.seconds.append(_CLOCK.monotonic() - began)
        else:
            seen.refused.append(answer.status_code)
        await asyncio.sleep(every_s)
    return seen


class Bad:
    """Bad clients in a process of their own. ``seen``: what it saw, once it has ended."""

    def __init__(self) -> None:
        self.seen: dict[str, float] = {}


@asynccontextmanager
async def hostile(stack: Stack, name: str, count: int, token: str) -> AsyncIterator[Bad]:
    """Bad clients at work."""
    async with _beside(("-m", "tests.faults.hostile", name, str(stack.port), str(count)), token) as bad:
        yield bad


@asynccontextmanager
async def flooded(stack: Stack, at_once: int, token: str) -> AsyncIterator[Bad]:
    """So many calls at once, all the time."""
    async with _beside(("-m", "tests.faults.flood", str(stack.port), str(at_once)), token) as bad:
        yield bad


@asynccontextmanager
async def _beside(module: tuple[str, ...], token: str) -> AsyncIterator[Bad]:
    process = await asyncio.create_subprocess_exec(sys.executable, *module, cwd=ROOT, stdin=PIPE, stdout=PIPE)
    assert process.stdin
    assert process.stdout
    bad = Bad()
    try:
        process.stdin.write(f"{token}\n".encode())
        async with asyncio.timeout(60):
            assert (await process.stdout.readline()).strip() == b"ready"
        yield bad
        process.stdin.close()
        async with asyncio.timeout(30):
            bad.seen = json.loads(await process.stdout.readline())
            await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def forget_peak(pid: int) -> int:
    """Begin to measure a process's peak anew; its memory now, in MiB."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")
    return _mib(pid, "VmRSS")


def peak(pid: int) -> int:
    """The most memory a process had since ``forget_peak``, in MiB."""
    return _mib(pid, "VmHWM")


def _mib(pid: int, name: str) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) // 1024
