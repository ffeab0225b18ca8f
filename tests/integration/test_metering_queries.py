"""Queries, months and partitions against real servers."""

import asyncio
from datetime import timedelta
from uuid import UUID, uuid4

import pytest

from services.metering.app import Metering
from services.metering.domain import cursor
from shared.errors import Code, OmniError
from shared.messages.usage import CallV1
from shared.messages.vocabulary import Outcome
from tests.integration.metering_world import World


async def test_usage_by_each_group(world: World, workspace: int) -> None:
    key = await world.key(workspace)
    attempts = []
    for number, provider in enumerate(("openai", "anthropic", "anthropic")):
        attempts.append((await world.reserve(workspace, key, provider=provider, alias_name=f"a{number}")).attempt_id)
        fallback = Outcome.TIMEOUT if number == 2 else None
        await world.finish(attempts[-1], workspace, key, fallback_reason=fallback)
    await world.settled(*attempts)
    report = await world.usage(workspace, group_by="provider")
    assert [(group.group, group.requests, group.cost_usd_micros) for group in report.groups] == [
        ("anthropic", 2, 14), ("openai", 1, 7),
    ]  # fmt: skip
    totals = report.totals
    assert (totals.requests, totals.succeeded, totals.failed, totals.unknown, totals.fallbacks) == (3, 3, 0, 0, 1)
    assert (totals.input_tokens, totals.output_tokens, totals.latency_ms_sum) == (24, 27, 3 * 412)
    assert {budget.scope for budget in report.budgets} == {"key", "workspace"}
    now = world.clock.now()
    for group_by, names in (
        ("alias", {"a0", "a1", "a2"}), ("model", {"gpt-4o-mini"}), ("key", {key}), ("day", {f"{now:%Y-%m-%d}"}),
    ):  # fmt: skip
        found = await world.usage(workspace, group_by=group_by)
        assert {group.group for group in found.groups} == names
        assert found.totals == totals
    assert (await world.usage(workspace)).groups == ()
    assert (await world.usage(workspace, until=now - timedelta(hours=2))).totals.requests == 0
    assert (await world.usage(workspace, since=now, until=now + timedelta(hours=1))).totals.requests == 3
    assert (await world.usage(workspace + 1)).totals.requests == 0


async def test_pages_of_the_call_log(world: World, workspace: int) -> None:
    key, start = await world.key(workspace), world.clock.now()
    attempts = []
    for number in range(25):
        attempts.append((await world.reserve(workspace, key, model=f"m{number % 2}")).attempt_id)
        # Several begin at the same instant: the attempt id breaks the tie.
        await world.finish(attempts[-1], workspace, key, started_at=start + timedelta(seconds=number // 5))
    await world.settled(*attempts)
    seen: list[CallV1] = []
    place: str | None = None
    while True:
        page = await world.calls(workspace, limit=7, cursor=place)
        seen += page.items
        place = page.next_cursor
        if place is None:
            break
    assert {row.attempt_id for row in seen} == set(attempts)
    order = [(row.started_at, UUID(row.attempt_id)) for row in seen]
    assert order == sorted(order, reverse=True)
    assert len((await world.calls(workspace, model="m0")).items) == 13
    assert len((await world.calls(workspace, outcome="success", key_id=key, provider="openai")).items) == 25
    assert len((await world.calls(workspace, since=start + timedelta(seconds=4))).items) == 5
    assert not (await world.calls(workspace, call_id=attempts[0])).items  # the call's id is the reservation's
    assert not (await world.calls(workspace + 1)).items


@pytest.mark.parametrize("change", ["x", "", "AAAA", "é", "=" * 10, "A" * 100_000])
async def test_a_tampered_cursor_is_refused(world: World, workspace: int, change: str) -> None:
    place = change if change != "x" else cursor.encode((world.clock.now(), uuid4()))[:-4] + "x"
    with pytest.raises(OmniError) as caught:
        await world.calls(workspace, cursor=place)
    assert caught.value.code is Code.INVALID_REQUEST


async def test_rows_of_any_month_find_a_partition(world: World, app: Metering, workspace: int) -> None:
    key, now = await world.key(workspace), world.clock.now()
    attempts = []
    later = now + timedelta(days=100)
    for moment in (now, now + timedelta(days=20), now - timedelta(days=900), later):
        attempts.append((await world.reserve(workspace, key)).attempt_id)
        await world.finish(attempts[-1], workspace, key, started_at=moment)
    await world.settled(*attempts)
    in_default = world.sql("SELECT 1 FROM ai_call_logs_default WHERE workspace_id = %s", workspace)
    assert len(in_default) == 2
    world.clock.ahead = timedelta(days=100)
    try:
        await asyncio.gather(app.sweeper.make_partitions())
        await app.sweeper.make_partitions()
    finally:
        world.clock.ahead = timedelta()
    assert len(world.sql("SELECT 1 FROM ai_call_logs_default WHERE workspace_id = %s", workspace)) == 1
    assert len(world.sql(f"SELECT 1 FROM ai_call_logs_{later:%Y_%m} WHERE workspace_id = %s", workspace)) == 1
    assert len(world.rows(workspace)) == 4


async def test_a_month_that_passes_starts_a_new_period(world: World, workspace: int) -> None:
    key = await world.key(workspace, requests=1)
    attempt = (await world.reserve(workspace, key)).attempt_id
    assert not (await world.reserve(workspace, key)).granted
    world.clock.ahead = timedelta(days=31)
    try:
        assert (await world.reserve(workspace, key)).granted
        await world.finish(attempt, workspace, key)
        await world.settled(attempt)
        budget = await world.budget(workspace, key)
        assert (budget.spent.requests, budget.held.requests) == (0, 1)
    finally:
        world.clock.ahead = timedelta()
    budget = await world.budget(workspace, key)
    assert (budget.spent.requests, budget.held.requests) == (1, 0)
