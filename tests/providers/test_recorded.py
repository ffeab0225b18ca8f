"""Real bytes of real providers, through a real server on loopback, the client and the adapters."""

import json
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import pytest

from services.router.client import ProviderClient
from services.router.providers import PROVIDERS
from services.router.providers.base import Adapter, ChatAnswer, ChatRequest, Failure, HttpAnswer
from services.router.sending import Limits
from shared.messages.chat import ChatMessageV1, ChatOptionsV1
from shared.messages.vocabulary import Outcome
from shared.testing.upstream import Upstream
from tests.providers.recordings import InexpressibleError, Recording, canonical, express, recordings, source

KEY = "sk-recorded-canary-0123456789"
HELLO = ChatOptionsV1(max_tokens=16)

ANY = ChatRequest("stand-in", (ChatMessageV1(role="user", content="Hello!"),), HELLO)
# Part of the recording's name -> how it must end. Recordings not named here are judged by their status alone.
ENDINGS: dict[str, tuple[Outcome, str]] = {
    "context_len": (Outcome.CONTEXT_LENGTH_EXCEEDED, "context_length_exceeded"),
    "handles_invalid_api_keys": (Outcome.INVALID_KEY, "invalid_api_key"),
    "anthropic_claude-haiku-4-5_raises_appropriate_auth_error": (Outcome.INVALID_KEY, "authentication_error"),
    "gemini_gemini-2_5-flash_raises_appropriate_auth_error": (Outcome.INVALID_KEY, "API_KEY_INVALID"),
    "unknown-model": (Outcome.INVALID_REQUEST, "unknown_model"),
    "model_name_suggestion": (Outcome.INVALID_REQUEST, "unknown_model"),
    "test_embed_error": (Outcome.INVALID_REQUEST, "unknown_model"),
    "chat-bad-request": (Outcome.INVALID_REQUEST, "unsupported_parameter"),
    "chat-no-messages": (Outcome.INVALID_REQUEST, "empty_array"),
    "refused_completion": (Outcome.CONTENT_POLICY, "refusal"),
    "safety_settings": (Outcome.CONTENT_POLICY, "safety"),
    "test_text_response": (Outcome.BAD_RESPONSE, "not_json"),
    "quota": (Outcome.QUOTA_EXHAUSTED, "insufficient_quota"),
    "rate_limited": (Outcome.RATE_LIMITED, "RESOURCE_EXHAUSTED"),
    # Gemini answers an oversized request of a paid key with its per-minute quota, and says when to come back.
    "gemini_gemini-2_5-flash_handles_context": (Outcome.RATE_LIMITED, "RESOURCE_EXHAUSTED"),
}


@pytest.fixture(scope="module")
async def client() -> AsyncIterator[ProviderClient]:
    async with aclosing(ProviderClient(frozenset({"127.0.0.1"}))) as opened:
        yield opened


def _ids(items: list[Recording]) -> list[str]:
    return [f"{item.provider}-{item.exchange.name}" for item in items]


def _reason(recording: Recording) -> str | None:
    """Why the recorded request cannot be made by us; None when it can."""
    if recording.streams:
        return "streaming"
    if not recording.is_chat:
        return "not a chat"
    try:
        express(recording)
    except InexpressibleError as error:
        return str(error)
    return None


ALL = recordings()
WHOLE = [item for item in ALL if _reason(item) is None]
ANSWERS = [item for item in ALL if not item.streams and (item.is_chat or item.exchange.answer.status >= 400)]


def _adapter(recording: Recording) -> Adapter:
    adapter = PROVIDERS[recording.provider].adapter
    assert adapter is not None
    return adapter


async def _play(client: ProviderClient, recording: Recording, request: ChatRequest) -> tuple[Any, Any]:
    """Serve the recorded answer to ``request``: what arrived at the server, and what the adapter made of it."""
    adapter = _adapter(recording)
    async with Upstream() as upstream:
        upstream.always("POST", "*", recording.exchange.answer)
        prefix = "/v1" if recording.provider == "openai" else ""
        delivery = await client.send(
            upstream.base_url + prefix,
            adapter.chat.encode(request),
            adapter.auth(KEY),
            Limits(connect_s=5, first_byte_s=5, total_s=10),
        )
        assert delivery.sent
        assert isinstance(delivery.result, HttpAnswer)
        return upstream.requests[0], adapter.chat.decode(delivery.result)


