"""What a client does about an answer, a refusal or a broken connection; nothing is sent here."""

from typing import Any

import httpx2
import pytest

from omnipost.asking import Ask, path_of
from omnipost.errors import (
    AnswerLostError,
    BudgetExceededError,
    ConflictError,
    OmniPostError,
    UnavailableError,
    UnreachableError,
    error_of,
)
from omnipost.exchange import LONGEST_RUNNING_S, Result, Send, Steps, Wait, asked

TOKEN = "omni_0123456789abcdef"
GET = Ask[Any]("GET", "/ai-keys")
POST = Ask[Any]("POST", "/ai-invoke", body={"prompt": "x"})
DELETE = Ask[Any]("DELETE", "/ai-keys/1")
LOST, REFUSED = httpx2.ReadError("gone"), httpx2.ConnectError("refused")


def answer(status: int = 200, body: object = None, **headers: str) -> httpx2.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx2.Response(status, json=body, headers=named)


def problem(status: int, code: str, **headers: str) -> httpx2.Response:
    return answer(status, {"status": status, "code": code, "detail": "No."}, **headers)


def play(steps: Steps[Any], *results: Result) -> tuple[Any, list[Send], list[float]]:
    """What comes of it when ``results`` are what is answered: the answer or exception, what was sent, and pauses."""
    left, sent, pauses = list(results), [], []
    result: Result = None
    try:
        while True:
            step = steps.send(result)
            if isinstance(step, Wait):
                pauses.append(step.seconds)
                result = None
            else:
                sent.append(step)
                result = left.pop(0)
    except StopIteration as end:
        return end.value, sent, pauses
    except OmniPostError as error:
        return error, sent, pauses


def test_an_answer_is_its_json() -> None:
    found, sent, pauses = play(asked(GET, TOKEN, 2), answer(body={"status": "ready"}))
    assert found == {"status": "ready"}
    assert (len(sent), pauses) == (1, [])
    assert sent[0].headers["authorization"] == f"Bearer {TOKEN}"
    assert "idempotency-key" not in sent[0].headers


def test_a_list_is_all_its_pages() -> None:
    listed = Ask[Any]("GET", "/ai-keys", {"workspace_id": 1}, listed=True)
    pages = answer(body={"items": [1, 2], "next_cursor": "c"}), answer(body={"items": [3]})
    found, sent, _ = play(asked(listed, TOKEN, 0), *pages)
    assert found == [1, 2, 3]
    assert [send.query for send in sent] == [{"workspace_id": "1"}, {"workspace_id": "1", "cursor": "c"}]


@pytest.mark.parametrize("ask", [GET, POST, DELETE], ids=["GET", "POST", "DELETE"])
@pytest.mark.parametrize("trouble", [REFUSED, problem(503, "unavailable"), problem(429, "rate_limited")])
def test_what_was_certainly_not_done_is_asked_again(ask: Ask[Any], trouble: Result) -> None:
    found, sent, pauses = play(asked(ask, TOKEN, 2), trouble, trouble, answer(body=1))
    assert (found, len(sent)) == (1, 3)
    assert 0.25 <= pauses[0] <= 0.5
    assert 0.5 <= pauses[1] <= 1.0


@pytest.mark.parametrize(("ask", "again"), [(GET, True), (POST, True), (DELETE, False)])
def test_what_was_perhaps_done_only_where_that_cannot_do_it_twice(ask: Ask[Any], again: bool) -> None:  # noqa: FBT001
    found, sent, _ = play(asked(ask, TOKEN, 2), LOST, answer(body=1))
    assert len(sent) == (2 if again else 1)
    assert again or isinstance(found, AnswerLostError)


def test_repetitions_of_a_post_are_one_request() -> None:
    _, sent, _ = play(asked(POST, TOKEN, 2), LOST, REFUSED, answer(body=1))
    assert len({send.headers["idempotency-key"] for send in sent}) == 1
    other = play(asked(POST, TOKEN, 2), answer(body=1))[1]
    assert other[0].headers["idempotency-key"] != sent[0].headers["idempotency-key"]


