"""The chat-completions family at its edges: what is refused before sending, what is no success, what errors mean."""

from typing import Any

import pytest

from services.router.domain.outcome import Step, policy
from services.router.providers import OPENAI_COMPATIBLE, PROVIDERS, adapter_of, verification_of
from services.router.providers.base import ChatAnswer, Failure, HttpAnswer, Unfit, billing_of
from shared.messages.chat import ChatMessageV1, ChatOptionsV1
from shared.messages.router import TokensV1
from shared.messages.vocabulary import Billing, KeyStatus, Outcome
from tests.providers.dialects import SYSTEM, USER, answer, request, sent

ADAPTERS = {
    "compatible": OPENAI_COMPATIBLE,
    **{
        name: adapter
        for name in ("openai", "mistral", "groq", "zhipu", "openrouter")
        if (adapter := PROVIDERS[name].adapter)
    },
}


def test_every_option_reaches_every_provider_that_understands_it() -> None:
    given: dict[str, Any] = {"temperature": 0.5, "top_p": 0.9, "stop": ("a", "b"), "seed": 3}
    chat = {"model": "m", "messages": [{"role": "user", "content": "Hi"}], "temperature": 0.5, "top_p": 0.9,
            "stop": ["a", "b"], "seed": 3}  # fmt: skip
    assert sent(ADAPTERS["openai"], request(**given)) == chat | {"max_completion_tokens": 9}
    assert sent(ADAPTERS["compatible"], request(**given)) == chat | {"max_tokens": 9}


def test_system_messages_stay_where_they_stood() -> None:
    made = request(SYSTEM, USER, SYSTEM)
    assert [item["role"] for item in sent(ADAPTERS["openai"], made)["messages"]] == ["system", "user", "system"]


@pytest.mark.parametrize("name", ADAPTERS)
def test_half_a_surrogate_pair_is_known_before_sending(name: str) -> None:
    with pytest.raises(Unfit) as raised:
        ADAPTERS[name].chat.encode(request(ChatMessageV1.model_construct(role="user", content="\ud800")))
    assert raised.value.reason == "not_unicode"


def _chat(content: Any = "Hi", finish: Any = "stop", **message: Any) -> dict[str, Any]:
    return {
        "choices": [{"finish_reason": finish, "message": {"content": content, **message}}],
        "usage": {"prompt_tokens": 5, "completion_tokens": 2},
    }


UNUSABLE: list[tuple[str, Any, Outcome, str]] = [
    ("openai", {}, Outcome.BAD_RESPONSE, "unfinished"),
    ("openai", {"choices": []}, Outcome.BAD_RESPONSE, "unfinished"),
    ("openai", {"choices": {"0": 1}}, Outcome.BAD_RESPONSE, "unfinished"),
    ("openai", {"choices": ["x"]}, Outcome.BAD_RESPONSE, "unfinished"),
    ("openai", _chat(None), Outcome.BAD_RESPONSE, "no_text"),
    ("openai", _chat(7), Outcome.BAD_RESPONSE, "no_text"),
    ("openai", _chat(["Hi"]), Outcome.BAD_RESPONSE, "no_text"),
    ("openai", _chat("Hi", None), Outcome.BAD_RESPONSE, "unfinished"),
    ("openai", _chat("Hi", 3), Outcome.BAD_RESPONSE, "unfinished"),
    ("openai", _chat("Hi", "tool_calls"), Outcome.BAD_RESPONSE, "unfinished"),
    ("openai", _chat("Hi", "content_filter"), Outcome.CONTENT_POLICY, "content_filter"),
    ("openai", _chat(None, refusal="No."), Outcome.CONTENT_POLICY, "refusal"),
    ("openai", _chat(None, "tool_calls", tool_calls=[{"id": "a"}]), Outcome.BAD_RESPONSE, "bad_tool_call"),
    ("openai", _chat(None, "tool_calls", tool_calls=[{"function": {"name": "f", "arguments": "\ud83d"}}]),
     Outcome.BAD_RESPONSE, "not_unicode"),
    ("openai", _chat("\ud83d"), Outcome.BAD_RESPONSE, "not_unicode"),
    ("compatible", _chat("Hi", "network_error"), Outcome.PROVIDER_ERROR, "network_error"),
    ("mistral", _chat("Hi", "error"), Outcome.PROVIDER_ERROR, "error_in_answer"),
    ("mistral", _chat([{"type": "thinking", "thinking": []}]), Outcome.BAD_RESPONSE, "no_text"),
    ("zhipu", _chat("Hi", "sensitive"), Outcome.CONTENT_POLICY, "sensitive"),
    ("zhipu", _chat("Hi", "model_context_window_exceeded"), Outcome.CONTEXT_LENGTH_EXCEEDED,
     "model_context_window_exceeded"),
    ("zhipu", {"error": {"code": "1305", "message": "m"}}, Outcome.PROVIDER_ERROR, "server_error"),
    ("groq", _chat("Hi", None), Outcome.BAD_RESPONSE, "unfinished"),
    ("openrouter", {"error": {"code": 502}, "choices": [{"message": {"content": "H"}}]},
     Outcome.PROVIDER_ERROR, "http_502"),
    ("compatible", {"error": {"message": "oops"}}, Outcome.PROVIDER_ERROR, "error_in_answer"),
    ("compatible", {"error": {"code": "insufficient_quota"}}, Outcome.QUOTA_EXHAUSTED, "insufficient_quota"),
    ("compatible", _chat([{"type": "text", "text": 1}]), Outcome.BAD_RESPONSE, "no_text"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "payload", "outcome", "detail"), UNUSABLE)
