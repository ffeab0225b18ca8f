"""More router processes beside each other, and memory over many calls."""

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bench.load import Target, closed_loop
from bench.processes import cpu_s, rss_mb, tree_cpu_s
from shared.testing.stack import ROOT, Stack

ROUTERS = (1, 2, 4)
CONCURRENCY = 128


@contextmanager
def _one_more_router(stack: Stack) -> Iterator[int]:
    """A router like the stack's own; they share the calls. Gives its process id."""
    listed = Path(f"/proc/{stack.pid('router')}/environ").read_bytes().decode().split("\0")
    environment = dict(item.split("=", 1) for item in listed if "=" in item)
    command = [sys.executable, "-m", "services.router"]
    log = subprocess.DEVNULL
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log) as process:
        try:
            yield process.pid
        finally:
            process.terminate()


async def scaling(stack: Stack, target: Target, calls: int) -> None:
    """Calls per second against a provider that takes a while, with one router and with several."""
    with ExitStack() as running:
        others: list[int] = []
        for routers in ROUTERS:
            while len(others) < routers - 1:
                others.append(running.enter_context(_one_more_router(stack)))
            await asyncio.sleep(3)
            await closed_loop(target, CONCURRENCY, calls // 4)
            before = sum(cpu_s(stack).values()) + sum(map(tree_cpu_s, others))
            spent = await closed_loop(target, CONCURRENCY, calls)
            used = sum(cpu_s(stack).values()) + sum(map(tree_cpu_s, others)) - before
            print(
                f"routers={routers} concurrency={CONCURRENCY} calls_per_s={calls / spent:.0f} "
                f"cpu_ms_per_call={1000 * used / calls:.3f} cores_used={used / spent:.2f}",
                flush=True,
            )


async def growth(stack: Stack, target: Target, calls: int) -> None:
    """What many calls leave in memory."""
    await closed_loop(target, 64, calls // 10)
    before = rss_mb(stack)
    await closed_loop(target, 64, calls)
    after = rss_mb(stack)
    total, grown = sum(before.values()), sum(after.values()) - sum(before.values())
    split = " ".join(f"{part}={after[part] - before[part]:+.1f}" for part in after)
    print(f"growth_mb={grown:+.1f} growth_percent={100 * grown / total:+.1f} calls={calls} {split}", flush=True)
