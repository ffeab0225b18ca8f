"""Settlement against real servers: what a finished, lost or malformed call does to the books."""

import asyncio
import json
import random
from collections import Counter
from datetime import timedelta
from uuid import uuid4

import pytest

from services.metering.app import Metering
from shared.errors import Code, OmniError
from shared.messages.router import CallFinishedV1
from shared.messages.vocabulary import Billing, Outcome
from shared.records import Delivery
from tests.integration.books import drift
from tests.integration.metering_world import World, finished, metering


def letters_of(world: World, attempt: str) -> list[str]:
    return [str(row["reason"]) for row in world.sql("SELECT reason FROM dead_letters WHERE attempt_id = %s", attempt)]


async def refused(world: World, workspace: int, key: str, **changes: object) -> OmniError:
    with pytest.raises(OmniError) as caught:
        await world.reserve(workspace, key, **changes)
    return caught.value


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
        budget = await world.budget(workspace, owner)
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
    assert not world.rows(workspace)
    assert (await world.reserve(workspace, key)).granted


async def test_a_reservation_given_up_before_it_arrives_is_never_granted(world: World, workspace: int) -> None:
    key, attempt = await world.key(workspace), str(uuid4())
    await world.finish(attempt, workspace, key, sent=False, billing=Billing.NOTHING, outcome=Outcome.UNAVAILABLE)
    await world.until(lambda: bool(world.sql("SELECT 1 FROM reservations WHERE attempt_id = %s", attempt)))
    assert (await refused(world, workspace, key, attempt_id=attempt)).code is Code.CONFLICT
    assert (await world.budget(workspace, key)).held.requests == 0
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
    before = await world.usage(workspace)
    bodies = [finished(attempt, workspace, key).model_dump_json().encode() for attempt in attempts]
    # Without the message id, and past the stream's own window: only the ledger can tell.
    for body in bodies * 3:
        await world.router.client.publish(CallFinishedV1.subject, body)
    await app.settler.settle([Delivery(body, None, 1) for body in bodies * 3])
    marker = (await world.reserve(workspace, key)).attempt_id
    await world.finish(marker, workspace, key)
    await world.settled(marker)
    after = await world.usage(workspace)
    assert before.totals.requests == 40
    assert after.totals.requests == 41
    assert len(world.rows(workspace)) == 41
    assert (await world.budget(workspace, key)).spent.usd_micros == 41 * 7
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
    assert len(world.rows(workspace)) == states["settled"] + states["expired"]
    check_books(world, workspace)


async def test_expiry_charges_the_maximum_and_late_news_is_kept(world: World, app: Metering, workspace: int) -> None:
    key = await world.key(workspace)
    attempt = (await world.reserve(workspace, key, ttl_s=30, trace_id="a" * 32)).attempt_id
    await app.sweeper.sweep()
    assert (await world.budget(workspace, key)).held.requests == 1
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
    assert (await world.budget(workspace, key)).spent.usd_micros == 700
    assert (await world.usage(workspace)).totals.unknown == 1
    check_books(world, workspace)


async def test_poison_is_buried_and_neighbours_are_unharmed(world: World, workspace: int) -> None:
    key = await world.key(workspace)
    good = finished(str(uuid4()), workspace, key).model_dump(mode="json")
    canary = "sk-canary-5f5e7c3e"
    twisted: list[bytes] = [b"", b"{", b"null", b"[]", b"\xff\xfe", canary.encode(), b"{}", b"1" * 5000]
    for name in good:
        values: tuple[object, ...] = (canary, [], {"a": canary}, -(2**70), 1e300, "x" * 4000)
        twisted += [json.dumps(good | {name: value}).encode() for value in values]
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
    letters = world.sql("SELECT reason, delivered FROM dead_letters ORDER BY id OFFSET %s", before)
    reasons, most = [str(row["reason"]) for row in letters], max(int(str(row["delivered"])) for row in letters)
    malformed = sum(reason.startswith("malformed") for reason in reasons)
    print(f"{len(twisted)} twisted messages: {malformed} kinds malformed, {len(reasons)} dead letters, "
          f"delivered at most {most} times")  # fmt: skip
    assert malformed > 100
    assert most <= 2, "once, or once more when this machine is too busy to acknowledge in time; never in a loop"
    # What is left is a good event without a reservation, the same attempt each time.
    assert len(reasons) == malformed + 1
    assert not any(canary in reason for reason in reasons)
    assert len(world.rows(workspace)) == len(neighbours)


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
    assert (await world.budget(workspace, key)).held.requests == 1


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
            assert len(world.rows(workspace)) == 3
        await app.settler.settle([Delivery(body, None, 5) for body in bodies])
    finally:
        world.sql("ALTER TABLE ai_call_logs DROP CONSTRAINT poison")
    assert world.sql("SELECT 1 FROM dead_letters WHERE body = %s AND delivered = 5", bodies[1])
    assert len(world.rows(workspace)) == 3


def check_books(world: World, workspace: int) -> None:
    """The balances of every budget are the sums of its reservations, and the rollups are those of the log."""
    assert not drift(world)
    log = world.sql(
        "SELECT count(*) AS n, sum(charged_usd_micros) AS charged FROM ai_call_logs WHERE workspace_id = %s", workspace
    )[0]
    rollup = world.sql(
        "SELECT sum(requests) AS n, sum(charged_usd_micros) AS charged FROM usage_rollups WHERE workspace_id = %s",
        workspace,
    )[0]
    assert (log["n"], log["charged"]) == (rollup["n"], rollup["charged"])