@pytest.mark.parametrize("recording", WHOLE, ids=_ids(WHOLE))
async def test_request_and_answer_of_a_recorded_chat(client: ProviderClient, recording: Recording) -> None:
    received, result = await _play(client, recording, express(recording))
    path = recording.exchange.path
    assert received.method == recording.exchange.method
    assert received.path == (path if path.startswith("/v1") else "/v1/chat/completions")
    assert canonical(recording.provider, received.json) == canonical(recording.provider, recording.body)
    recorded_keys = {"openai": "authorization", "anthropic": "x-api-key", "google": "x-goog-api-key"}
    assert KEY in received.headers[recorded_keys[recording.provider]]
    assert KEY not in received.path
    _check(recording, result)


@pytest.mark.parametrize("recording", ANSWERS, ids=_ids(ANSWERS))
async def test_recorded_answer_to_any_request(client: ProviderClient, recording: Recording) -> None:
    # Answers to requests we cannot make yet (tools, images) are still answers we must not misread.
    _, result = await _play(client, recording, replace(ANY, model="stand-in"))
    _check(recording, result)


def _check(recording: Recording, result: ChatAnswer | Failure) -> None:
    name = f"{recording.provider}-{recording.exchange.name}"
    endings = [ending for part, ending in ENDINGS.items() if part in name]
    if endings:
        assert isinstance(result, Failure)
        assert (result.outcome, result.detail) == endings[-1]
        return
    if recording.exchange.answer.status >= 400:
        assert isinstance(result, Failure)
        assert result.outcome is Outcome.INVALID_REQUEST
        return
    text, finish, used = _READERS[recording.provider](json.loads(recording.exchange.answer.body))
    if text is None or finish is None:
        assert isinstance(result, Failure)
        assert result.outcome is Outcome.BAD_RESPONSE
        assert (result.tokens.input_tokens, result.tokens.output_tokens) == used
        return
    assert isinstance(result, ChatAnswer)
    assert (result.text, result.finish_reason) == (text, finish)
    assert (result.tokens.input_tokens, result.tokens.output_tokens) == used
    assert result.response_model


Reading = tuple[str | None, str | None, tuple[int, int]]


def _openai(body: dict[str, Any]) -> Reading:
    choice, usage = body["choices"][0], body["usage"]
    finish = choice["finish_reason"] if choice["finish_reason"] in {"stop", "length"} else None
    return choice["message"]["content"], finish, (usage["prompt_tokens"], usage["completion_tokens"])


def _anthropic(body: dict[str, Any]) -> Reading:
    usage = body["usage"]
    inputs = usage["input_tokens"] + usage["cache_creation_input_tokens"] + usage["cache_read_input_tokens"]
    text = "".join(block["text"] for block in body["content"] if block["type"] == "text")
    finish = {"end_turn": "stop", "max_tokens": "length"}.get(body["stop_reason"])
    return text, finish, (inputs, usage["output_tokens"])


def _gemini(body: dict[str, Any]) -> Reading:
    usage, candidate = body["usageMetadata"], body["candidates"][0]
    text = "".join(part["text"] for part in candidate["content"]["parts"] if "text" in part)
    output = usage["totalTokenCount"] - usage["promptTokenCount"]
    finish = {"STOP": "stop", "MAX_TOKENS": "length"}.get(candidate["finishReason"])
    return text or None, finish, (usage["promptTokenCount"], output)


_READERS = {"openai": _openai, "anthropic": _anthropic, "google": _gemini}


def test_what_was_replayed_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    skipped = [(item, reason) for item in ALL if (reason := _reason(item)) is not None]
    silent = [item for item, _ in skipped if item not in ANSWERS and not item.streams]
    streams = sum(item.streams for item, _ in skipped)
    with capsys.disabled():
        print(f"\nproviders: {source()}: {len(ALL)} exchanges; request and answer replayed: {len(WHOLE)};")
        print(f"providers: answers replayed: {len(ANSWERS)}; not expressible yet: {len(skipped)}")
        for item, reason in skipped:
            print(f"  not expressible yet: {item.provider} {item.exchange.name[:70]}: {reason}")
        print(f"providers: of these streaming: {streams}; neither replayed nor streaming: {len(silent)}")
    assert len(WHOLE) + len(skipped) == len(ALL)
    assert {item.provider for item in WHOLE} == {"openai", "anthropic", "google"}
    assert all(urlsplit(item.exchange.url).path.endswith("/completions") for item in silent)
