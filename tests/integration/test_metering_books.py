"""What people do to the books: letters, unknown outcomes, retention. It changes totals once, and is written down."""

import asyncio
from datetime import timedelta
from uuid import uuid4

import pytest

from services.metering.app import Metering
from services.metering.retention import RESERVATIONS_KEPT
from shared.errors import Code, OmniError
from shared.messages.bookkeeping import (
    DeadLettersV1,
    DeadLetterV1,
    DismissDeadLetterV1,
    GetRetentionV1,
    LedgerActionsV1,
    ListDeadLettersV1,
    QueryLedgerActionsV1,
    QueryUnknownV1,
    ReconcileAttemptV1,
    ReplayDeadLetterV1,
    ReplayedV1,
    RetentionV1,
    SetRetentionV1,
)
from shared.messages.custody import ActorV1
from shared.messages.usage import CallsV1, CallV1
from shared.messages.vocabulary import Billing, Outcome
from shared.records import Delivery
from tests.integration.metering_world import World, finished
from tests.integration.test_metering_settlement import check_books

ADMIN = ActorV1(kind="token", id=str(uuid4()), role="platform_admin", address="127.0.0.1")
OWNER = ADMIN.model_copy(update={"role": "owner"})


async def letter_of(world: World, attempt: str) -> DeadLetterV1:
    letters = (await world.api.request(ListDeadLettersV1(limit=500), DeadLettersV1)).items
    return next(letter for letter in letters if letter.attempt_id == attempt)


async def replay(world: World, letter: DeadLetterV1) -> ReplayedV1:
    return await world.api.request(ReplayDeadLetterV1(letter_id=letter.id, actor=ADMIN), ReplayedV1)


async def expired(world: World, app: Metering, workspace: int, key: str) -> str:
    """An attempt nobody reported the end of, charged at its maximum."""
    attempt = (await world.reserve(workspace, key, ttl_s=30)).attempt_id
    world.clock.ahead = timedelta(seconds=31)
    try:
        await app.sweeper.sweep()
    finally:
        world.clock.ahead = timedelta()
    return attempt


def correction(workspace: int, attempt: str, **changes: object) -> ReconcileAttemptV1:
    fields = {
        "cost_usd_micros": 7,
        "input_tokens": 8,
        "output_tokens": 9,
        "actor": OWNER,
        "note": "the invoice says so",
    }
    return ReconcileAttemptV1.model_validate({"workspace_id": workspace, "attempt_id": attempt, **fields, **changes})


async def test_an_unknown_outcome_is_reconciled_once(world: World, app: Metering, workspace: int) -> None:
    key = await world.key(workspace)
    attempt = await expired(world, app, workspace, key)
    other = (await world.reserve(workspace, key)).attempt_id
    await world.finish(other, workspace, key, billing=Billing.UNKNOWN, tokens={}, outcome=Outcome.CANCELLED)
    await world.settled(other)
    unknown = await world.api.request(QueryUnknownV1(workspace_id=workspace, limit=1), CallsV1)
    rest = await world.api.request(QueryUnknownV1(workspace_id=workspace, cursor=unknown.next_cursor), CallsV1)
    assert {call.attempt_id for call in unknown.items + rest.items} == {attempt, other}
    assert (rest.items[0].reserved_usd_micros, rest.items[0].charged_usd_micros) == (700, 700)
    asked = correction(workspace, attempt)
    answers = await asyncio.gather(*(world.api.request(asked, CallV1, timeout=10) for _ in range(8)))
    assert {(answer.cost_usd_micros, answer.charged_usd_micros, answer.input_tokens) for answer in answers} == {
        (7, 7, 8)
    }
    for owner in (key, None):
        spent = (await world.budget(workspace, owner)).spent
        assert (spent.usd_micros, spent.tokens, spent.requests) == (707, 1117, 2)
    totals = (await world.usage(workspace)).totals
    assert (totals.unknown, totals.charged_usd_micros, totals.cost_usd_micros, totals.input_tokens) == (1, 707, 7, 8)
    check_books(world, workspace)
    with pytest.raises(OmniError) as caught:
        await world.api.request(correction(workspace, attempt, cost_usd_micros=6), CallV1)
    assert caught.value.code is Code.CONFLICT
    actions = (await world.api.request(QueryLedgerActionsV1(workspace_id=workspace), LedgerActionsV1)).items
    assert [(one.action, one.subject, one.actor) for one in actions] == [("attempt.reconciled", attempt, OWNER)]
    assert actions[0].facts["charged_before_usd_micros"] == 700


