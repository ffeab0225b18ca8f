"""NATS, PostgreSQL and processes that hang or leave in the middle of things."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from time import monotonic

import pytest

from shared.testing.stack import Stack
from shared.testing.upstream import Upstream
from tests.e2e.world import CHAT, World, accept_keys, chat_answer, connected, eventually, ok, problem

pytestmark = [pytest.mark.faults, pytest.mark.timeout(300)]


@pytest.fixture(scope="class")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    environment = {"OMNIPOST_ALLOWED_PRIVATE_HOSTS": "127.0.0.1"}
    home: Path = tmp_path_factory.mktemp("outages") / "home"
    running = await asyncio.to_thread(Stack.start, home, environment=environment)
    yield running
    await asyncio.to_thread(running.stop)


@asynccontextmanager
async def frozen(stack: Stack, part: str) -> AsyncIterator[None]:
    """``part`` neither works nor dies, and neither do the processes it has started."""
    pids = [stack.pid(part), *stack.children(part)]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


async def ready(stack: Stack) -> bool | None:
    return await asyncio.to_thread(stack.is_ready) or None


@pytest.mark.usefixtures("stack")
class TestLedgerOutages:
    async def test_a_call_that_was_answered_with_503_is_never_made(self, stack: Stack) -> None:
        async with connected(stack) as world, Upstream() as upstream:
            workspace, alias = await _alias(world, upstream)
            ok(await world.invoke(workspace, alias))
            before = len(upstream.requests)
            async with frozen(stack, "nats"):
                answers = await asyncio.gather(*(world.invoke(workspace, alias) for _ in range(3)))
            for answer in answers:
                problem(answer, 503, "unavailable")
            await eventually(lambda: ready(stack), within_s=20)
            ok(await world.invoke(workspace, alias))
            print("calls made after their 503:", len(upstream.requests) - before - 1)
            assert len(upstream.requests) == before + 1

    @pytest.mark.parametrize("part", ["postgres", "vault", "metering", "router"])
    async def test_a_part_that_hangs_is_a_part_that_is_away(self, stack: Stack, part: str) -> None:
        async with connected(stack) as world, Upstream() as upstream:
            workspace, alias = await _alias(world, upstream)
            ok(await world.invoke(workspace, alias))
            before = len(upstream.requests)
            async with frozen(stack, part):
                began = monotonic()
                invoked, listed = await asyncio.gather(
                    world.invoke(workspace, alias), world.admin.get("/ai-keys", workspace_id=workspace)
                )
                spent = monotonic() - began
            print(f"{part} frozen: answered after {spent:.1f} s with {invoked.status_code} and {listed.status_code}")
            problem(invoked, 503, "unavailable") if part != "vault" else None
            assert listed.status_code in (200, 503)
            assert spent < 15
            if part in ("postgres", "metering"):
                assert len(upstream.requests) == before, "a call was sent without a reservation"
            await eventually(lambda: ready(stack), within_s=20)
            ok(await world.invoke(workspace, alias))

    async def test_an_outage_longer_than_a_hold_does_not_turn_a_known_cost_into_the_maximum(self, stack: Stack) -> None:
        async with connected(stack) as world, Upstream() as upstream:
            workspace, alias = await _alias(world, upstream, time_limits={"total_s": 3})
            upstream.always("POST", CHAT, chat_answer(delay_s=0.5))
            calling = asyncio.create_task(world.invoke(workspace, alias))
            await upstream.arrival(2)
            async with frozen(stack, "nats"):
                problem(await calling, 503, "unavailable")
                await asyncio.sleep(30)  # with the seven seconds of silence before: past the hold's 33
            [row] = await world.calls(workspace, 1, within_s=60)
            budget = next(item for item in (await world.usage(workspace))["budgets"] if item["key_id"])
            print("after an outage of 37 s:", row["outcome"], row["cost_usd"], "held", budget["held_requests"])
            assert (row["outcome"], row["cost_usd"], budget["spent_usd"]) == ("success", "0.000020", "0.000020")

    async def test_a_call_cut_off_by_a_stop_is_accounted_for(self, stack: Stack) -> None:
        async with connected(stack) as world, Upstream() as upstream:
            workspace, alias = await _alias(world, upstream)
            upstream.always("POST", CHAT, chat_answer(delay_s=40))
            calling = asyncio.create_task(world.invoke(workspace, alias))
            await upstream.arrival(2)
            os.kill(stack.pid("router"), signal.SIGTERM)
            answer = await calling
            problem(answer, 503, "unavailable")
            await eventually(lambda: ready(stack), within_s=20)
            [row] = await world.calls(workspace, 1)
            budget = next(item for item in (await world.usage(workspace))["budgets"] if item["key_id"])
            print("cut off:", row["outcome"], row["billing"], "held", budget["held_requests"])
            assert (row["billing"], budget["held_requests"]) == ("unknown", 0)


async def _alias(world: World, upstream: Upstream, **fields: object) -> tuple[int, str]:
    accept_keys(upstream)
    upstream.always("POST", CHAT, chat_answer())
    workspace = await world.workspace()
    provider = await world.provider(upstream)
    await world.key(workspace, provider, monthly_budget_usd=5)
    return workspace, await world.alias(workspace, provider, **fields)