def test_a_200_that_is_no_success(name: str, payload: Any, outcome: Outcome, detail: str) -> None:
    result = ADAPTERS[name].chat.decode(answer(payload))
    assert isinstance(result, Failure)
    assert (result.outcome, result.detail, result.status) == (outcome, detail, 200)
    told = result.tokens.output_tokens is not None
    assert billing_of(result, sent=True) is (Billing.COST if told else Billing.UNKNOWN)


@pytest.mark.parametrize("name", ADAPTERS)
@pytest.mark.parametrize("body", [b"", b"{", b"null", b"[1]", b'"x"', b"\xff\xfe", b"<html>", b"[" * 100_000])
def test_whatever_is_no_json_object_is_a_bad_response(name: str, body: bytes) -> None:
    result = ADAPTERS[name].chat.decode(answer(body))
    assert isinstance(result, Failure)
    assert (result.outcome, result.detail) == (Outcome.BAD_RESPONSE, "not_json")


@pytest.mark.parametrize(
    ("name", "payload", "text"),
    [
        ("openai", _chat(""), ""),
        ("openai", _chat(None, "length"), ""),
        ("compatible", _chat([{"type": "thinking"}, {"type": "text", "text": "Hi"}]), "Hi"),
        ("mistral", _chat([{"type": "thinking"}, {"type": "text", "text": "Hi"}], "model_length"), "Hi"),
        ("zhipu", _chat("Hi", reasoning_content="Hm"), "Hi"),
    ],
)
def test_texts(name: str, payload: Any, text: str) -> None:
    result = ADAPTERS[name].chat.decode(answer(payload))
    assert isinstance(result, ChatAnswer)
    assert result.text == text


def test_a_host_that_tells_nothing_but_the_text() -> None:
    result = OPENAI_COMPATIBLE.chat.decode(answer({"choices": [{"message": {"content": "Hi"}}]}))
    assert result == ChatAnswer("Hi", "unknown", TokensV1())
    assert billing_of(result, sent=True) is Billing.UNKNOWN


@pytest.mark.parametrize("count", [None, "5", -1, 5.5, True, 10**30, [5]])
def test_an_implausible_count_is_unknown(count: Any) -> None:
    payload = _chat() | {"usage": {"prompt_tokens": count, "completion_tokens": 2}}
    result = OPENAI_COMPATIBLE.chat.decode(answer(payload))
    assert isinstance(result, ChatAnswer)
    assert result.tokens == TokensV1(output_tokens=2)


