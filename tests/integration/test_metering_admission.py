"""Admission against real servers: which reservations are granted."""

import asyncio
from collections import Counter
from uuid import uuid4

import pytest

from shared.errors import Code, OmniError
from shared.messages.health import PingMeteringV1, ReadyV1
from shared.messages.metering import BlockedV1, BlockKeyV1, Refusal
from tests.integration.metering_world import World


async def refused(world: World, workspace: int, key: str, **changes: object) -> OmniError:
    with pytest.raises(OmniError) as caught:
        await world.reserve(workspace, key, **changes)
    return caught.value


async def test_ping(world: World, workspace: int) -> None:
    await world.api.request(PingMeteringV1(), ReadyV1)


@pytest.mark.parametrize("unit", ["usd_micros", "tokens", "requests"])
async def test_exactly_as_many_are_granted_as_the_cap_pays_for(world: World, workspace: int, unit: str) -> None:
    cap = {"usd_micros": 100 * 700, "tokens": 100 * 1100, "requests": 100}[unit]
    key = await world.key(workspace, **{unit: cap})
    answers = await asyncio.gather(*(world.reserve(workspace, key) for _ in range(200)))
    refusals = Counter(answer.refusal for answer in answers)
    print(f"{unit}: 200 concurrent, cap for 100: {refusals[None]} granted")
    assert refusals == {None: 100, Refusal.BUDGET_EXCEEDED: 100}
    stopped = next(answer for answer in answers if not answer.granted)
    assert stopped.unit == unit
    assert stopped.budget
    assert stopped.budget.key_id == key
    assert sum(bool(answer.near_cap) for answer in answers) == 21  # those that stand at 80 % or more
    assert getattr((await world.budget(workspace, key)).held, unit) == cap


async def test_the_workspace_cap_binds_all_its_keys(world: World, workspace: int) -> None:
    keys = [await world.key(workspace) for _ in range(4)]
    await world.reserve(workspace, keys[0])
    world.sql("UPDATE ai_provider_budgets SET cap_requests = 10 WHERE workspace_id = %s AND key_id IS NULL", workspace)
    answers = await asyncio.gather(*(world.reserve(workspace, key) for key in keys for _ in range(10)))
    assert sum(answer.granted for answer in answers) == 9
    assert all(answer.budget and answer.budget.scope == "workspace" for answer in answers if not answer.granted)
    assert (await world.budget(workspace, None)).held.requests == 10


async def test_asking_again_holds_once(world: World, workspace: int) -> None:
    key, attempt = await world.key(workspace), str(uuid4())
    answers = await asyncio.gather(*(world.reserve(workspace, key, attempt_id=attempt) for _ in range(20)))
    answers.append(await world.reserve(workspace, key, attempt_id=attempt))
    assert all(answer.granted for answer in answers)
    assert (await world.budget(workspace, key)).held.requests == 1
    other = await world.key(workspace)
    assert (await refused(world, workspace, other, attempt_id=attempt)).code is Code.CONFLICT
    await world.finish(attempt, workspace, key)
    await world.settled(attempt)
    assert (await refused(world, workspace, key, attempt_id=attempt)).code is Code.CONFLICT


async def test_a_blocked_or_unknown_key_gets_nothing(world: World, workspace: int) -> None:
    key = await world.key(workspace)
    assert (await world.reserve(workspace, key)).granted
    assert (await world.reserve(workspace, str(uuid4()))).refusal is Refusal.KEY_BLOCKED
    assert (await world.reserve(workspace + 1, key)).refusal is Refusal.KEY_BLOCKED
    unheard = str(uuid4())
    for blocked in (key, key, unheard):
        await world.vault.request(BlockKeyV1(workspace_id=workspace, key_id=blocked), BlockedV1)
        assert (await world.reserve(workspace, blocked)).refusal is Refusal.KEY_BLOCKED
    assert (await world.set_caps(workspace, key, requests=100)).blocked
    assert (await world.reserve(workspace, key)).refusal is Refusal.KEY_BLOCKED


async def test_no_grant_is_committed_after_the_block_has_answered(world: World, workspace: int) -> None:
    key = await world.key(workspace)
    await world.reserve(workspace, key)
    answers = [asyncio.ensure_future(world.reserve(workspace, key)) for _ in range(300)]
    await world.vault.request(BlockKeyV1(workspace_id=workspace, key_id=key), BlockedV1)
    count = "SELECT count(*) AS n FROM reservations WHERE workspace_id = %s"
    at_block = world.sql(count, workspace)[0]["n"]
    await asyncio.gather(*answers)
    assert world.sql(count, workspace)[0]["n"] == at_block


async def test_a_model_without_a_price_runs_only_without_a_dollar_cap(world: World, workspace: int) -> None:
    capped, free = await world.key(workspace, usd_micros=10**9), await world.key(workspace, tokens=10**9)
    answer = await world.reserve(workspace, capped, usd_micros=None)
    assert (answer.refusal, answer.unit) == (Refusal.UNPRICED, "usd_micros")
    attempt = (await world.reserve(workspace, free, usd_micros=None)).attempt_id
    await world.finish(attempt, workspace, free, cost_usd_micros=None)
    await world.settled(attempt)
    budget = await world.budget(workspace, free)
    assert (budget.spent.usd_micros, budget.spent.tokens) == (0, 17)
    assert world.rows(workspace)[0]["cost_usd_micros"] is None


async def test_a_cap_set_later_counts_what_was_spent_before(world: World, workspace: int) -> None:
    key = await world.key(workspace)
    attempt = (await world.reserve(workspace, key)).attempt_id
    await world.finish(attempt, workspace, key, cost_usd_micros=600)
    await world.settled(attempt)
    budget = await world.set_caps(workspace, key, usd_micros=1000)
    assert budget.spent.usd_micros == 600
    assert (await world.reserve(workspace, key)).refusal is Refusal.BUDGET_EXCEEDED
    await world.set_caps(workspace, key, usd_micros=1300)
    assert (await world.reserve(workspace, key)).granted
    await world.set_caps(workspace, key, tokens=1)
    assert (await world.reserve(workspace, key, usd_micros=0)).unit == "tokens"
    budget = await world.set_caps(workspace, key, usd_micros=None, tokens=None)
    assert (budget.caps.usd_micros, budget.spent.usd_micros, budget.held.usd_micros) == (None, 600, 700)
    assert (await world.reserve(workspace, key, usd_micros=10**9)).granted


BAD_ASKS: list[dict[str, object]] = [
    {"attempt_id": "7"},
    {"key_id": "not-a-key"},
    {"workspace_id": -1},
    {"workspace_id": 2**63},
    {"usd_micros": 2**70},
    {"tokens": 2**70},
    {"model": "a\0b"},
    {"alias_name": "x" * 5000},
    {"attempt_index": 2**40},
]


@pytest.mark.parametrize("bad", BAD_ASKS, ids=lambda bad: next(iter(bad)))
async def test_a_bad_reservation_is_refused_and_harms_no_neighbour(
    world: World, workspace: int, bad: dict[str, object]
) -> None:
    key = await world.key(workspace)
    good = [asyncio.ensure_future(world.reserve(workspace, key)) for _ in range(5)]
    ask = {"workspace_id": workspace, "key_id": key} | bad
    wrong = await refused(world, ask.pop("workspace_id"), ask.pop("key_id"), **ask)  # type: ignore[arg-type]
    assert wrong.code is Code.INVALID_REQUEST
    assert all(answer.granted for answer in await asyncio.gather(*good))
