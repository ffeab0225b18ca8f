"""Budgets by day and month, of workspaces and of the platform's credits; halts; alerts: against real servers."""

import asyncio
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from services.metering.app import Metering
from shared.clock import next_month
from shared.errors import Code, OmniError
from shared.messages.alerts import BudgetAlertV1
from shared.messages.metering import BlockedV1, BlockKeyV1, BudgetsV1, Refusal, ResumeBudgetV1
from shared.messages.vocabulary import Funds
from tests.integration.books import drift, over
from tests.integration.metering_world import World


@pytest.fixture(autouse=True)
def middle_of_a_month(world: World) -> None:
    """No period ends unless a test lets it."""
    world.clock.ahead = timedelta()
    now = world.clock.now()
    world.clock.ahead = next_month(now) + timedelta(days=9, hours=12) - now


async def call(world: World, workspace: int, key: str, **changes: Any) -> str:
    """A call that is reserved and settled: its attempt."""
    funds = changes.pop("funds", Funds.OWN)
    reserved = await world.reserve(workspace, key, funds=funds)
    assert reserved.granted, reserved
    await world.finish(reserved.attempt_id, workspace, key, funds=funds, **changes)
    await world.settled(reserved.attempt_id)
    return reserved.attempt_id


async def test_a_day_and_a_month_bind_and_neither_forgets(world: World, workspace: int) -> None:
    key = await world.key(workspace, requests=5, day_requests=2)
    yesterday = (await world.reserve(workspace, key)).attempt_id
    await call(world, workspace, key)
    stopped = await world.reserve(workspace, key)
    assert stopped.budget
    assert (stopped.unit, stopped.budget.period, stopped.fits_later) == ("requests", "day", True)
    world.clock.ahead += timedelta(days=1)
    await call(world, workspace, key)
    await world.finish(yesterday, workspace, key)
    await world.settled(yesterday)
    day, month = await world.budget(workspace, key, "day"), await world.budget(workspace, key)
    assert (day.spent.requests, day.held.requests, month.spent.requests) == (1, 0, 3), "yesterday's counts yesterday"
    await world.set_caps(workspace, key, day_requests=None, requests=4)
    await call(world, workspace, key)
    assert (await world.reserve(workspace, key)).refusal is Refusal.BUDGET_EXCEEDED
    assert (await world.set_caps(workspace, key, requests=None, day_requests=3)).spent.requests == 4
    assert (await world.budget(workspace, key, "day")).spent.requests == 2, (
        "a day without a cap was counted all the same"
    )
    await call(world, workspace, key)
    assert (await world.reserve(workspace, key)).refusal is Refusal.BUDGET_EXCEEDED
    assert not drift(world)


async def test_a_workspaces_own_budget_is_set_and_keeps_what_is_spent(world: World, workspace: int) -> None:
    keys = [await world.key(workspace) for _ in range(2)]
    await call(world, workspace, keys[0])
    month, day = await world.set_workspace_caps(workspace, requests=3, day_requests=2)
    assert (month.scope, month.spent.requests, day.spent.requests, day.caps.requests) == ("workspace", 1, 1, 2)
    await call(world, workspace, keys[1])
    stopped = await world.reserve(workspace, keys[0])
    assert stopped.budget
    assert (stopped.budget.scope, stopped.budget.period) == ("workspace", "day")
    assert len(await world.set_workspace_caps(workspace, day_requests=None)) == 1
    await call(world, workspace, keys[0])
    assert (await world.reserve(workspace, keys[1])).refusal is Refusal.BUDGET_EXCEEDED
    assert not drift(world)


async def test_platform_credits_and_own_budgets_never_touch(world: World, workspace: int) -> None:
    own, platform = await world.key(workspace, requests=1), await world.key(0)
    refused = await world.reserve(workspace, platform, funds=Funds.PLATFORM)
    assert (refused.refusal, refused.budget) == (Refusal.NO_CREDITS, None), "no credits were given"
    assert (await world.reserve(workspace, platform)).refusal is Refusal.KEY_BLOCKED
    assert (await world.reserve(workspace, own, funds=Funds.PLATFORM)).refusal is Refusal.KEY_BLOCKED
    await world.set_workspace_caps(workspace, Funds.PLATFORM, usd_micros=1000)
    await world.switch_credits(workspace)
    await call(world, workspace, own)
    await call(world, workspace, platform, funds=Funds.PLATFORM, cost_usd_micros=600)
    stopped = await world.reserve(workspace, platform, funds=Funds.PLATFORM)
    assert stopped.budget
    assert (stopped.refusal, stopped.budget.funds, stopped.unit) == (
        Refusal.BUDGET_EXCEEDED,
        Funds.PLATFORM,
        "usd_micros",
    )
    assert (await world.reserve(workspace, own)).refusal is Refusal.BUDGET_EXCEEDED, "credits do not help out"
    budgets = await world.usage(workspace)
    assert {(one.scope, one.funds.value, one.spent.usd_micros) for one in budgets.budgets} == {
        ("workspace", "own", 7), ("workspace", "platform", 600), ("key", "own", 7),
    }  # fmt: skip
    assert {row["funds"] for row in world.rows(workspace)} == {"own", "platform"}
    await world.vault.request(BlockKeyV1(workspace_id=0, key_id=platform), BlockedV1)
    assert (await world.reserve(workspace, platform, funds=Funds.PLATFORM)).refusal is Refusal.KEY_BLOCKED
    assert not drift(world)


