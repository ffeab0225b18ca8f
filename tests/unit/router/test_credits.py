"""When credits pay: the plan of each round, what leads from the first to the second, and what the caller is told."""

import itertools
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.router.domain.conclusion import conclude, warnings
from services.router.domain.credits import CREDITS_OFF, NO_CREDITS, ROUNDS, second_round
from services.router.domain.plan import Candidate, Skipped, plan
from services.router.domain.wish import Wish
from shared.errors import ADD_A_KEY, STATUS, Code
from shared.messages.catalogue import AliasFunds, TargetV1
from shared.messages.router import AttemptV1
from shared.messages.vocabulary import Funds, Outcome
from tests.unit.router.test_plan import alias, key, offer, offers

TARGETS = [TargetV1(provider=name, model="m") for name in ("a", "b", "c")]
ON_CREDITS = [Candidate(target, "p", 1, "h", place=place, funds=Funds.PLATFORM) for place, target in enumerate(TARGETS)]
SHORT = {Outcome.MISSING_KEY, Outcome.INVALID_KEY, Outcome.BUDGET_EXCEEDED}
HARMLESS = {Outcome.UNSUPPORTED_SCOPE, Outcome.UNSUPPORTED_OPTION, Outcome.UNAVAILABLE}


def attempt(outcome: Outcome, funds: Funds = Funds.OWN, detail: str | None = None) -> AttemptV1:
    status = 200 if outcome is Outcome.SUCCESS else None
    return AttemptV1(provider="p", model="m", outcome=outcome, status=status, detail=detail, key_id="k", funds=funds)


def test_every_choice_of_an_alias_has_its_rounds() -> None:
    assert set(ROUNDS) == set(get_args(AliasFunds))
    assert [list(rounds) for rounds in ROUNDS.values()] == [
        [Funds.OWN], [Funds.PLATFORM], [Funds.OWN, Funds.PLATFORM],
    ]  # fmt: skip


def test_a_plan_says_of_every_step_who_pays() -> None:
    chain, known = alias("a", "b"), offers(offer("a"), offer("b"))
    own = plan(chain, [key("1", "a")], known, Wish())
    platform = plan(chain, [key("9", "b")], known, Wish(), funds=Funds.PLATFORM)
    assert [(step.key_id, step.funds) for step in own] == [("1", Funds.OWN), (None, Funds.OWN)]
    assert [(step.key_id, step.funds) for step in platform] == [(None, Funds.PLATFORM), ("9", Funds.PLATFORM)]
    assert isinstance(platform[0], Skipped)


@given(st.lists(st.tuples(st.sampled_from(TARGETS), st.none() | st.sampled_from(Outcome)), max_size=6))
def test_credits_follow_only_where_a_key_or_a_budget_lacked(told: list[tuple[TargetV1, Outcome | None]]) -> None:
    taken = second_round(ON_CREDITS, [(target, outcome, None) for target, outcome in told])
    if any(outcome not in SHORT | HARMLESS for _, outcome in told):
        assert taken == ()
    lacking = {target for target, outcome in told if outcome in SHORT}
    assert {step.target for step in taken} <= lacking
    assert list(taken) == [step for step in ON_CREDITS if step in taken], "in the order of the chain"


@pytest.mark.parametrize("outcome", set(Outcome) - SHORT - HARMLESS)
def test_a_provider_that_failed_leads_to_no_credits(outcome: Outcome) -> None:
    for told in itertools.permutations([(TARGETS[0], Outcome.MISSING_KEY, None), (TARGETS[1], outcome, None)]):
        assert second_round(ON_CREDITS, told) == ()


@pytest.mark.parametrize("outcome", SHORT)
def test_what_own_keys_exclude_is_excluded_on_credits_too(outcome: Outcome) -> None:
    ends = (Outcome.UNSUPPORTED_SCOPE, outcome, Outcome.UNSUPPORTED_OPTION)
    told = [(target, end, None) for target, end in zip(TARGETS, ends, strict=True)]
    assert [step.target for step in second_round(ON_CREDITS, told)] == [TARGETS[1]]


def test_a_halted_budget_and_a_missing_price_are_not_what_credits_are_for() -> None:
    missing = (TARGETS[0], Outcome.MISSING_KEY, None)
    assert second_round(ON_CREDITS, [missing, (TARGETS[1], Outcome.BUDGET_EXCEEDED, "halted")]) == ()
    told = [missing, (TARGETS[1], Outcome.BUDGET_EXCEEDED, "model_without_price")]
    assert [step.target for step in second_round(ON_CREDITS, told)] == [TARGETS[0]]


def test_who_pays_instead_is_said_and_only_then() -> None:
    missing, own = attempt(Outcome.MISSING_KEY), attempt(Outcome.SUCCESS)
    paid = attempt(Outcome.SUCCESS, Funds.PLATFORM).model_copy(update={"key_id": "p"})
    told = [warning.code for warning in warnings([missing, paid], ())]
    assert told == ["missing_key", "platform_credits_used"]
    assert [warning.code for warning in warnings([paid], ())] == [], "the alias says so itself"
    assert "platform_credits_used" not in [warning.code for warning in warnings([missing, own], ())]


@pytest.mark.parametrize(
    ("attempts", "code", "said"),
    [
        ([attempt(Outcome.BUDGET_EXCEEDED, Funds.PLATFORM, CREDITS_OFF)], Code.BUDGET_EXCEEDED, "switched off"),
        ([attempt(Outcome.BUDGET_EXCEEDED, Funds.PLATFORM, NO_CREDITS)], Code.BUDGET_EXCEEDED, "no platform credits"),
        ([attempt(Outcome.MISSING_KEY, Funds.PLATFORM)], Code.MISSING_KEY, "The platform has no working key"),
        ([attempt(Outcome.INVALID_KEY, Funds.PLATFORM)], Code.MISSING_KEY, "The platform has no working key"),
        (
            [attempt(Outcome.MISSING_KEY), attempt(Outcome.BUDGET_EXCEEDED, Funds.PLATFORM, NO_CREDITS)],
            Code.MISSING_KEY,
            ADD_A_KEY,
        ),
    ],
)
def test_a_refusal_says_what_would_help(attempts: list[AttemptV1], code: Code, said: str) -> None:
    error = conclude(alias("p"), "c", attempts, None)
    assert (error.code, STATUS[error.code]) == (code, 402)
    assert said in error.detail
