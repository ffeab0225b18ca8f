"""Anthropic's and Google's dialects at their edges: what is no success, what is refused, what errors mean."""

from typing import Any

import pytest

from services.router.domain.outcome import Step, policy
from services.router.providers import PROVIDERS
from services.router.providers.base import ChatAnswer, ChatRequest, Failure, HttpAnswer, Unfit, billing_of
from shared.messages.vocabulary import Billing, Outcome
from tests.providers.dialects import SYSTEM, USER, answer, request, sent

ADAPTERS = {name: adapter for name in ("anthropic", "google") if (adapter := PROVIDERS[name].adapter)}


def test_every_option_reaches_every_provider_that_understands_it() -> None:
    given: dict[str, Any] = {"temperature": 0.5, "top_p": 0.9, "stop": ("a", "b"), "seed": 3}
    assert "seed" not in ADAPTERS["anthropic"].chat.options
    assert sent(ADAPTERS["anthropic"], request(**given)) == {
        "model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}],
        "temperature": 0.5, "top_p": 0.9, "stop_sequences": ["a", "b"],
    }  # fmt: skip
    assert sent(ADAPTERS["google"], request(**given))["generationConfig"] == {
        "maxOutputTokens": 9, "temperature": 0.5, "topP": 0.9, "stopSequences": ["a", "b"], "seed": 3,
    }  # fmt: skip


def test_system_messages_are_joined_where_the_dialect_has_one_place_for_them() -> None:
    made = request(SYSTEM, USER, SYSTEM)
    assert sent(ADAPTERS["anthropic"], made)["system"] == "Be kind.\n\nBe kind."
    assert sent(ADAPTERS["google"], made)["systemInstruction"] == {"parts": [{"text": "Be kind.\n\nBe kind."}]}


@pytest.mark.parametrize(
    ("name", "made", "reason"),
    [
        ("anthropic", request(temperature=1.01), "temperature_above_1"),
        ("anthropic", request(SYSTEM), "no_user_message"),
        ("google", request(SYSTEM), "no_user_message"),
    ],
)
def test_what_a_provider_cannot_take_is_known_before_sending(name: str, made: ChatRequest, reason: str) -> None:
    with pytest.raises(Unfit) as raised:
        ADAPTERS[name].chat.encode(made)
    assert raised.value.reason == reason


def test_gemini_model_names_are_escaped() -> None:
    path = ADAPTERS["google"].chat.encode(request(model="../a?b#c%d")).path
    assert path == "/v1beta/models/..%2Fa%3Fb%23c%25d:generateContent"


def _claude(content: Any, stop: Any = "end_turn") -> dict[str, Any]:
    return {"content": content, "stop_reason": stop, "usage": {"input_tokens": 5, "output_tokens": 2}}


def _gemini(parts: Any, finish: Any = "STOP") -> dict[str, Any]:
    usage = {"promptTokenCount": 5, "candidatesTokenCount": 2, "totalTokenCount": 7}
    return {"candidates": [{"content": {"parts": parts}, "finishReason": finish}], "usageMetadata": usage}


UNUSABLE: list[tuple[str, Any, Outcome, str]] = [
    ("anthropic", {}, Outcome.BAD_RESPONSE, "unfinished"),
    ("anthropic", _claude("Hi"), Outcome.BAD_RESPONSE, "no_text"),
    ("anthropic", _claude([{"type": "text"}]), Outcome.BAD_RESPONSE, "no_text"),
    ("anthropic", _claude([], "tool_use"), Outcome.BAD_RESPONSE, "unfinished"),
    ("anthropic", _claude([], "pause_turn"), Outcome.BAD_RESPONSE, "unfinished"),
    ("anthropic", _claude([], "refusal"), Outcome.CONTENT_POLICY, "refusal"),
    ("anthropic", _claude([], "model_context_window_exceeded"), Outcome.CONTEXT_LENGTH_EXCEEDED,
     "model_context_window_exceeded"),
    ("google", {}, Outcome.BAD_RESPONSE, "unfinished"),
    ("google", {"promptFeedback": {"blockReason": "SAFETY"}}, Outcome.CONTENT_POLICY, "prompt_blocked"),
    ("google", _gemini([], "PROHIBITED_CONTENT"), Outcome.CONTENT_POLICY, "prohibited_content"),
    ("google", _gemini([{"text": "Hi"}], "OTHER"), Outcome.BAD_RESPONSE, "unfinished"),
    ("google", _gemini([{"text": "Hi"}], None), Outcome.BAD_RESPONSE, "unfinished"),
    ("google", _gemini([]), Outcome.BAD_RESPONSE, "no_text"),
    ("google", _gemini([{"text": "Hm", "thought": True}]), Outcome.BAD_RESPONSE, "no_text"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "payload", "outcome", "detail"), UNUSABLE)
