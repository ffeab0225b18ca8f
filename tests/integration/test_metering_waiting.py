"""Waiting for calls under way: in order, over replicas, without starving anybody; and a cap is used to its end."""

import asyncio
from collections.abc import AsyncIterator
from time import monotonic

import pytest

from services.metering.app import Metering
from shared.messages.metering import Refusal, ReservationV1
from tests.integration.books import drift, over
from tests.integration.metering_world import World, metering


@pytest.fixture
async def two(world: World, app: Metering) -> AsyncIterator[tuple[Metering, Metering]]:
    """Two replicas."""
    async with metering(world) as second:
        yield app, second


def asking(world: World, workspace: int, key: str, **changes: object) -> "asyncio.Task[ReservationV1]":
    return asyncio.ensure_future(world.reserve(workspace, key, **{"wait_s": 3.0, **changes}))


async def test_it_is_granted_as_soon_as_a_call_settles(world: World, app: Metering, workspace: int) -> None:
    key = await world.key(workspace, usd_micros=1000)
    first = (await world.reserve(workspace, key)).attempt_id
    assert (await world.reserve(workspace, key)).fits_later
    waiting = asking(world, workspace, key)
    await world.until(lambda: bool(app.ledger.waiting))
    await world.finish(first, workspace, key)
    await world.settled(first)
    settled = monotonic()
    assert (await waiting).granted
    print(f"granted {1000 * (monotonic() - settled):.0f} ms after the settlement was seen")
    assert not world.sql("SELECT 1 FROM ai_provider_budgets WHERE workspace_id = %s AND line IS NOT NULL", workspace)


async def test_when_time_is_up_it_may_be_asked_again(world: World, workspace: int) -> None:
    key = await world.key(workspace, requests=1)
    await world.reserve(workspace, key)
    before = monotonic()
    answer = await world.reserve(workspace, key, wait_s=0.5)
    assert (answer.granted, answer.fits_later, answer.refusal) == (False, True, Refusal.BUDGET_EXCEEDED)
    assert 0.45 < monotonic() - before < 1.0


async def test_what_can_never_fit_does_not_wait(world: World, workspace: int) -> None:
    key = await world.key(workspace, usd_micros=1000)
    await world.reserve(workspace, key)
    before = monotonic()
    answer = await world.reserve(workspace, key, usd_micros=1001, wait_s=3.0)
    assert (answer.refusal, answer.fits_later) == (Refusal.BUDGET_EXCEEDED, False)
    assert monotonic() - before < 1


async def test_a_raised_cap_lets_the_first_in_at_once(world: World, app: Metering, workspace: int) -> None:
    key = await world.key(workspace, requests=1)
    await world.reserve(workspace, key)
    waiting = [asking(world, workspace, key) for _ in range(3)]
    await world.until(lambda: app.ledger.waiting == 3)
    await world.set_caps(workspace, key, requests=3)
    answers = await asyncio.gather(*waiting)
    assert sorted(answer.granted for answer in answers) == [False, True, True]


async def test_two_replicas_serve_one_line_in_its_order(
    world: World, two: tuple[Metering, Metering], workspace: int
) -> None:
    key = await world.key(workspace, requests=1)
    under_way = (await world.reserve(workspace, key)).attempt_id
    order: list[int] = []
    tasks = []

    async def one(number: int) -> None:
        answer = await world.reserve(workspace, key, wait_s=3.0)
        assert answer.granted, number
        order.append(number)
        await world.finish(answer.attempt_id, workspace, key, billing="nothing", sent=False)

    for number in range(12):
        tasks.append(asyncio.ensure_future(one(number)))
        await world.until(lambda: sum(replica.ledger.waiting for replica in two) == len(tasks))
    shares = [replica.ledger.waiting for replica in two]
    await world.finish(under_way, workspace, key, billing="nothing", sent=False)
    await asyncio.gather(*tasks)
    print(f"12 waited at two replicas ({shares[0]} and {shares[1]}): served in the order {order}")
    assert all(shares)
    assert order == sorted(order)


async def test_a_large_call_is_not_starved_by_small_ones(
    world: World, two: tuple[Metering, Metering], workspace: int
) -> None:
    assert two
    key = await world.key(workspace, tokens=1000)
    served, running = 0, True

    async def small() -> None:
        nonlocal served
        while running:
            answer = await world.reserve(workspace, key, tokens=100, wait_s=3.0)
            if answer.granted:
                served += 1
                await world.finish(answer.attempt_id, workspace, key, sent=False, billing="nothing")

    crowd = [asyncio.ensure_future(small()) for _ in range(30)]
    await world.until(lambda: served > 30)
    before = monotonic()
    large = await world.reserve(workspace, key, tokens=950, wait_s=3.0)
    waited, running = monotonic() - before, False
    print(f"a call for 95 % of a cap, among 30 clients that use it up: granted after {1000 * waited:.0f} ms")
    assert large.granted
    await world.finish(large.attempt_id, workspace, key, sent=False, billing="nothing")
    await asyncio.gather(*crowd)
    assert not over(world)


async def test_who_waits_delays_no_other_account(world: World, app: Metering, workspace: int) -> None:
    full, free = await world.key(workspace, requests=1), await world.key(workspace)
    await world.reserve(workspace, full)
    waiting = [asking(world, workspace, full) for _ in range(500)]
    await world.until(lambda: app.ledger.waiting == 500)
    times = []
    for _ in range(100):
        before = monotonic()
        assert (await world.reserve(workspace, free, wait_s=3.0)).granted
        times.append(monotonic() - before)
    print(f"while 500 wait on one key, another key of the workspace: median {1000 * sorted(times)[50]:.1f} ms, "
          f"longest {1000 * max(times):.1f} ms")  # fmt: skip
    assert sorted(times)[50] < 0.1
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)


@pytest.mark.parametrize("unit", ["usd_micros", "tokens"])
async def test_a_cap_is_used_to_its_end_although_estimates_are_five_times_too_high(
    world: World, two: tuple[Metering, Metering], workspace: int, unit: str
) -> None:
    """64 clients call as long as they may; each holds 500 and uses 100."""
    assert two
    cap, bound, used, waits = 20_000, 500, 100, 0
    key = await world.key(workspace, **{unit: cap})

    async def client() -> None:
        nonlocal waits
        while True:
            held = {"usd_micros": 0, "tokens": 0} | {unit: bound}
            answer = await world.reserve(workspace, key, wait_s=3.0, **held)
            if answer.granted:
                cost = {"usd_micros": {"cost_usd_micros": used}, "tokens": {"cost_usd_micros": 0}}[unit]
                tokens = {"input_tokens": 0, "output_tokens": used if unit == "tokens" else 0}
                await world.finish(answer.attempt_id, workspace, key, tokens=tokens, **cost)
                continue
            if not answer.fits_later:
                return
            waits += 1

    await asyncio.gather(*(client() for _ in range(64)))
    budget = await world.budget(workspace, key)
    left = cap - getattr(budget.spent, unit)
    print(f"{unit}: bounds 5 times the cost, 64 in flight: {left} of {cap} left unused, one call's bound is {bound}; "
          f"{waits} waits were too long")  # fmt: skip
    assert 0 <= left < bound
    assert not over(world)
    assert not drift(world)
