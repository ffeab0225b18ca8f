"""Exports of many rows: memory and speed, printed. ``FULL=1`` for a million rows; ``-s`` shows the numbers."""

import asyncio
import time
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

import httpx2
import pytest

from shared.clock import SystemClock
from shared.testing.stack import Stack, full_run
from tests.e2e.world import Caller, World
from tests.integration.export_world import fill, invoice

ROWS = 1_000_000 if full_run() else 50_000
MAX_GROWTH_MB = 200
pytestmark = pytest.mark.timeout(1800 if full_run() else 180)


def resident_mb(stack: Stack) -> float:
    """The edge with its renderers, and metering."""
    total = 0
    for pid in (stack.pid("api"), *stack.children("api"), stack.pid("metering")):
        with suppress(OSError):
            fields = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
            total += int(fields.get("VmRSS", "0 kB").split()[0])
    return total / 1024


async def download(world: World, workspace: int, format_: str, path: Path) -> int:
    """The file, and the rows its header promised."""
    headers = world.admin._headers
    query = {"workspace_id": str(workspace), "format": format_}
    request = world.http.stream("GET", "/ai-usage/export", params=query, headers=headers)
    async with request as answer:
        assert answer.status_code == 200
        with path.open("wb") as file:
            async for chunk in answer.aiter_bytes():
                file.write(chunk)
        return int(answer.headers["x-omnipost-rows-total"])


async def highest(stack: Stack, ended: asyncio.Event) -> float:
    peak = 0.0
    while not ended.is_set():
        peak = max(peak, resident_mb(stack))
        with suppress(TimeoutError):
            await asyncio.wait_for(ended.wait(), 0.1)
    return peak


@pytest.fixture(scope="module")
async def workspace(world: World, stack: Stack) -> int:
    made = await world.workspace()
    keys = [str(uuid4()) for _ in range(20)]
    start = SystemClock().now()
    for part in range(0, ROWS, 50_000):
        fill(stack.owner_url, workspace=made, rows=min(50_000, ROWS - part), keys=keys, start=start)
    return made


async def test_memory_stays_and_rows_flow(world: World, stack: Stack, workspace: int, tmp_path: Path) -> None:
    invoices = set()
    await download(world, workspace, "csv", tmp_path / "warm")
    for format_ in ("csv", "ndjson", "parquet", "focus"):
        before, ended, begun = resident_mb(stack), asyncio.Event(), time.monotonic()
        watching = asyncio.create_task(highest(stack, ended))
        total = await download(world, workspace, format_, tmp_path / format_)
        took = time.monotonic() - begun
        ended.set()
        growth = await watching - before
        size = (tmp_path / format_).stat().st_size
        print(f"\n{format_}: {ROWS} rows in {took:.1f} s, {ROWS / took:.0f} rows/s, {size / 1e6:.0f} MB; "
              f"api + renderer + metering grew by {growth:.0f} MB from {before:.0f}")  # fmt: skip
        assert total == ROWS
        assert growth < MAX_GROWTH_MB
        invoices.add(frozenset(invoice(format_, tmp_path / format_)))
    assert len(invoices) == 1
    assert sum(line.attempts for line in next(iter(invoices))) == ROWS


async def test_a_client_that_leaves_ends_the_work(stack: Stack, world: World, workspace: int) -> None:
    renderers = set(stack.children("api"))
    async with httpx2.AsyncClient(base_url=stack.base_url, timeout=60, trust_env=False) as http:
        caller: Caller = world.admin
        query = {"workspace_id": str(workspace), "format": "focus"}
        async with http.stream("GET", "/ai-usage/export", params=query, headers=caller._headers) as answer:
            await anext(aiter(answer.aiter_bytes()))
            assert len(set(stack.children("api")) - renderers) == 1
    async with asyncio.timeout(5):
        while set(stack.children("api")) - renderers:  # noqa: ASYNC110 - a process has no event for strangers
            await asyncio.sleep(0.02)
