"""Whole answers of Anthropic, and its errors."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from services.router.providers.answers import bad_response, failure_of, generated, refused
from services.router.providers.base import (
    ChatAnswer,
    Failure,
    HttpAnswer,
    at,
    count_at,
    json_of,
    text_at,
)
from services.router.providers.chunks import is_unicode
from services.router.providers.tool_calls import MOST_CALLS, arguments_text
from shared.messages.chat import ToolCallV1
from shared.messages.router import TokensV1
from shared.messages.vocabulary import Outcome

FINISH: Mapping[str, str] = {
    "end_turn": "stop", "stop_sequence": "stop", "max_tokens": "length", "tool_use": "tool_calls",
}  # fmt: skip
TOO_LONG = "model_context_window_exceeded"
# What Anthropic says only in words, under ``invalid_request_error``.
_SAYINGS: Mapping[str, tuple[Outcome, str]] = {
    "prompt is too long": (Outcome.CONTEXT_LENGTH_EXCEEDED, "context_length_exceeded"),
    "exceed context limit": (Outcome.CONTEXT_LENGTH_EXCEEDED, "context_length_exceeded"),
    "credit balance is too low": (Outcome.QUOTA_EXHAUSTED, "credit_balance_too_low"),
    "does not support assistant message prefill": (Outcome.INVALID_REQUEST, "prefill_not_supported"),
}


def read(answer: HttpAnswer, body: dict[str, Any]) -> ChatAnswer | Failure:
    """The joined text blocks and the tool calls; thinking is left out."""
    tokens, reason, content = tokens_in(body), text_at(body, "stop_reason"), at(body, "content")
    if reason == "refusal":
        return refused(answer, reason, tokens)
    if reason == TOO_LONG:
        return bad_response(answer, reason, tokens, Outcome.CONTEXT_LENGTH_EXCEEDED)
    calls = _calls(content)
    if calls is None:
        return bad_response(answer, "bad_tool_call", tokens)
    if calls and not is_unicode(body, answer.body.decode(errors="replace")):
        return bad_response(answer, "not_unicode", tokens)
    finish = None if reason == "tool_use" and not calls else FINISH.get(reason or "")
    model, id_ = text_at(body, "model"), at(body, "id")
    made = generated(answer, tokens, finish=finish, text=_text(content), model=model, id_=id_)
    return replace(made, tool_calls=calls) if isinstance(made, ChatAnswer) else made


def _text(content: object) -> str | None:
    if not isinstance(content, list):
        return None
    parts = [at(part, "text") for part in content if at(part, "type") == "text"]
    return "".join(parts) if all(isinstance(part, str) for part in parts) else None


def _calls(content: object) -> tuple[ToolCallV1, ...] | None:
    blocks = [part for part in content if at(part, "type") == "tool_use"] if isinstance(content, list) else []
    told = [(text_at(part, "id"), text_at(part, "name"), at(part, "input")) for part in blocks]
    calls = [
        ToolCallV1(id=id_, name=name, arguments=arguments_text(given))
        for id_, name, given in told
        if id_ and name and isinstance(given, dict)
    ]
    return tuple(calls) if len(calls) == len(blocks) <= MOST_CALLS else None


def tokens_in(body: object) -> TokensV1:
    """Usage, with the cached input that Anthropic counts apart added to the input."""
    uncached = count_at(body, "usage", "input_tokens")
    read_, written = (count_at(body, "usage", f"cache_{kind}_input_tokens") for kind in ("read", "creation"))
    return TokensV1(
        input_tokens=None if uncached is None else uncached + (read_ or 0) + (written or 0),
        output_tokens=count_at(body, "usage", "output_tokens"),
        cache_read_tokens=read_,
        cache_write_tokens=written,
        reasoning_tokens=count_at(body, "usage", "output_tokens_details", "thinking_tokens"),
    )


def fail(answer: HttpAnswer) -> Failure:
    """The failure in an error answer, by its ``type``; some things Anthropic says only in words."""
    body = json_of(answer)
    failure = failure_of(answer, text_at(body, "error", "type"))
    said = text_at(body, "error", "message", longest=2000) or ""
    meaning = next((value for words, value in _SAYINGS.items() if words in said), None)
    if answer.status != 400 or meaning is None:
        return failure
    return replace(failure, outcome=meaning[0], detail=meaning[1])