@pytest.mark.parametrize(
    "dear", [{"cost_usd_micros": 701}, {"tokens": {"input_tokens": 1000, "output_tokens": 101}}], ids=["usd", "tokens"]
)
async def test_a_hold_that_was_too_small_halts_the_key_until_somebody_resumes_it(
    world: World, workspace: int, dear: dict[str, object]
) -> None:
    key, other = await world.key(workspace), await world.key(workspace)
    attempt = await call(world, workspace, key, **dear)
    row = world.rows(workspace)[0]
    assert (row["reserved_usd_micros"], row["charged_usd_micros"]) == (700, dear.get("cost_usd_micros", 7))
    stopped = await world.reserve(workspace, key)
    assert stopped.budget
    assert stopped.refusal is Refusal.HALTED
    assert stopped.budget.halted
    assert attempt in stopped.budget.halted
    assert (await world.reserve(workspace, other)).granted
    assert [alert.attempt_id for alert in _alerts(world, workspace) if alert.kind == "budget.halted"] == [attempt]
    resume = ResumeBudgetV1(workspace_id=workspace, key_id=key)
    for _ in range(2):
        (resumed,) = (await world.api.request(resume, BudgetsV1)).items
        assert resumed.halted is None
    await call(world, workspace, key)
    await call(world, workspace, key, **dear)
    assert len([alert for alert in _alerts(world, workspace) if alert.kind == "budget.halted"]) == 2, (
        "a halt is told again"
    )
    with pytest.raises(OmniError) as caught:
        await world.api.request(ResumeBudgetV1(workspace_id=workspace, key_id=str(uuid4())), BudgetsV1)
    assert caught.value.code is Code.NOT_FOUND
    assert not drift(world)


async def test_each_level_is_told_once_a_period(world: World, workspace: int) -> None:
    key = await world.key(workspace, requests=10, day_tokens=10 * 1100)
    await asyncio.gather(*(world.reserve(workspace, key) for _ in range(7)))
    assert not _alerts(world, workspace)
    for _ in range(9):
        attempt = (await world.reserve(workspace, key)).attempt_id
        await world.finish(attempt, workspace, key, sent=False, billing="nothing")
        await world.settled(attempt)
    assert {_told(alert) for alert in _alerts(world, workspace)} == {
        ("budget.warning", "month", "requests", 8, 10), ("budget.warning", "day", "tokens", 8 * 1100, 11000),
    }  # fmt: skip
    await asyncio.gather(*(world.reserve(workspace, key) for _ in range(20)))
    alerts = _alerts(world, workspace)
    assert sorted((alert.kind.value, alert.unit) for alert in alerts) == [
        ("budget.exhausted", "requests"), ("budget.exhausted", "tokens"),
        ("budget.warning", "requests"), ("budget.warning", "tokens"),
    ]  # fmt: skip
    world.clock.ahead += timedelta(days=1)
    await world.set_caps(workspace, key, requests=None)
    await asyncio.gather(*(world.reserve(workspace, key) for _ in range(10)))
    assert len(_alerts(world, workspace)) == 6, "a new day is told of anew"
    assert not over(world)


async def test_alerts_wait_for_a_stream_that_is_away_and_are_told_once(
    world: World, app: Metering, workspace: int
) -> None:
    untold = "SELECT alert_id FROM budget_alerts WHERE told_at IS NULL"
    await world.until(lambda: not world.sql(untold))
    stream = world.api.client.jetstream()
    config = (await stream.stream_info("ALERTS")).config
    await stream.delete_stream("ALERTS")
    key = await world.key(workspace, requests=1)
    await world.reserve(workspace, key)
    with pytest.raises(OmniError):
        await app.teller.tell()
    assert len(world.sql(untold)) == 2
    await stream.add_stream(config)
    app.teller.wake()
    await world.until(lambda: not world.sql(untold))
    world.sql("UPDATE budget_alerts SET told_at = NULL")
    app.teller.wake()
    await world.until(lambda: not world.sql(untold))
    told = (await stream.stream_info("ALERTS")).state.messages
    stored = world.sql("SELECT count(*) AS n FROM budget_alerts")[0]["n"]
    print(f"{stored} alerts told, two of them twice: {told} in the stream")
    assert told == stored


def _alerts(world: World, workspace: int) -> list[BudgetAlertV1]:
    rows = world.sql("SELECT body FROM budget_alerts WHERE workspace_id = %s ORDER BY raised_at", workspace)
    return [BudgetAlertV1.model_validate_json(str(row["body"])) for row in rows]


def _told(alert: BudgetAlertV1) -> tuple[str, str, str, int, int | None]:
    return alert.kind.value, alert.period, alert.unit, alert.used, alert.cap
