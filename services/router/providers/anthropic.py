"""Anthropic: https://api.anthropic.com."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from services.router.providers.answers import bad_response, decode_by, failure_of, generated, judge_by, refused
from services.router.providers.base import (
    Adapter,
    ChatAnswer,
    ChatRequest,
    Dialect,
    Failure,
    HttpAnswer,
    HttpRequest,
    Provider,
    Unfit,
    Verification,
    at,
    count_at,
    json_body,
    json_of,
    text_at,
)
from shared.messages.router import TokensV1
from shared.messages.vocabulary import Capability, Outcome

VERSION = {"anthropic-version": "2023-06-01"}
_FINISH: Mapping[str, str] = {"end_turn": "stop", "stop_sequence": "stop", "max_tokens": "length"}
# What Anthropic says only in words, under ``invalid_request_error``.
_SAYINGS: Mapping[str, tuple[Outcome, str]] = {
    "prompt is too long": (Outcome.CONTEXT_LENGTH_EXCEEDED, "context_length_exceeded"),
    "exceed context limit": (Outcome.CONTEXT_LENGTH_EXCEEDED, "context_length_exceeded"),
    "credit balance is too low": (Outcome.QUOTA_EXHAUSTED, "credit_balance_too_low"),
}


def encode(request: ChatRequest) -> HttpRequest:
    """The request; system messages are joined, wherever they stood.

    Raises:
        Unfit: a temperature above 1, or nothing but system messages.
    """
    options = request.options
    if options.temperature is not None and options.temperature > 1:
        raise Unfit("temperature_above_1")
    turns = [item for item in request.messages if item.role != "system"]
    if not turns:
        raise Unfit("no_user_message")
    system = "\n\n".join(item.text for item in request.messages if item.role == "system")
    body: dict[str, Any] = {
        "model": request.model,
        "max_tokens": options.max_tokens,
        "messages": [{"role": item.role, "content": [{"type": "text", "text": item.text}]} for item in turns],
        "system": system or None,
        "temperature": options.temperature,
        "top_p": options.top_p,
        "stop_sequences": list(options.stop) if options.stop is not None else None,
    }
    given = {name: value for name, value in body.items() if value is not None}
    return HttpRequest("POST", "/v1/messages", {"content-type": "application/json", **VERSION}, json_body(given))


def read(answer: HttpAnswer, body: dict[str, Any]) -> ChatAnswer | Failure:
    """The joined text blocks; thinking is left out."""
    tokens, reason = tokens_in(body), text_at(body, "stop_reason")
    if reason == "refusal":
        return refused(answer, "refusal", tokens)
    if reason == "model_context_window_exceeded":
        return replace(bad_response(answer, reason, tokens), outcome=Outcome.CONTEXT_LENGTH_EXCEEDED)
    return generated(
        answer,
        tokens,
        finish=_FINISH.get(reason or ""),
        text=_text(at(body, "content")),
        model=text_at(body, "model"),
        id_=at(body, "id"),
    )


def _text(content: object) -> str | None:
    if not isinstance(content, list):
        return None
    parts = [at(part, "text") for part in content if at(part, "type") == "text"]
    return "".join(parts) if all(isinstance(part, str) for part in parts) else None


def tokens_in(body: dict[str, Any]) -> TokensV1:
    """Usage, with the cached input that Anthropic counts apart added to the input."""
    uncached = count_at(body, "usage", "input_tokens")
    read = count_at(body, "usage", "cache_read_input_tokens")
    written = count_at(body, "usage", "cache_creation_input_tokens")
    return TokensV1(
        input_tokens=None if uncached is None else uncached + (read or 0) + (written or 0),
        output_tokens=count_at(body, "usage", "output_tokens"),
        cache_read_tokens=read,
        cache_write_tokens=written,
    )


def fail(answer: HttpAnswer) -> Failure:
    """The failure in an error answer, by its ``type``; three things Anthropic says only in words."""
    body = json_of(answer)
    failure = failure_of(answer, text_at(body, "error", "type"))
    said = text_at(body, "error", "message", longest=2000) or ""
    meaning = next((value for words, value in _SAYINGS.items() if words in said), None)
    if answer.status != 400 or meaning is None:
        return failure
    return replace(failure, outcome=meaning[0], detail=meaning[1])


def auth(key: str) -> dict[str, str]:
    """The key, and the version without which nothing is answered."""
    return {"x-api-key": key, **VERSION}


ANTHROPIC = Provider(
    id="anthropic",
    name="Anthropic",
    base_url="https://api.anthropic.com",
    verification=Verification("/v1/models", auth, judge_by(fail, shows="data")),
    adapter=Adapter(
        chat=Dialect(
            encode=encode,
            decode=decode_by(read, fail),
            events=lambda _: (),
            options=frozenset({"max_tokens", "temperature", "top_p", "stop"}),
        ),
        auth=auth,
        fail=fail,
    ),
    capabilities=(Capability.CHAT,),
)
