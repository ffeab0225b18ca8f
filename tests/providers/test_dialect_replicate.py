"""Replicate's dialect: conversations as prompts, predictions at every stage, their streams."""

import json
from typing import Any

import pytest

from services.router.providers.base import ChatAnswer, ChatRequest, Failure, HttpRequest, Pending, Unfit
from services.router.providers.replicate import REPLICATE
from shared.messages.chat import ChatMessageV1, ImagePartV1, ToolCallV1
from shared.messages.router import TokensV1
from shared.messages.vocabulary import Outcome
from tests.providers.dialects import SYSTEM, USER, answer, request, sent, streamed

assert REPLICATE.adapter is not None
ADAPTER = REPLICATE.adapter
LLAMA, VERSION = "meta/meta-llama-3-8b-instruct", "0a1b" * 16
HELLO = ChatMessageV1(role="assistant", content="Hello!")
AGAIN = ChatMessageV1(role="user", content="Again?")
CANCEL = HttpRequest("POST", "/predictions/p1/cancel", {}, b"")


@pytest.mark.parametrize(
    ("model", "path", "version"),
    [
        (LLAMA, "/models/meta/meta-llama-3-8b-instruct/predictions", None),
        (VERSION, "/predictions", VERSION),
        (f"{LLAMA}:{VERSION}", "/predictions", VERSION),
    ],
)
def test_where_a_prediction_is_asked_for(model: str, path: str, version: str | None) -> None:
    made = ADAPTER.chat.encode(request(model=model))
    assert (made.method, made.path, made.headers["prefer"]) == ("POST", path, "wait=5")
    assert json.loads(made.body).get("version") == version
    following = ADAPTER.chat.encode(ChatRequest(model, (USER,), request().options, stream=True))
    assert "prefer" not in following.headers
    assert json.loads(following.body) == json.loads(made.body) | {"stream": True}


def test_options_and_the_system_prompt() -> None:
    options = {"temperature": 0.5, "top_p": 0.9, "stop": ("a", "b"), "seed": 3}
    made = request(SYSTEM, USER, model=LLAMA, **options, provider_options={"replicate": {"top_k": 5}})
    assert sent(ADAPTER, made)["input"] == {
        "prompt": "Hi", "system_prompt": "Be kind.", "max_tokens": 9, "max_new_tokens": 9, "temperature": 0.5,
        "top_p": 0.9, "stop_sequences": "a,b", "seed": 3, "top_k": 5,
    }  # fmt: skip


def test_a_longer_conversation_is_one_prompt() -> None:
    made = request(USER, HELLO, AGAIN, USER, model=LLAMA)
    assert sent(ADAPTER, made)["input"]["prompt"] == "[INST] Hi [/INST] Hello!\n[INST] Again? [/INST][INST] Hi [/INST]"


CALL = ChatMessageV1(role="assistant", tool_calls=(ToolCallV1(id="a", name="b", arguments="{}"),))
PICTURE = ChatMessageV1(role="user", content=(ImagePartV1(url="https://x.test/a.png"),))


@pytest.mark.parametrize(
    ("made", "reason"),
    [
        (request(model="gpt-4o"), "model_id"),
        (request(model="../x/y"), "model_id"),
        (request(model="owner/name:latest"), "model_id"),
        (request(PICTURE, model=LLAMA), "image"),
        (request(USER, CALL, AGAIN, model=LLAMA), "tools"),
        (request(SYSTEM, model=LLAMA), "no_user_message"),
        (request(USER, HELLO, model=LLAMA), "last_message"),
        (request(model=LLAMA, stop=("a,b",)), "stop"),
    ],
)
def test_what_replicate_has_no_word_for_is_refused_by_name(made: ChatRequest, reason: str) -> None:
    with pytest.raises(Unfit) as raised:
        ADAPTER.chat.encode(made)
    assert raised.value.reason == reason


def prediction(status: str, **fields: Any) -> dict[str, Any]:
    return {"id": "p1", "model": LLAMA, "status": status, "error": None, **fields}


