"""Errors in OpenAI's shape, and whether a failed call may be sent again."""

import pytest

from services.api.dialects.openai_errors import problem
from services.api.domain.retrying import worth_retrying
from services.api.http.call_headers import answer_headers, failure_headers
from shared.errors import Code, OmniError, not_found, unavailable
from shared.messages.router import AttemptV1
from shared.messages.vocabulary import Outcome
from tests.unit.api.dialects.test_openai_answers import answer


def attempt(outcome: Outcome, status: int | None = None, detail: str | None = None) -> dict[str, object]:
    return AttemptV1(provider="p", model="m", outcome=outcome, status=status, detail=detail).public()


def failed(*attempts: dict[str, object], code: Code = Code.PROVIDER_ERROR, **extra: object) -> OmniError:
    return OmniError(code, "No.", extra={"attempts": list(attempts), "call_id": "c", **extra})


@pytest.mark.parametrize("code", Code)
def test_every_code_has_its_words(code: Code) -> None:
    error = problem(OmniError(code, "Do this.", extra={"reason": None, "alias_name": "a"}))["error"]
    assert (error["message"], error["omnipost"]) == ("Do this.", {"code": code.value, "alias_name": "a"})
    assert all(isinstance(error[name], str) for name in ("type", "code"))


def test_it_names_what_it_is_about() -> None:
    assert problem(OmniError(Code.INVALID_REQUEST, "", extra={"errors": [{"field": "n"}]}))["error"]["param"] == "n"
    assert problem(OmniError(Code.INVALID_REQUEST, "", extra={"option": "seed"}))["error"]["param"] == "seed"
    assert problem(not_found("workspace", workspace_id=7))["error"]["code"] == "not_found"
    assert problem(not_found("alias"))["error"] | {"omnipost": 0, "message": ""} == {
        "message": "", "type": "invalid_request_error", "param": "model", "code": "model_not_found", "omnipost": 0,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("error", "worth"),
    [
        (failed(attempt(Outcome.RATE_LIMITED, 429), code=Code.RATE_LIMITED), True),
        (failed(attempt(Outcome.PROVIDER_ERROR, 503)), True),
        (failed(attempt(Outcome.CONNECTION_ERROR, detail="connect_failed")), True),
        (failed(attempt(Outcome.TIMEOUT, detail="connect_timeout"), code=Code.TIMEOUT), True),
        (failed(attempt(Outcome.TIMEOUT, detail="first_byte_timeout"), code=Code.TIMEOUT), False),
        (failed(attempt(Outcome.TIMEOUT, 504), code=Code.TIMEOUT), True),
        (failed(attempt(Outcome.CONNECTION_ERROR, detail="connection_lost")), False),
        (failed(attempt(Outcome.BAD_RESPONSE, 200)), False),
        (failed(attempt(Outcome.RATE_LIMITED, 429), attempt(Outcome.BAD_RESPONSE, 200)), False),
        (failed(attempt(Outcome.PROVIDER_ERROR, 500), incomplete=True), False),
        (failed(attempt(Outcome.BUDGET_EXCEEDED), code=Code.BUDGET_EXCEEDED), False),
        (unavailable("The message bus is away; try again shortly."), True),
        (unavailable("No answer from the router; try again shortly.", carried_out="unknown"), False),
        (OmniError(Code.INTERNAL, "Something went wrong."), False),
        (OmniError(Code.RATE_LIMITED, "Too fast.", extra={"retry_after_s": 3}), True),
        (OmniError(Code.CONFLICT, "Another body."), False),
        (OmniError(Code.CONFLICT, "Still running.", extra={"retry_after_s": 1}), None),
        (OmniError(Code.INVALID_REQUEST, "No."), False),
    ],
)
def test_nothing_that_may_have_cost_something_is_asked_again(error: OmniError, worth: bool | None) -> None:  # noqa: FBT001
    assert worth_retrying(error) is worth
    said = failure_headers(error).get("x-should-retry")
    assert said == {True: "true", False: "false", None: None}[worth]


def test_headers_of_answers() -> None:
    headers = answer_headers(answer(model="models/x\r\nset-cookie: ä", fallback_reason=Outcome.TIMEOUT))
    assert headers["x-omnipost-model"] == "models/x%0D%0Aset-cookie:%20%C3%A4"
    assert (headers["x-omnipost-cost-usd"], headers["x-omnipost-fallback-reason"]) == ("0.000020", "timeout")
    assert "x-omnipost-cost-usd" not in answer_headers(answer(cost_usd_micros=None))
    told = failure_headers(failed(attempt(Outcome.RATE_LIMITED, 429), code=Code.RATE_LIMITED, retry_after_s=9))
    assert (told["Retry-After"], told["x-omnipost-call-id"], told["x-omnipost-attempts"]) == ("9", "c", "1")
