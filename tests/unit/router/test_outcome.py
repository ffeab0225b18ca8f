import pytest

from services.router.domain.outcome import CODES, PLAIN_CODES, STATUSES, Step, billing, detail_of, outcome_of, policy
from shared.messages.vocabulary import Billing, Outcome


@pytest.mark.parametrize(
    ("status", "code", "outcome", "detail"),
    [
        (400, None, Outcome.INVALID_REQUEST, "http_400"),
        (400, "context_length_exceeded", Outcome.CONTEXT_LENGTH_EXCEEDED, "context_length_exceeded"),
        (400, "content_policy_violation", Outcome.CONTENT_POLICY, "content_policy_violation"),
        (400, "unsupported_parameter", Outcome.INVALID_REQUEST, "unsupported_parameter"),
        (400, "model_not_found", Outcome.INVALID_REQUEST, "unknown_model"),
        (401, None, Outcome.INVALID_KEY, "http_401"),
        (402, None, Outcome.QUOTA_EXHAUSTED, "http_402"),
        (403, None, Outcome.INVALID_KEY, "http_403"),
        (404, None, Outcome.INVALID_REQUEST, "unknown_model"),
        (404, "something_else", Outcome.INVALID_REQUEST, "http_404"),
        (408, None, Outcome.TIMEOUT, "http_408"),
        (413, None, Outcome.INVALID_REQUEST, "http_413"),
        (422, None, Outcome.INVALID_REQUEST, "http_422"),
        (429, None, Outcome.RATE_LIMITED, "http_429"),
        (429, "insufficient_quota", Outcome.QUOTA_EXHAUSTED, "insufficient_quota"),
        (500, None, Outcome.PROVIDER_ERROR, "http_500"),
        (502, None, Outcome.PROVIDER_ERROR, "http_502"),
        (503, None, Outcome.PROVIDER_ERROR, "http_503"),
        (504, None, Outcome.TIMEOUT, "http_504"),
        (524, None, Outcome.TIMEOUT, "http_524"),
        (529, "overloaded_error", Outcome.PROVIDER_ERROR, "overloaded_error"),
        (302, None, Outcome.BAD_RESPONSE, "http_302"),
        (204, None, Outcome.BAD_RESPONSE, "http_204"),
        (700, None, Outcome.BAD_RESPONSE, "http_700"),
    ],
)
def test_table(status: int, code: str | None, outcome: Outcome, detail: str) -> None:
    assert outcome_of(status, code) is outcome
    assert detail_of(status, code) == detail


def test_a_providers_own_words_are_never_repeated() -> None:
    assert detail_of(400, "sk-1234567890") == "http_400"
    assert not PLAIN_CODES & set(CODES)


def test_every_status_has_an_outcome_that_is_no_success() -> None:
    assert all(outcome_of(status) is not Outcome.SUCCESS for status in range(600) if status != 200)
    assert Outcome.SUCCESS not in {*CODES.values(), *STATUSES.values()}


@pytest.mark.parametrize(
    ("step", "outcomes"),
    [
        (Step.STOP, {Outcome.CONTENT_POLICY, Outcome.CANCELLED, Outcome.SUCCESS}),
        (
            Step.NEXT_KEY,
            {Outcome.INVALID_KEY, Outcome.QUOTA_EXHAUSTED, Outcome.MISSING_KEY,
                    Outcome.KEY_REVOKED, Outcome.UNSUPPORTED_SCOPE,
             Outcome.BUDGET_EXCEEDED, Outcome.RATE_LIMITED},
        ),
    ],
)  # fmt: skip
def test_policy(step: Step, outcomes: set[Outcome]) -> None:
    assert {outcome for outcome in Outcome if policy(outcome) is step} == outcomes


def test_billing_of_everything() -> None:
    for outcome in Outcome:
        for sent in (False, True):
            for answered in (False, True):
                expected = Billing.NOTHING if answered or not sent else Billing.UNKNOWN
                if outcome is Outcome.SUCCESS:
                    expected = Billing.COST
                assert billing(outcome, sent, answered) is expected
