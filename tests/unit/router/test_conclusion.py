import pytest

from services.router.domain.conclusion import conclude, cut_short, fallback_reason, warnings
from shared.errors import ADD_A_KEY, BUDGET_REACHED, ROUTED_TO_FALLBACK, Code, scope_refused
from shared.messages.router import AttemptV1
from shared.messages.vocabulary import Capability, Outcome
from tests.unit.router.test_plan import alias


def attempt(outcome: Outcome, status: int | None = None, detail: str | None = None) -> AttemptV1:
    return AttemptV1(provider="p", model="m", outcome=outcome, status=status, detail=detail, key_id="k")


MISSING, SCOPE, BUDGET = (
    attempt(Outcome.MISSING_KEY),
    attempt(Outcome.UNSUPPORTED_SCOPE),
    attempt(Outcome.BUDGET_EXCEEDED),
)
KNOWN_BAD, REFUSED = attempt(Outcome.INVALID_KEY), attempt(Outcome.INVALID_KEY, 401)
DOWN, LATE, LIMITED = attempt(Outcome.PROVIDER_ERROR, 500), attempt(Outcome.TIMEOUT), attempt(Outcome.RATE_LIMITED, 429)
GOOD = attempt(Outcome.SUCCESS, 200).model_copy(update={"provider": "other"})
NO_ADAPTER = attempt(Outcome.UNAVAILABLE)
CUT, NOT_BEGUN = attempt(Outcome.KEY_REVOKED, None, "key_revoked"), attempt(Outcome.MISSING_KEY, None, "key_revoked")


@pytest.mark.parametrize(
    ("attempts", "code", "detail"),
    [
        ([MISSING], Code.MISSING_KEY, ADD_A_KEY),
        ([MISSING, NO_ADAPTER], Code.MISSING_KEY, ADD_A_KEY),
        ([KNOWN_BAD, MISSING], Code.MISSING_KEY, ADD_A_KEY),
        ([REFUSED], Code.MISSING_KEY, ADD_A_KEY),
        ([CUT], Code.MISSING_KEY, ADD_A_KEY),
        ([CUT, MISSING], Code.MISSING_KEY, ADD_A_KEY),
        ([CUT, DOWN], Code.PROVIDER_ERROR, ROUTED_TO_FALLBACK),
        ([LIMITED, CUT], Code.RATE_LIMITED, None),
        ([CUT, BUDGET], Code.BUDGET_EXCEEDED, BUDGET_REACHED),
        ([SCOPE, MISSING], Code.UNSUPPORTED_SCOPE, scope_refused("text")),
        ([MISSING, BUDGET], Code.BUDGET_EXCEEDED, BUDGET_REACHED),
        ([BUDGET, SCOPE], Code.BUDGET_EXCEEDED, BUDGET_REACHED),
        ([DOWN], Code.PROVIDER_ERROR, ROUTED_TO_FALLBACK),
        ([DOWN, BUDGET], Code.PROVIDER_ERROR, ROUTED_TO_FALLBACK),
        ([LATE, LIMITED], Code.PROVIDER_ERROR, ROUTED_TO_FALLBACK),
        ([REFUSED, DOWN], Code.PROVIDER_ERROR, ROUTED_TO_FALLBACK),
        ([attempt(Outcome.INVALID_REQUEST, 404, "unknown_model")], Code.PROVIDER_ERROR, ROUTED_TO_FALLBACK),
        ([attempt(Outcome.CONNECTION_ERROR)], Code.PROVIDER_ERROR, ROUTED_TO_FALLBACK),
        ([LATE, MISSING], Code.TIMEOUT, None),
        ([LIMITED], Code.RATE_LIMITED, None),
        ([attempt(Outcome.INVALID_REQUEST, 400)], Code.INVALID_REQUEST, None),
        ([attempt(Outcome.CONTEXT_LENGTH_EXCEEDED, 400)], Code.CONTEXT_LENGTH_EXCEEDED, None),
        ([DOWN, attempt(Outcome.CONTENT_POLICY, 200)], Code.CONTENT_POLICY, None),
        ([attempt(Outcome.UNSUPPORTED_OPTION, None, "seed")], Code.INVALID_REQUEST, None),
        ([NO_ADAPTER], Code.UNAVAILABLE, None),
        ([], Code.UNAVAILABLE, None),
    ],
)  # fmt: skip
def test_the_error_is_the_one_that_helps_most(attempts: list[AttemptV1], code: Code, detail: str | None) -> None:
    error = conclude(alias("p"), "call", attempts, None)
    assert error.code is code
    assert detail in (None, error.detail)
    assert error.extra["alias_name"] == "a"
    assert len(error.extra["attempts"]) == len(attempts)


