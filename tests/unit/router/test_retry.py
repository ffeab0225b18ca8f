"""What follows a failure: the whole table, and that retries stay few whatever happens."""

from dataclasses import replace
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.router.domain.outcome import Step, billing, policy
from services.router.domain.retry import (
    LONGEST_WAIT_S,
    MOST_RETRIES,
    MOST_SAVED,
    REFILL_PER_S,
    RESERVE,
    ROOM_S,
    SHARE,
    Decision,
    Ended,
    NextKey,
    NextTarget,
    RetryBudget,
    RetrySame,
    Stop,
    decide,
)
from services.router.retries import Retries
from shared.messages.vocabulary import Billing, Outcome
from tests.unit.router.ticking import Ticking

LAST = Ended(
    outcome=Outcome.PROVIDER_ERROR, sent=True, answered=True, retry_after_s=None,
    others_remain=False, tries=0, left_s=60.0,
)  # fmt: skip
REPEATED = {Outcome.PROVIDER_ERROR, Outcome.RATE_LIMITED, Outcome.CONNECTION_ERROR}
KINDS = {Step.STOP: Stop(), Step.NEXT_TARGET: NextTarget(), Step.NEXT_KEY: NextKey()}
ENDS = st.builds(
    Ended,
    outcome=st.sampled_from(Outcome),
    sent=st.booleans(),
    answered=st.booleans(),
    retry_after_s=st.none() | st.floats(0, 1e6),
    others_remain=st.booleans(),
    tries=st.integers(0, 5),
    left_s=st.floats(-10, 600),
    keys_remain=st.booleans(),
    detail=st.none() | st.just("tls_failed"),
)


def test_the_table() -> None:
    rows = list(product(Outcome, (False, True), (False, True), (False, True), (False, True)))
    repeated = 0
    for outcome, sent, answered, others, keys in rows:
        found = decide(
            replace(LAST, outcome=outcome, sent=sent, answered=answered, others_remain=others, keys_remain=keys)
        )
        elsewhere = others or (keys and policy(outcome) is Step.NEXT_KEY)
        if outcome in REPEATED and (answered or not sent) and not elsewhere:
            assert found == RetrySame(0.0, 0.25)
            repeated += 1
        else:
            assert found == KINDS[policy(outcome)], (outcome, sent, answered, others, keys)
    print(f"outcome x sent x answered x other target x other key: {len(rows)} of {len(rows)}, repeated={repeated}")


@pytest.mark.parametrize(
    ("change", "follows"),
    [
        ({}, RetrySame(0.0, 0.25)),
        ({"tries": 1}, RetrySame(0.0, 0.5)),
        ({"tries": MOST_RETRIES}, NextTarget()),
        ({"retry_after_s": 3.0}, RetrySame(3.0, 0.25)),
        ({"retry_after_s": LONGEST_WAIT_S}, RetrySame(LONGEST_WAIT_S, 0.25)),
        ({"retry_after_s": LONGEST_WAIT_S + 0.1}, NextTarget()),
        ({"retry_after_s": 3.0, "left_s": 3.0 + ROOM_S}, RetrySame(3.0, 0.25)),
        ({"retry_after_s": 3.0, "left_s": 2.9 + ROOM_S}, NextTarget()),
        ({"left_s": 1.0}, NextTarget()),
        ({"outcome": Outcome.RATE_LIMITED, "keys_remain": True}, NextKey()),
        ({"keys_remain": True}, RetrySame(0.0, 0.25)),
        ({"outcome": Outcome.CONNECTION_ERROR, "answered": False, "sent": False}, RetrySame(0.0, 0.25)),
        ({"outcome": Outcome.CONNECTION_ERROR, "answered": False}, NextTarget()),
        ({"outcome": Outcome.CONNECTION_ERROR, "sent": False, "detail": "tls_failed"}, NextTarget()),
        ({"outcome": Outcome.TIMEOUT}, NextTarget()),
        ({"outcome": Outcome.QUOTA_EXHAUSTED, "retry_after_s": 1.0}, NextKey()),
        ({"outcome": Outcome.CONTENT_POLICY, "others_remain": True}, Stop()),
    ],
)
def test_on_the_last_target(change: dict[str, object], follows: Decision) -> None:
    assert decide(replace(LAST, **change)) == follows  # type: ignore[arg-type]


@given(ENDS, st.floats(0, 1))
def test_nothing_is_repeated_that_may_have_been_paid_for_or_that_there_is_no_time_for(
    ended: Ended, chance: float
) -> None:
    found = decide(ended)
    if not isinstance(found, RetrySame):
        assert found == KINDS[policy(ended.outcome)]
        return
    assert billing(ended.outcome, ended.sent, ended.answered) is Billing.NOTHING
    assert ended.outcome in REPEATED
    assert not ended.others_remain
    assert ended.tries < MOST_RETRIES
    pause = found.drawn(chance).after_s
    assert (ended.retry_after_s or 0) <= pause <= LONGEST_WAIT_S
    assert pause + ROOM_S <= ended.left_s


@given(st.lists(st.tuples(st.sampled_from(["call", "retry"]), st.floats(0, 5)), max_size=300))
def test_retries_stay_a_share_of_the_calls(steps: list[tuple[str, float]]) -> None:
    budget, now, calls, retries = RetryBudget(), 0.0, 0, 0
    for kind, pause in steps:
        now += pause
        if kind == "call":
            budget.called(1, "openai", now)
            calls += 1
        else:
            retries += budget.take(1, "openai", now)
    assert retries <= RESERVE + REFILL_PER_S * now + SHARE * calls + 1e-6


def test_budgets_are_apart_bounded_and_filled_again() -> None:
    budget = RetryBudget(most=2)
    spent = [budget.take(1, "openai", 0.0) for _ in range(7)]
    assert spent == [True] * 5 + [False] * 2
    assert budget.take(1, "groq", 0.0)
    assert not budget.take(1, "openai", 19.0)
    assert budget.take(1, "openai", 20.0)
    for _ in range(10_000):
        budget.called(1, "openai", 21.0)
    assert sum(budget.take(1, "openai", 21.0) for _ in range(1000)) == MOST_SAVED
    for workspace in range(5):
        budget.called(workspace, "openai", 22.0)
    assert len(budget._accounts) == 2


def test_a_retry_is_drawn_and_granted_until_none_is_left() -> None:
    clock = Ticking()
    retries = Retries(clock, chance=lambda: 0.5)
    granted = [retries.allowed(1, "openai", RetrySame(0.0, 0.5)) for _ in range(6)]
    assert granted == [RetrySame(0.25)] * 5 + [NextTarget()]
    assert retries.allowed(2, "openai", RetrySame(2.0, 0.5)) == RetrySame(2.0)
    assert retries.allowed(1, "openai", Stop()) == Stop()
    for _ in range(11):
        retries.called(1, "openai")
    assert retries.allowed(1, "openai", RetrySame(0.0)) == RetrySame(0.0)