def test_a_200_that_is_no_success(name: str, payload: Any, outcome: Outcome, detail: str) -> None:
    result = ADAPTERS[name].chat.decode(answer(payload))
    assert isinstance(result, Failure)
    assert (result.outcome, result.detail, result.status) == (outcome, detail, 200)
    told = result.tokens.output_tokens is not None
    assert billing_of(result, sent=True) is (Billing.COST if told else Billing.UNKNOWN)


@pytest.mark.parametrize(
    ("name", "payload", "text"),
    [
        ("anthropic", _claude([{"type": "thinking", "thinking": "Hm"}, {"type": "text", "text": "Hi"}]), "Hi"),
        ("google", _gemini([{"text": "Hm", "thought": True}, {"text": "H"}, {"text": "i"}]), "Hi"),
        ("google", _gemini([], "MAX_TOKENS"), ""),
    ],
)
def test_texts(name: str, payload: Any, text: str) -> None:
    result = ADAPTERS[name].chat.decode(answer(payload))
    assert isinstance(result, ChatAnswer)
    assert result.text == text


ERRORS: list[tuple[str, HttpAnswer, Outcome, str, float | None]] = [
    ("anthropic", answer({"error": {"type": "overloaded_error"}}, 529), Outcome.PROVIDER_ERROR, "overloaded_error",
     None),
    ("anthropic", answer({"error": {"type": "timeout_error"}}, 504), Outcome.TIMEOUT, "timeout_error", None),
    ("anthropic", answer({"error": {"type": "billing_error"}}, 402), Outcome.QUOTA_EXHAUSTED, "billing_error", None),
    ("anthropic", answer({"error": {"type": "invalid_request_error", "message": "Your credit balance is too low to"}},
     400), Outcome.QUOTA_EXHAUSTED, "credit_balance_too_low", None),
    ("anthropic", answer({"error": {"type": "rate_limit_error"}}, 429, retry_after="3"), Outcome.RATE_LIMITED,
     "rate_limit_error", 3.0),
    ("google", answer({"error": {"status": "RESOURCE_EXHAUSTED", "details": [
        {"violations": [{"quotaId": "GenerateRequestsPerDayPerProjectPerModel-FreeTier"}]}, {"retryDelay": "9s"}]}},
     429), Outcome.QUOTA_EXHAUSTED, "RESOURCE_EXHAUSTED", 9.0),
    ("google", answer({"error": {"status": "RESOURCE_EXHAUSTED", "details": [
        {"violations": [{"quotaId": "GenerateRequestsPerMinute"}]}, {"retryDelay": "34.4s"}]}}, 429),
     Outcome.RATE_LIMITED, "RESOURCE_EXHAUSTED", 34.4),
    ("google", answer({"error": {"status": "RESOURCE_EXHAUSTED"}}, 429), Outcome.RATE_LIMITED, "RESOURCE_EXHAUSTED",
     None),
    ("google", answer({"error": {"status": "INVALID_ARGUMENT", "message":
     "The input token count (9) exceeds the maximum number of tokens allowed (8)."}}, 400),
     Outcome.CONTEXT_LENGTH_EXCEEDED, "context_length_exceeded", None),
    ("google", answer({"error": {"details": {"reason": 3}}}, 500), Outcome.PROVIDER_ERROR, "http_500", None),
    ("google", answer({"error": {"status": "DEADLINE_EXCEEDED"}}, 504), Outcome.TIMEOUT, "DEADLINE_EXCEEDED", None),
]  # fmt: skip


@pytest.mark.parametrize(("name", "given", "outcome", "detail", "wait"), ERRORS)
def test_errors(name: str, given: HttpAnswer, outcome: Outcome, detail: str, wait: float | None) -> None:
    result = ADAPTERS[name].chat.decode(given)
    assert isinstance(result, Failure)
    assert (result.outcome, result.detail, result.retry_after_s) == (outcome, detail, wait)
    assert billing_of(result, sent=True) is Billing.NOTHING
    assert (policy(result.outcome) is Step.STOP) == (outcome is Outcome.CONTENT_POLICY)