ERRORS: list[tuple[str, HttpAnswer, Outcome, str, float | None]] = [
    ("openai", answer({"error": {"code": "insufficient_quota"}}, 429), Outcome.QUOTA_EXHAUSTED, "insufficient_quota",
     None),
    ("openai", answer({"error": {"code": None, "type": "insufficient_quota"}}, 429), Outcome.QUOTA_EXHAUSTED,
     "insufficient_quota", None),
    ("openai", answer({"error": {"code": "rate_limit_exceeded", "type": "tokens"}}, 429, retry_after="2"),
     Outcome.RATE_LIMITED, "rate_limit_exceeded", 2.0),
    ("openai", answer(b"", 429, retry_after_ms="150", retry_after="1"), Outcome.RATE_LIMITED, "http_429", 0.15),
    ("openai", answer(b"", 503, retry_after="Mon, 23 Nov 2026 10:00:30 GMT", date="Mon, 23 Nov 2026 10:00:00 GMT"),
     Outcome.PROVIDER_ERROR, "http_503", 30.0),
    ("openai", answer(b"", 503, retry_after="Mon, 23 Nov 2026 10:00:30 GMT"), Outcome.PROVIDER_ERROR, "http_503",
     None),
    ("openai", answer(b"", 503, retry_after="-5"), Outcome.PROVIDER_ERROR, "http_503", None),
    ("openai", answer(b"", 503, retry_after="nan"), Outcome.PROVIDER_ERROR, "http_503", None),
    ("openai", answer({"error": {"code": "sk-my-own-key"}}, 400), Outcome.INVALID_REQUEST, "http_400", None),
    ("openai", answer({"error": {"code": "moderation_blocked"}}, 400), Outcome.CONTENT_POLICY, "moderation_blocked",
     None),
    ("openai", answer({"error": "words"}, 402), Outcome.QUOTA_EXHAUSTED, "http_402", None),
    ("openai", answer({"error": []}, 403), Outcome.INVALID_KEY, "http_403", None),
    ("openai", answer({"error": {"message": "This model's maximum context length is 8 tokens."}}, 400),
     Outcome.CONTEXT_LENGTH_EXCEEDED, "context_length_exceeded", None),
    ("compatible", answer({"error": {"code": 400, "type": "exceed_context_size_error"}}, 400),
     Outcome.CONTEXT_LENGTH_EXCEEDED, "exceed_context_size_error", None),
    ("compatible", answer({"error": {"type": "exceeded_current_quota_error"}}, 429, retry_after="1"),
     Outcome.QUOTA_EXHAUSTED, "exceeded_current_quota_error", 1.0),
    ("compatible", answer({"error": "busy", "retry_after": 7}, 503), Outcome.PROVIDER_ERROR, "http_503", 7.0),
    ("compatible", answer({"error": {"message": "m", "retry_after": "2.5"}}, 429),
     Outcome.RATE_LIMITED, "http_429", 2.5),
    ("compatible", answer({"retry_after": True}, 429), Outcome.RATE_LIMITED, "http_429", None),
    ("compatible", answer({"retry_after": 10**400}, 429), Outcome.RATE_LIMITED, "http_429", 86_400.0),
    ("compatible", answer({"retry_after": 7}, 429, retry_after="3"), Outcome.RATE_LIMITED, "http_429", 3.0),
    ("mistral", answer({"object": "error", "message": "Rate limit exceeded", "type": "rate_limited", "code": "1300"},
     429), Outcome.RATE_LIMITED, "rate_limited", None),
    ("mistral", answer({"message": "Service tier capacity exceeded for this model.", "type": "invalid_request_error"},
     429), Outcome.PROVIDER_ERROR, "service_tier_capacity_exceeded", None),
    ("mistral", answer({"message": "Prompt contains 9 tokens, too large for model with 8 maximum context length",
     "type": "invalid_request_error"}, 400), Outcome.CONTEXT_LENGTH_EXCEEDED, "context_length_exceeded", None),
    ("mistral", answer({"message": "Invalid model: x", "type": "invalid_model", "code": "1500"}, 400),
     Outcome.INVALID_REQUEST, "unknown_model", None),
    ("mistral", answer({"detail": [{"loc": ["body"], "msg": "m"}]}, 422), Outcome.INVALID_REQUEST, "http_422", None),
    ("groq", answer({"error": {"type": "tokens", "code": "rate_limit_exceeded", "message": "Rate limit reached"}}, 429,
     retry_after="50"), Outcome.RATE_LIMITED, "rate_limit_exceeded", 50.0),
    ("groq", answer({"error": {"type": "tokens", "code": "rate_limit_exceeded",
     "message": "Request too large for model `m` on tokens per minute (TPM): Limit 6000, Requested 9000"}}, 413),
     Outcome.CONTEXT_LENGTH_EXCEEDED, "tokens_per_minute", None),
    ("groq", answer({"error": {"code": "tool_use_failed", "type": "invalid_request_error"}}, 400), Outcome.BAD_RESPONSE,
     "tool_use_failed", None),
    ("groq", answer({"error": {"code": "blocked_api_access"}}, 400),
     Outcome.QUOTA_EXHAUSTED, "blocked_api_access", None),
    ("groq", answer(b"", 498), Outcome.PROVIDER_ERROR, "http_498", None),
    ("zhipu", answer({"error": {"code": "1302"}}, 429), Outcome.RATE_LIMITED, "rate_limit_exceeded", None),
    ("zhipu", answer({"error": {"code": "1113"}}, 429), Outcome.QUOTA_EXHAUSTED, "insufficient_quota", None),
    ("zhipu", answer({"error": {"code": 1113}}, 429), Outcome.QUOTA_EXHAUSTED, "insufficient_quota", None),
    ("zhipu", answer({"error": {"code": "1305"}}, 429), Outcome.PROVIDER_ERROR, "server_error", None),
    ("zhipu", answer({"error": {"code": "1261"}}, 400),
     Outcome.CONTEXT_LENGTH_EXCEEDED, "context_length_exceeded", None),
    ("zhipu", answer({"error": {"code": "1301"}}, 400), Outcome.CONTENT_POLICY, "content_filter", None),
    ("zhipu", answer({"error": {"code": "1002"}}, 401), Outcome.INVALID_KEY, "invalid_api_key", None),
    ("zhipu", answer({"error": {"code": "1211"}}, 400), Outcome.INVALID_REQUEST, "unknown_model", None),
    ("openrouter", answer({"error": {"code": 402, "message": "Insufficient credits"}}, 402), Outcome.QUOTA_EXHAUSTED,
     "http_402", None),
    ("openrouter", answer({"error": {"code": 403, "message": "m requires moderation. Your input was flagged for x"}},
     403),
     Outcome.CONTENT_POLICY, "moderation_blocked", None),
    ("openrouter", answer({"error": {"code": 403, "message": "Key limit exceeded (total limit)."}}, 403),
     Outcome.QUOTA_EXHAUSTED, "insufficient_quota", None),
    ("openrouter", answer({"error": {"code": 429, "message": "Rate limit exceeded: free-models-per-day"}}, 429),
     Outcome.QUOTA_EXHAUSTED, "insufficient_quota", None),
    ("openrouter", answer({"error": {"code": 429, "message": "Provider returned error"}}, 429), Outcome.RATE_LIMITED,
     "http_429", None),
    ("openrouter", answer({"error": {"code": 524}}, 524), Outcome.TIMEOUT, "http_524", None),
    ("openrouter", answer({"error": {"code": 529}}, 529), Outcome.PROVIDER_ERROR, "http_529", None),
    ("openrouter", answer({"error": {"code": 429, "message": "m"}}), Outcome.RATE_LIMITED, "http_429", None),
]  # fmt: skip