@pytest.mark.parametrize(
    ("output", "text"), [(["\n", "Hé", "llo", ""], "\nHéllo"), ("Hello", "Hello"), ([], ""), ("", "")]
)
def test_a_finished_prediction(output: Any, text: str) -> None:
    metrics = {"predict_time": 1.5, "input_token_count": 7, "output_token_count": 2}
    result = ADAPTER.chat.decode(answer(prediction("succeeded", output=output, metrics=metrics), 201))
    assert result == ChatAnswer(text, "unknown", TokensV1(input_tokens=7, output_tokens=2), LLAMA, "p1")
    untold = ADAPTER.chat.decode(answer(prediction("succeeded", output=output, metrics={"predict_time": 1.5})))
    assert isinstance(untold, ChatAnswer)
    assert untold.tokens == TokensV1()


FAILED: list[tuple[dict[str, Any], Outcome, str]] = [
    (prediction("failed", error="CUDA out of memory"), Outcome.PROVIDER_ERROR, "prediction_failed"),
    (prediction("failed", error="NSFW content detected."), Outcome.CONTENT_POLICY, "content_policy"),
    (prediction("failed", error="Flagged as sensitive (E005)"), Outcome.CONTENT_POLICY, "content_policy"),
    (prediction("failed", error="Your input is too long. Max input length is 4096 tokens"),
     Outcome.CONTEXT_LENGTH_EXCEEDED, "context_length_exceeded"),
    (prediction("canceled"), Outcome.PROVIDER_ERROR, "prediction_canceled"),
    (prediction("aborted"), Outcome.PROVIDER_ERROR, "prediction_aborted"),
    (prediction("succeeded", output=None), Outcome.BAD_RESPONSE, "no_text"),
    (prediction("succeeded", output={"a": 1}), Outcome.BAD_RESPONSE, "no_text"),
    (prediction("succeeded", output=["a", 1]), Outcome.BAD_RESPONSE, "no_text"),
    (prediction("succeeded", output=["\ud800"]), Outcome.BAD_RESPONSE, "not_unicode"),
    (prediction("dreaming"), Outcome.BAD_RESPONSE, "unfinished"),
    (prediction("starting", id="../x"), Outcome.BAD_RESPONSE, "no_prediction_id"),
    (prediction("starting", id=None), Outcome.BAD_RESPONSE, "no_prediction_id"),
    ({}, Outcome.BAD_RESPONSE, "unfinished"),
]  # fmt: skip


@pytest.mark.parametrize(("body", "outcome", "detail"), FAILED)
def test_predictions_that_are_no_success(body: dict[str, Any], outcome: Outcome, detail: str) -> None:
    result = ADAPTER.chat.decode(answer(body))
    assert isinstance(result, Failure)
    assert (result.outcome, result.detail) == (outcome, detail)


@pytest.mark.parametrize(
    ("status", "body", "outcome", "detail", "wait_s"),
    [
        (401, {"title": "Unauthenticated", "status": 401}, Outcome.INVALID_KEY, "http_401", None),
        (402, {"title": "Insufficient credit"}, Outcome.QUOTA_EXHAUSTED, "http_402", None),
        (404, {"detail": "no such model"}, Outcome.INVALID_REQUEST, "unknown_model", None),
        (422, {"detail": "prompt is required"}, Outcome.INVALID_REQUEST, "http_422", None),
        (429, {"detail": "throttled", "retry_after": 5}, Outcome.RATE_LIMITED, "http_429", 5.0),
        (503, {}, Outcome.PROVIDER_ERROR, "http_503", None),
    ],
)
def test_errors(status: int, body: Any, outcome: Outcome, detail: str, wait_s: float | None) -> None:
    result = ADAPTER.chat.decode(answer(body, status))
    assert isinstance(result, Failure)
    assert (result.outcome, result.detail, result.retry_after_s) == (outcome, detail, wait_s)