async def test_only_what_is_ones_own_and_unknown_can_be_reconciled(world: World, app: Metering, workspace: int) -> None:
    key = await world.key(workspace)
    known = (await world.reserve(workspace, key)).attempt_id
    await world.finish(known, workspace, key)
    await world.settled(known)
    held = (await world.reserve(workspace, key)).attempt_id
    theirs = await expired(world, app, workspace + 1, await world.key(workspace + 1))
    refusals = []
    for attempt in (known, held, theirs, str(uuid4())):
        with pytest.raises(OmniError) as caught:
            await world.api.request(correction(workspace, attempt), CallV1)
        refusals.append(caught.value.code)
    assert refusals == [Code.CONFLICT, Code.CONFLICT, Code.NOT_FOUND, Code.NOT_FOUND]
    assert (await world.budget(workspace + 1, None)).spent.usd_micros == 700


async def test_a_late_letter_puts_the_cost_in_the_place_of_the_maximum(
    world: World, app: Metering, workspace: int
) -> None:
    key = await world.key(workspace)
    attempt = await expired(world, app, workspace, key)
    body = finished(attempt, workspace, key).model_dump_json().encode()
    await app.settler.settle([Delivery(body, None, 1)])
    letter = await letter_of(world, attempt)
    assert letter.size_bytes == len(body)
    answers = await asyncio.gather(*(replay(world, letter) for _ in range(4)), return_exceptions=True)
    results = [answer.result if isinstance(answer, ReplayedV1) else "conflict" for answer in answers]
    assert sorted(results) == ["conflict", "conflict", "conflict", "reconciled"]
    assert (await world.budget(workspace, key)).spent.usd_micros == 7
    check_books(world, workspace)
    resolved = await world.api.request(ListDeadLettersV1(resolved=True), DeadLettersV1)
    assert resolved.items[0].resolution == "replayed"
    actions = (await world.api.request(QueryLedgerActionsV1(workspace_id=0), LedgerActionsV1)).items
    assert (actions[0].action, actions[0].facts["result"]) == ("letter.replayed", "reconciled")


async def test_a_letter_settles_once_what_it_lacked_is_there(world: World, app: Metering, workspace: int) -> None:
    key, attempt = await world.key(workspace), str(uuid4())
    await app.settler.settle([Delivery(finished(attempt, workspace, key).model_dump_json().encode(), None, 1)])
    letter = await letter_of(world, attempt)
    refused = await replay(world, letter)
    assert (refused.result, refused.letter.reason, refused.letter.resolution) == ("refused", "no reservation", None)
    await world.reserve(workspace, key, attempt_id=attempt)
    settled = await replay(world, letter)
    assert (settled.result, settled.letter.resolution) == ("settled", "replayed")
    assert (await world.budget(workspace, key)).spent.usd_micros == 7
    check_books(world, workspace)
    # The same fact once more by the stream changes nothing, and neither does a second letter about it.
    await app.settler.settle([Delivery(finished(attempt, workspace, key).model_dump_json().encode(), None, 1)])
    assert len(world.rows(workspace)) == 1


