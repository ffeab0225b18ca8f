"""The ledger against real servers: admission, settlement, expiry, queries."""

import asyncio
import json
import random
from collections import Counter
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from services.metering.app import Metering
from services.metering.domain import cursor
from shared.errors import Code, OmniError
from shared.messages.base import Done
from shared.messages.health import PingMeteringV1, ReadyV1
from shared.messages.metering import (
    BlockKeyV1,
    BudgetsV1,
    BudgetV1,
    ListBudgetsV1,
    QueryUsageV1,
    Refusal,
    UsageReportV1,
)
from shared.messages.router import CallFinishedV1
from shared.messages.vocabulary import Billing, Outcome
from shared.records import Delivery
from tests.integration.metering_world import World, finished, metering, metering_world


@pytest.fixture(scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    folder: Path = tmp_path_factory.mktemp("metering")
    async with metering_world(folder) as world:
        yield world


@pytest.fixture(scope="module")
async def app(world: World) -> AsyncIterator[Metering]:
    async with metering(world) as app:
        yield app


@pytest.fixture
def workspace(world: World, app: Metering) -> int:
    return random.randrange(1, 2**40)


async def budget_of(world: World, workspace: int, key: str | None) -> BudgetV1:
    budgets = await world.api.request(ListBudgetsV1(workspace_id=workspace), BudgetsV1)
    return next(item for item in budgets.items if item.key_id == key)


def rows_of(world: World, workspace: int) -> list[dict[str, object]]:
    return world.sql("SELECT * FROM ai_call_logs WHERE workspace_id = %s ORDER BY started_at", workspace)


def letters_of(world: World, attempt: str) -> list[str]:
    return [str(row["reason"]) for row in world.sql("SELECT reason FROM dead_letters WHERE attempt_id = %s", attempt)]


async def refused(world: World, workspace: int, key: str, **changes: object) -> OmniError:
    with pytest.raises(OmniError) as caught:
        await world.reserve(workspace, key, **changes)
    return caught.value


# -- admission ---------------------------------------------------------------------------------------------------


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
    assert getattr((await budget_of(world, workspace, key)).held, unit) == cap


async def test_the_workspace_cap_binds_all_its_keys(world: World, workspace: int) -> None:
    keys = [await world.key(workspace) for _ in range(4)]
    await world.reserve(workspace, keys[0])
    world.sql("UPDATE ai_provider_budgets SET cap_requests = 10 WHERE workspace_id = %s AND key_id IS NULL", workspace)
    answers = await asyncio.gather(*(world.reserve(workspace, key) for key in keys for _ in range(10)))
    assert sum(answer.granted for answer in answers) == 9
    assert all(answer.budget and answer.budget.scope == "workspace" for answer in answers if not answer.granted)
    assert (await budget_of(world, workspace, None)).held.requests == 10


async def test_asking_again_holds_once(world: World, workspace: int) -> None:
    key, attempt = await world.key(workspace), str(uuid4())
    answers = await asyncio.gather(*(world.reserve(workspace, key, attempt_id=attempt) for _ in range(20)))
    answers.append(await world.reserve(workspace, key, attempt_id=attempt))
    assert all(answer.granted for answer in answers)
    assert (await budget_of(world, workspace, key)).held.requests == 1
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
        await world.vault.request(BlockKeyV1(workspace_id=workspace, key_id=blocked), Done)
        assert (await world.reserve(workspace, blocked)).refusal is Refusal.KEY_BLOCKED
    assert (await world.set_caps(workspace, key, requests=100)).blocked
    assert (await world.reserve(workspace, key)).refusal is Refusal.KEY_BLOCKED


async def test_no_grant_is_committed_after_the_block_has_answered(world: World, workspace: int) -> None:
    key = await world.key(workspace)
    await world.reserve(workspace, key)
    answers = [asyncio.ensure_future(world.reserve(workspace, key)) for _ in range(300)]
    await world.vault.request(BlockKeyV1(workspace_id=workspace, key_id=key), Done)
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
    budget = await budget_of(world, workspace, free)
    assert (budget.spent.usd_micros, budget.spent.tokens) == (0, 17)
    assert rows_of(world, workspace)[0]["cost_usd_micros"] is None


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


# -- settlement --------------------------------------------------------------------------------------------------

_HOLD = {"usd_micros": 700, "tokens": 1100, "requests": 1}
ENDS: list[tuple[dict[str, object], dict[str, int], dict[str, object]]] = [
    ({}, {"usd_micros": 7, "tokens": 17, "requests": 1}, {"cost_usd_micros": 7, "input_tokens": 8}),
    ({"cost_usd_micros": 900}, {"usd_micros": 900, "tokens": 17, "requests": 1}, {"cost_usd_micros": 900}),
    ({"cost_usd_micros": None}, {"usd_micros": 700, "tokens": 17, "requests": 1}, {"cost_usd_micros": None}),
    ({"tokens": {}}, {"usd_micros": 7, "tokens": 1100, "requests": 1}, {"input_tokens": None}),
    ({"tokens": {"input_tokens": 5}}, {"usd_micros": 7, "tokens": 1100, "requests": 1}, {"output_tokens": None}),
    ({"billing": Billing.UNKNOWN, "tokens": {}}, _HOLD, {"cost_usd_micros": None, "billing": "unknown"}),
    (
        {"billing": Billing.NOTHING, "outcome": Outcome.RATE_LIMITED, "tokens": {}, "cost_usd_micros": 0},
        {"usd_micros": 0, "tokens": 0, "requests": 1},
        {"cost_usd_micros": 0, "outcome": "rate_limited"},
    ),
]


@pytest.mark.parametrize(("event", "spent", "row"), ENDS)
async def test_what_is_charged_and_what_is_written(
    world: World, workspace: int, event: dict[str, object], spent: dict[str, int], row: dict[str, object]
) -> None:
    key = await world.key(workspace)
    attempt = (await world.reserve(workspace, key)).attempt_id
    await world.finish(attempt, workspace, key, **event)
    await world.settled(attempt)
    for owner in (key, None):
        budget = await budget_of(world, workspace, owner)
        assert budget.spent.model_dump() == spent
        assert not any(budget.held.model_dump().values())
    (written,) = (await world.calls(workspace)).items
    assert written.charged_usd_micros == spent["usd_micros"]
    assert row.items() <= written.model_dump().items()


async def test_an_attempt_never_sent_costs_nothing_and_has_no_row(world: World, workspace: int) -> None:
    key = await world.key(workspace, requests=1)
    attempt = (await world.reserve(workspace, key)).attempt_id
    await world.finish(attempt, workspace, key, sent=False, billing=Billing.NOTHING, outcome=Outcome.UNAVAILABLE)
    await world.settled(attempt)
    assert not rows_of(world, workspace)
    assert (await world.reserve(workspace, key)).granted


async def test_a_reservation_given_up_before_it_arrives_is_never_granted(world: World, workspace: int) -> None:
    key, attempt = await world.key(workspace), str(uuid4())
    await world.finish(attempt, workspace, key, sent=False, billing=Billing.NOTHING, outcome=Outcome.UNAVAILABLE)
    await world.until(lambda: bool(world.sql("SELECT 1 FROM reservations WHERE attempt_id = %s", attempt)))
    assert (await refused(world, workspace, key, attempt_id=attempt)).code is Code.CONFLICT
    assert (await budget_of(world, workspace, key)).held.requests == 0
    assert not letters_of(world, attempt)


async def test_numbers_appear_within_two_seconds(world: World, workspace: int) -> None:
    key, loop = await world.key(workspace), asyncio.get_running_loop()
    slowest = 0.0
    for _ in range(5):
        attempt = (await world.reserve(workspace, key)).attempt_id
        await world.finish(attempt, workspace, key)
        before = loop.time()
        await world.settled(attempt)
        slowest = max(slowest, loop.time() - before)
    print(f"published to visible: {slowest * 1000:.0f} ms at worst")
    assert slowest < 1


async def test_duplicates_and_replays_settle_once(world: World, app: Metering, workspace: int) -> None:
    key = await world.key(workspace)
    attempts = [(await world.reserve(workspace, key)).attempt_id for _ in range(40)]
    for attempt in attempts:
        await world.finish(attempt, workspace, key)
    await world.settled(*attempts)
    before = await usage(world, workspace)
    bodies = [finished(attempt, workspace, key).model_dump_json().encode() for attempt in attempts]
    # Without the message id, and past the stream's own window: only the ledger can tell.
    for body in bodies * 3:
        await world.router.client.publish(CallFinishedV1.subject, body)
    await app.settler.settle([Delivery(body, None, 1) for body in bodies * 3])
    marker = (await world.reserve(workspace, key)).attempt_id
    await world.finish(marker, workspace, key)
    await world.settled(marker)
    after = await usage(world, workspace)
    assert before.totals.requests == 40
    assert after.totals.requests == 41
    assert len(rows_of(world, workspace)) == 41
    assert (await budget_of(world, workspace, key)).spent.usd_micros == 41 * 7
    check_books(world, workspace)


async def test_settle_void_and_expiry_race_for_one_winner(world: World, app: Metering, workspace: int) -> None:
    key = await world.key(workspace)
    asks = (world.reserve(workspace, key, ttl_s=0.001 if number % 3 else 360) for number in range(300))
    attempts = [answer.attempt_id for answer in await asyncio.gather(*asks)]

    def delivery(attempt: str, *, sent: bool) -> Delivery:
        billing = Billing.COST if sent else Billing.NOTHING
        return Delivery(
            finished(attempt, workspace, key, sent=sent, billing=billing).model_dump_json().encode(), None, 1
        )

    async with metering(world) as other:
        mixed = [delivery(attempt, sent=sent) for attempt in attempts for sent in (True, False)]
        random.Random(7).shuffle(mixed)  # noqa: S311 - a test's order
        halves = (mixed[::2], mixed[1::2])
        settlers = (app.settler, other.settler)

        async def settle(number: int) -> None:
            for start in range(0, len(halves[number]), 25):
                await settlers[number].settle(halves[number][start : start + 25])

        await asyncio.gather(settle(0), settle(1), app.sweeper.sweep(), other.sweeper.sweep())
    states = Counter(
        row["state"] for row in world.sql("SELECT state FROM reservations WHERE workspace_id = %s", workspace)
    )
    print(f"300 reservations raced: {dict(states)}")
    assert sum(states.values()) == 300
    assert states["held"] == 0
    assert len(rows_of(world, workspace)) == states["settled"] + states["expired"]
    check_books(world, workspace)


async def test_expiry_charges_the_maximum_and_late_news_is_kept(world: World, app: Metering, workspace: int) -> None:
    key = await world.key(workspace)
    attempt = (await world.reserve(workspace, key, ttl_s=30, trace_id="a" * 32)).attempt_id
    await app.sweeper.sweep()
    assert (await budget_of(world, workspace, key)).held.requests == 1
    world.clock.ahead = timedelta(seconds=31)
    try:
        assert await app.sweeper.sweep() >= 1
        assert await app.sweeper.sweep() == 0
    finally:
        world.clock.ahead = timedelta()
    (row,) = (await world.calls(workspace)).items
    assert (row.outcome, row.billing, row.status, row.cost_usd_micros) == (Outcome.UNKNOWN, Billing.UNKNOWN, None, None)
    assert (row.charged_usd_micros, row.input_tokens, row.trace_id) == (700, None, "a" * 32)
    body = finished(attempt, workspace, key).model_dump_json().encode()
    for deliveries in (1, 2, 3):
        await app.settler.settle([Delivery(body, None, deliveries)])
    assert letters_of(world, attempt) == ["late: reservation already expired"]
    assert (await budget_of(world, workspace, key)).spent.usd_micros == 700
    assert (await usage(world, workspace)).totals.unknown == 1
    check_books(world, workspace)


async def test_poison_is_buried_and_neighbours_are_unharmed(world: World, workspace: int) -> None:
    key = await world.key(workspace)
    good = finished(str(uuid4()), workspace, key).model_dump(mode="json")
    canary = "sk-canary-5f5e7c3e"
    twisted: list[bytes] = [b"", b"{", b"null", b"[]", b"\xff\xfe", canary.encode(), b"{}", b"1" * 5000]
    for name in good:
        for value in (canary, [], {"a": canary}, -(2**70), 1e300, "x" * 4000):
            twisted.append(json.dumps(good | {name: value}).encode())  # noqa: PERF401
        twisted.append(json.dumps({other: good[other] for other in good if other != name}).encode())
    twisted.append(json.dumps(good | {canary: 1}).encode())
    twisted.append(json.dumps(good | {"finish_reason": "a\0b"}).encode())
    twisted.append(json.dumps(good | {"started_at": "2026-11-23T10:00:00"}).encode())
    twisted.append(json.dumps(good | {"started_at": "9999-12-31T23:59:59-12:00"}).encode())
    twisted = list(dict.fromkeys(twisted))
    before = world.sql("SELECT count(*) AS n FROM dead_letters")[0]["n"]
    neighbours = []
    for number, body in enumerate(twisted):
        await world.router.client.publish(CallFinishedV1.subject, body)
        if number % 10 == 0 or number == len(twisted) - 1:
            neighbours.append((await world.reserve(workspace, key)).attempt_id)
            await world.finish(neighbours[-1], workspace, key)
    await world.settled(*neighbours)
    reasons = [str(row["reason"]) for row in world.sql("SELECT reason FROM dead_letters ORDER BY id OFFSET %s", before)]
    malformed = sum(reason.startswith("malformed") for reason in reasons)
    print(f"{len(twisted)} twisted messages: {malformed} kinds malformed, {len(reasons)} dead letters")
    assert malformed > 100
    # What is left is a good event without a reservation, the same attempt each time.
    assert len(reasons) == malformed + 1
    assert not any(canary in reason for reason in reasons)
    assert len(rows_of(world, workspace)) == len(neighbours)


async def test_an_event_without_or_with_anothers_reservation_is_buried(
    world: World, app: Metering, workspace: int
) -> None:
    key = await world.key(workspace)
    unknown = str(uuid4())
    mine = (await world.reserve(workspace, key)).attempt_id
    events = [
        finished(unknown, workspace, key),
        finished(mine, workspace + 1, key),
        finished(mine, workspace, str(uuid4())),
    ]
    await app.settler.settle([Delivery(event.model_dump_json().encode(), None, 1) for event in events[:2]])
    await app.settler.settle([Delivery(events[2].model_dump_json().encode(), None, 1)])
    assert letters_of(world, unknown) == ["no reservation"]
    assert len(letters_of(world, mine)) == 1
    assert (await budget_of(world, workspace, key)).held.requests == 1


async def test_what_the_database_refuses_is_buried_after_five_deliveries(
    world: World, app: Metering, workspace: int
) -> None:
    key = await world.key(workspace)
    bad = (await world.reserve(workspace, key, model="poisonous")).attempt_id
    good = [(await world.reserve(workspace, key)).attempt_id for _ in range(3)]
    world.sql("ALTER TABLE ai_call_logs ADD CONSTRAINT poison CHECK (model <> 'poisonous')")
    try:
        bodies = [finished(attempt, workspace, key).model_dump_json().encode() for attempt in (good[0], bad, *good[1:])]
        for deliveries in range(1, 5):
            with pytest.raises(Exception, match="poison"):
                await app.settler.settle([Delivery(body, None, deliveries) for body in bodies])
            assert len(rows_of(world, workspace)) == 3
        await app.settler.settle([Delivery(body, None, 5) for body in bodies])
    finally:
        world.sql("ALTER TABLE ai_call_logs DROP CONSTRAINT poison")
    assert world.sql("SELECT 1 FROM dead_letters WHERE body = %s AND delivered = 5", bodies[1])
    assert len(rows_of(world, workspace)) == 3


# -- queries -----------------------------------------------------------------------------------------------------


async def usage(world: World, workspace: int, **changes: object) -> UsageReportV1:
    request = QueryUsageV1.model_validate({"workspace_id": workspace, **changes})
    return await world.api.request(request, UsageReportV1)


async def test_usage_by_each_group(world: World, workspace: int) -> None:
    key = await world.key(workspace)
    attempts = []
    for number, provider in enumerate(("openai", "anthropic", "anthropic")):
        attempts.append((await world.reserve(workspace, key, provider=provider, alias_name=f"a{number}")).attempt_id)
        fallback = Outcome.TIMEOUT if number == 2 else None
        await world.finish(attempts[-1], workspace, key, fallback_reason=fallback)
    await world.settled(*attempts)
    report = await usage(world, workspace, group_by="provider")
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
        found = await usage(world, workspace, group_by=group_by)
        assert {group.group for group in found.groups} == names
        assert found.totals == totals
    assert (await usage(world, workspace)).groups == ()
    assert (await usage(world, workspace, until=now - timedelta(hours=2))).totals.requests == 0
    assert (await usage(world, workspace, since=now, until=now + timedelta(hours=1))).totals.requests == 3
    assert (await usage(world, workspace + 1)).totals.requests == 0


async def test_pages_of_the_call_log(world: World, workspace: int) -> None:
    key, start = await world.key(workspace), world.clock.now()
    attempts = []
    for number in range(25):
        attempts.append((await world.reserve(workspace, key, model=f"m{number % 2}")).attempt_id)
        # Several begin at the same instant: the attempt id breaks the tie.
        await world.finish(attempts[-1], workspace, key, started_at=start + timedelta(seconds=number // 5))
    await world.settled(*attempts)
    seen, place = [], None
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
    assert len(world.sql(f"SELECT 1 FROM ai_call_logs_{later:%Y_%m} WHERE workspace_id = %s", workspace)) == 1  # noqa: S608
    assert len(rows_of(world, workspace)) == 4


async def test_a_month_that_passes_starts_a_new_period(world: World, workspace: int) -> None:
    key = await world.key(workspace, requests=1)
    attempt = (await world.reserve(workspace, key)).attempt_id
    assert not (await world.reserve(workspace, key)).granted
    world.clock.ahead = timedelta(days=31)
    try:
        assert (await world.reserve(workspace, key)).granted
        await world.finish(attempt, workspace, key)
        await world.settled(attempt)
        budget = await budget_of(world, workspace, key)
        assert (budget.spent.requests, budget.held.requests) == (0, 1)
    finally:
        world.clock.ahead = timedelta()
    budget = await budget_of(world, workspace, key)
    assert (budget.spent.requests, budget.held.requests) == (1, 0)


def check_books(world: World, workspace: int) -> None:
    """The balances of every budget are the sums of its reservations, and the rollups are those of the log."""
    sums = world.sql(
        """
        SELECT b.id, p.held_requests, p.held_usd_micros, p.spent_requests, p.spent_usd_micros,
            count(*) FILTER (WHERE r.state = 'held') AS held_n,
            coalesce(sum(r.usd_micros) FILTER (WHERE r.state = 'held'), 0) AS held_usd,
            count(*) FILTER (WHERE r.state IN ('settled', 'expired')) AS spent_n
        FROM ai_provider_budgets b JOIN budget_periods p ON p.budget_id = b.id
        JOIN reservations r ON r.workspace_id = b.workspace_id AND r.period_start = p.period_start
            AND (b.key_id IS NULL OR b.key_id = r.key_id)
        WHERE b.workspace_id = %s GROUP BY b.id, p.budget_id, p.period_start
        """,
        workspace,
    )
    assert sums
    log = world.sql(
        "SELECT count(*) AS n, sum(charged_usd_micros) AS charged FROM ai_call_logs WHERE workspace_id = %s", workspace
    )[0]
    rollup = world.sql(
        "SELECT sum(requests) AS n, sum(charged_usd_micros) AS charged FROM usage_rollups WHERE workspace_id = %s",
        workspace,
    )[0]
    assert (log["n"], log["charged"]) == (rollup["n"], rollup["charged"])
    for row in sums:
        assert (row["held_requests"], row["held_usd_micros"]) == (row["held_n"], row["held_usd"])
        assert row["spent_requests"] == row["spent_n"]
    whole = max(sums, key=lambda row: int(str(row["spent_usd_micros"])))
    assert whole["spent_usd_micros"] == log["charged"]