@pytest.mark.parametrize(("name", "given", "outcome", "detail", "wait"), ERRORS)
def test_errors(name: str, given: HttpAnswer, outcome: Outcome, detail: str, wait: float | None) -> None:
    result = ADAPTERS[name].chat.decode(given)
    assert isinstance(result, Failure)
    assert (result.outcome, result.detail, result.retry_after_s) == (outcome, detail, wait)
    assert billing_of(result, sent=True) is Billing.NOTHING
    assert (policy(result.outcome) is Step.STOP) == (outcome is Outcome.CONTENT_POLICY)


@pytest.mark.parametrize("name", ADAPTERS)
@pytest.mark.parametrize(
    ("status", "payload", "verdict"),
    [
        (200, {"data": []}, (KeyStatus.ACTIVE, None)),
        (401, {}, (KeyStatus.INVALID, "refused_by_provider")),
        (403, {}, (KeyStatus.INVALID, "refused_by_provider")),
        (402, {}, (KeyStatus.UNVERIFIED, "quota_exhausted")),
        (429, {}, (KeyStatus.UNVERIFIED, "rate_limited")),
        (500, {}, (KeyStatus.UNVERIFIED, "provider_error")),
        (302, {}, (KeyStatus.UNVERIFIED, "bad_response")),
    ],
)
def test_verdicts(name: str, status: int, payload: Any, verdict: tuple[KeyStatus, str | None]) -> None:
    given = {"data": [], "models": []} if status == 200 else payload
    if name == "zhipu" and status in {200, 302}:
        verdict = (KeyStatus.UNVERIFIED, "not_verifiable")
    assert verification_of(name).judge(answer(given, status)) == verdict


def test_verdicts_of_one_provider() -> None:
    acme = verification_of("acme")
    assert acme.judge(answer({})) == (KeyStatus.ACTIVE, None)
    assert acme.judge(answer({}, 404)) == (KeyStatus.UNVERIFIED, "not_verifiable")
    assert acme.judge(answer({}, 405)) == (KeyStatus.UNVERIFIED, "not_verifiable")
    gemini = answer({"error": {"status": "INVALID_ARGUMENT", "details": [{"reason": "API_KEY_INVALID"}]}}, 400)
    assert verification_of("google").judge(gemini) == (KeyStatus.INVALID, "refused_by_provider")
    restricted = answer({"error": {"code": "missing_scope"}}, 403)
    assert verification_of("openai").judge(restricted) == (KeyStatus.UNVERIFIED, "missing_scope")


def test_every_adapter_is_complete() -> None:
    for name, adapter in ADAPTERS.items():
        assert any("canary" in value for value in adapter.auth("canary").values()), name
        assert adapter.chat.options <= set(ChatOptionsV1.model_fields)
        assert "max_tokens" in adapter.chat.options
    assert adapter_of("stability") is None
    assert adapter_of("acme") is OPENAI_COMPATIBLE