async def test_a_letter_is_dismissed_once(world: World, app: Metering, workspace: int) -> None:
    await app.settler.settle([Delivery(b'{"canary": "sk-canary-book"}', None, 1)])
    listed = await world.api.request(ListDeadLettersV1(limit=500), DeadLettersV1)
    letter = listed.items[0]
    assert "sk-canary" not in listed.model_dump_json()
    refused = await replay(world, letter)
    assert refused.result == "refused"
    asked = DismissDeadLetterV1(letter_id=letter.id, actor=ADMIN)
    assert (await world.api.request(asked, DeadLetterV1)).resolution == "dismissed"
    with pytest.raises(OmniError) as caught:
        await world.api.request(asked, DeadLetterV1)
    assert caught.value.code is Code.CONFLICT
    # It comes again: still one letter, still dismissed.
    await app.settler.settle([Delivery(b'{"canary": "sk-canary-book"}', None, 2)])
    assert world.sql("SELECT resolution FROM dead_letters WHERE id = %s", letter.id) == [{"resolution": "dismissed"}]


async def test_a_purge_keeps_what_was_spent_and_every_id(world: World, app: Metering, workspace: int) -> None:
    key, other = await world.key(workspace), await world.key(workspace + 1)
    attempts = [(await world.reserve(workspace, key)).attempt_id for _ in range(5)]
    theirs = (await world.reserve(workspace + 1, other)).attempt_id
    for attempt in attempts:
        await world.finish(attempt, workspace, key)
    await world.finish(theirs, workspace + 1, other)
    await world.settled(*attempts, theirs)
    before = await world.usage(workspace)
    kept = SetRetentionV1(workspace_id=workspace, call_log_days=30, actor=OWNER)
    assert (await world.api.request(kept, RetentionV1)).call_log_days == 30
    assert len(world.rows(workspace)) == 5
    world.clock.ahead = RESERVATIONS_KEPT + timedelta(days=1)
    try:
        purged = await app.purger.purge()
        with pytest.raises(OmniError) as caught:
            await world.reserve(workspace, key, attempt_id=attempts[0])
        body = finished(attempts[0], workspace, key).model_dump_json().encode()
        await app.settler.settle([Delivery(body, None, 1)])
    finally:
        world.clock.ahead = timedelta()
    print("purged:", purged)
    assert purged["rows"] == 5
    assert purged["reservations"] >= 6
    assert caught.value.code is Code.CONFLICT
    assert not world.sql("SELECT 1 FROM dead_letters WHERE attempt_id = %s", attempts[0]), "a repetition, no letter"
    assert (await world.usage(workspace)).totals == before.totals
    assert not world.rows(workspace)
    assert len(world.rows(workspace + 1)) == 1
    asked = await world.api.request(GetRetentionV1(workspace_id=workspace + 1), RetentionV1)
    assert asked.call_log_days is None


async def test_empty_old_partitions_go_and_full_ones_stay(world: World, app: Metering) -> None:
    for month in ("2026-01-01", "2026-02-01"):
        world.sql("SELECT ensure_call_log_partition(%s::date)", month)
    world.sql(
        "INSERT INTO ai_call_logs (attempt_id, call_id, workspace_id, key_id, provider, model, alias_name, capability,"
        " attempt_index, outcome, billing, charged_usd_micros, started_at, finished_at) VALUES (gen_random_uuid(), 'c',"
        " 99, gen_random_uuid(), 'p', 'm', 'a', 'chat', 0, 'success', 'cost', 1, '2026-02-10Z', '2026-02-10Z')"
    )
    dropped = (await app.purger.purge())["partitions"]
    left = {str(row["name"]) for row in world.sql(
        "SELECT inhrelid::regclass::text AS name FROM pg_inherits WHERE inhparent = 'ai_call_logs'::regclass"
    )}  # fmt: skip
    print(f"partitions: {dropped} dropped, left: {sorted(left)}")
    assert dropped == 1
    assert "ai_call_logs_2026_01" not in left
    assert {"ai_call_logs_2026_02", "ai_call_logs_2026_11", "ai_call_logs_2026_12", "ai_call_logs_2027_01"} <= left
    world.sql("DELETE FROM ai_call_logs WHERE workspace_id = 99")