def test_a_repetition_waits_for_the_first_request_to_end() -> None:
    running = problem(409, "conflict", retry_after="2")
    found, sent, pauses = play(asked(POST, TOKEN, 1), LOST, running, running, running, answer(body=1))
    assert (found, len(sent), pauses[1:]) == (1, 5, [2.0, 2.0, 2.0])
    endless = [problem(409, "conflict", retry_after="100")] * 10
    assert isinstance(play(asked(POST, TOKEN, 0), *endless)[0], ConflictError)
    assert sum(play(asked(POST, TOKEN, 0), *endless)[2]) == LONGEST_RUNNING_S
    assert len(play(asked(POST, TOKEN, 2), problem(409, "conflict"))[1]) == 1


def test_what_is_refused_is_not_asked_again() -> None:
    for status, code in ((402, "budget_exceeded"), (422, "invalid_request"), (401, "unauthorized"), (404, "not_found")):
        assert len(play(asked(GET, TOKEN, 2), problem(status, code))[1]) == 1
    assert len(play(asked(POST, TOKEN, 2), problem(502, "provider_error"))[1]) == 1
    forbidden = problem(503, "unavailable", x_should_retry="false")
    assert len(play(asked(POST, TOKEN, 2), forbidden)[1]) == 1


def test_retry_after_is_honoured_or_told() -> None:
    _, _, pauses = play(asked(GET, TOKEN, 1), problem(429, "rate_limited", retry_after="7"), answer(body=1))
    assert pauses == [7.0]
    found, sent, _ = play(asked(GET, TOKEN, 1), problem(429, "rate_limited", retry_after="3600"))
    assert (len(sent), found.retry_after) == (1, 3600.0)
    dated = problem(
        503, "unavailable", date="Mon, 23 Nov 2026 10:00:00 GMT", retry_after="Mon, 23 Nov 2026 10:00:09 GMT"
    )
    assert play(asked(GET, TOKEN, 1), dated, answer(body=1))[2] == [9.0]


def test_an_exception_has_what_helps() -> None:
    body = {"code": "budget_exceeded", "status": 402, "detail": "Budget reached.", "resets_at": "2026-12-01"}
    found, _, _ = play(asked(POST, TOKEN, 2), answer(402, body, x_request_id="r-1"))
    assert isinstance(found, BudgetExceededError)
    assert (str(found), found.code, found.status, found.request_id) == (
        "Budget reached.",
        "budget_exceeded",
        402,
        "r-1",
    )
    assert found.extra == {"resets_at": "2026-12-01"}


def test_strange_answers_are_errors_too() -> None:
    page = httpx2.Response(502, text="<html>nginx</html>")
    assert isinstance(play(asked(POST, TOKEN, 0), page)[0], UnavailableError)
    assert "not as OmniPost does" in str(play(asked(GET, TOKEN, 0), httpx2.Response(200, text="<html>"))[0])
    new = error_of({"code": "of_tomorrow", "detail": "New."}, status=418)
    assert (type(new), new.code) == (OmniPostError, "of_tomorrow")
    assert isinstance(play(asked(GET, TOKEN, 0), REFUSED)[0], UnreachableError)


def test_nothing_shows_the_token_or_the_body() -> None:
    steps = asked(Ask[Any]("POST", "/ai-keys", body={"api_key": "sk-secret-key"}), TOKEN, 2)
    _, sent, _ = play(steps, LOST, answer(body=1))
    shown = repr(sent) + repr(POST) + repr(Ask("POST", "/x", body={"api_key": "sk-secret-key"}))
    assert TOKEN not in shown
    assert "sk-secret-key" not in shown


def test_an_id_cannot_lead_elsewhere() -> None:
    assert path_of("ai-keys", "../ai-workspaces/1?x=#") == "/ai-keys/..%2Fai-workspaces%2F1%3Fx%3D%23"
    for nothing in ("", ".", ".."):
        with pytest.raises(ValueError, match="an id is missing"):
            path_of("ai-keys", nothing)