@pytest.mark.parametrize(
    ("date", "pause_s"),
    [
        ("Mon, 23 Nov 2026 10:00:01 GMT", 0.5),
        ("Mon, 23 Nov 2026 10:00:20 GMT", 2.0),
        ("Mon, 23 Nov 2026 11:00:00 GMT", 5.0),
        ("Mon, 23 Nov 2026 09:00:00 GMT", 0.5),
        ("yesterday", 0.5),
    ],
)
def test_pauses_between_questions_grow_with_the_age_of_a_prediction(date: str, pause_s: float) -> None:
    body = prediction("processing", created_at="2026-11-23T10:00:00.000000001Z", output=["Hel"])
    result = ADAPTER.chat.decode(answer(body, date=date))
    assert isinstance(result, Pending)
    assert result.after_s == pytest.approx(pause_s)
    assert (result.request, result.cancel) == (HttpRequest("GET", "/predictions/p1", {}, b""), CANCEL)


HOME = "https://api.replicate.com/v1/predictions/p1"
STREAM = "https://stream.replicate.com/v1/files/abc"


def created(stream: str | None = STREAM, get: str = HOME, status: int = 201, **headers: str) -> Any:
    urls = {"get": get, **({} if stream is None else {"stream": stream})}
    return ADAPTER.chat.decode(answer(prediction("starting", urls=urls), status, **headers))


@pytest.mark.parametrize(
    ("stream", "get"),
    [
        (STREAM, HOME),
        ("https://streaming-api.svc.us.c.replicate.net/v1/predictions/p1", HOME),
        ("http://127.0.0.1:8080/stream/p1", "http://127.0.0.1:8080/v1/predictions/p1"),
    ],
)
def test_a_stream_is_followed_where_it_is(stream: str, get: str) -> None:
    result = created(stream, get)
    assert isinstance(result, Pending)
    assert (result.streams, result.elsewhere, result.after_s, result.cancel) == (True, stream, 0, CANCEL)
    assert result.request.headers == {"accept": "text/event-stream"}


@pytest.mark.parametrize(
    "stream",
    [
        None, "https://evil.test/s", "https://stream.replicate.com.evil.test/s", "https://evilreplicate.com/s",
        "http://stream.replicate.com/s", "https://x@stream.replicate.com/s", "https://stream.replicate.com:99999/s",
        "https://stream.replicate.com:8443/s", "file:///etc/passwd", "//stream.replicate.com/s", "",
    ],
)  # fmt: skip
def test_other_addresses_are_not_followed_but_the_prediction_is_polled(stream: str | None) -> None:
    result = created(stream)
    assert isinstance(result, Pending)
    assert (result.streams, result.elsewhere, result.request.path) == (False, None, "/predictions/p1")


def test_who_wants_the_whole_answer_polls() -> None:
    for result in (created(preference_applied="wait=5"), created(status=200)):
        assert isinstance(result, Pending)
        assert not result.streams


def said(name: str, data: str) -> str:
    return f"event: {name}\nid: 1:0\n" + "".join(f"data: {line}\n" for line in data.split("\n")) + "\n"


def test_a_stream() -> None:
    raw = said("output", "Once") + ": hi\n\n" + said("output", " upon\n\na") + said("logs", "x") + said("output", " 🌍")
    deltas, result = streamed(ADAPTER.chat, raw + said("done", "{}"))
    assert result == ChatAnswer("Once upon\n\na 🌍", "unknown", TokensV1())
    assert "".join(item.text for item in deltas) == "Once upon\n\na 🌍"
    _, cut = streamed(ADAPTER.chat, raw)
    assert isinstance(cut, Failure)
    assert (cut.outcome, cut.detail) == (Outcome.BAD_RESPONSE, "unfinished")


@pytest.mark.parametrize(
    ("raw", "outcome", "detail"),
    [
        (said("error", "CUDA error") + said("done", '{"reason": "error"}'), Outcome.PROVIDER_ERROR,
         "prediction_failed"),
        (said("error", '{"detail": "NSFW content"}'), Outcome.CONTENT_POLICY, "content_policy"),
        (said("output", "Hi") + said("done", '{"reason": "canceled"}'), Outcome.PROVIDER_ERROR, "prediction_canceled"),
        (said("output", "Hi") + said("done", '{"reason": "error"}'), Outcome.PROVIDER_ERROR, "prediction_failed"),
    ],
)  # fmt: skip
def test_streams_that_are_no_success(raw: str, outcome: Outcome, detail: str) -> None:
    _, result = streamed(ADAPTER.chat, raw)
    assert isinstance(result, Failure)
    assert (result.outcome, result.detail) == (outcome, detail)