def test_an_alias_without_adapters_says_what_it_cannot_do() -> None:
    video = alias("p", capability=Capability.VIDEO_GENERATION)
    assert "video_generation" in conclude(video, "call", [NO_ADAPTER], None).detail


def test_a_revoked_key_is_told_from_one_that_never_was() -> None:
    for given in (CUT, NOT_BEGUN):
        extra = conclude(alias("p"), "call", [given], None).extra
        assert (extra["provider"], extra["key_id"], extra["key_status"]) == ("p", "k", "revoked")
    assert "key_status" not in conclude(alias("p"), "call", [MISSING], None).extra


def test_a_restriction_is_named_with_what_to_do() -> None:
    model = conclude(alias("p"), "call", [attempt(Outcome.UNSUPPORTED_SCOPE, None, "model")], None)
    assert model.code is Code.UNSUPPORTED_SCOPE
    assert model.detail == ("This key doesn't allow the model m. Add it to the key's models or pick another alias.")
    assert (model.extra["restriction"], model.extra["model"], model.extra["key_id"]) == ("model", "m", "k")
    region = attempt(Outcome.UNSUPPORTED_SCOPE, None, "region")
    said = conclude(alias("p"), "call", [region], None)
    assert (said.extra["restriction"], said.extra["provider"], said.extra["key_id"]) == ("region", "p", "k")
    assert "region of p" in said.detail
    [warned] = warnings([region, GOOD], ())
    assert warned.detail == said.detail


def test_the_fallback_is_explained_and_the_first_choice_is_not() -> None:
    assert fallback_reason([GOOD], GOOD) is None
    assert warnings([GOOD], ()) == ()
    assert fallback_reason([LATE, DOWN, GOOD], GOOD) is Outcome.TIMEOUT
    assert fallback_reason([LATE, DOWN], None) is Outcome.TIMEOUT
    assert [warning.detail for warning in warnings([DOWN, GOOD], ())] == [ROUTED_TO_FALLBACK]
    assert [warning.detail for warning in warnings([BUDGET, GOOD], ())] == [BUDGET_REACHED]
    assert [warning.detail for warning in warnings([MISSING, GOOD], ())] == [ADD_A_KEY]


def test_the_first_choice_at_its_second_try_is_no_fallback() -> None:
    again = attempt(Outcome.SUCCESS, 200)
    assert fallback_reason([DOWN, again], again) is None
    assert warnings([DOWN, again], ()) == ()


def test_an_answer_that_broke_off_says_why_and_that_it_is_incomplete() -> None:
    cut = attempt(Outcome.BAD_RESPONSE, 200, "cut_answer")
    error = cut_short(alias("p"), "call", [cut, attempt(Outcome.INVALID_REQUEST, 400)], cut)
    assert (error.code, error.extra["reason"], error.extra["incomplete"]) == (Code.PROVIDER_ERROR, "cut_answer", True)
    assert cut_short(alias("p"), "call", [LATE], LATE).code is Code.TIMEOUT
    refused = attempt(Outcome.CONTENT_POLICY, 200, "refusal")
    assert cut_short(alias("p"), "call", [refused], refused).code is Code.CONTENT_POLICY
