"""Streamed answers of Anthropic."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from services.router.providers.anthropic_answers import FINISH, TOO_LONG, fail, tokens_in
from services.router.providers.base import HttpAnswer, at, text_at
from services.router.providers.chunks import MALFORMED, broken_by
from services.router.providers.events import (
    Broken,
    Done,
    Ended,
    Event,
    Named,
    Refused,
    Text,
    Thinking,
    Told,
    ToolPiece,
)
from services.router.providers.tool_calls import arguments_text
from shared.messages.vocabulary import Outcome

# An error inside a stream has no status: the one its type comes with elsewhere.
_STATUSES: Mapping[str, int] = {
    "invalid_request_error": 400, "authentication_error": 401, "billing_error": 402, "permission_error": 403,
    "not_found_error": 404, "request_too_large": 413, "rate_limit_error": 429, "timeout_error": 504,
    "overloaded_error": 529,
}  # fmt: skip


def events(body: dict[str, Any]) -> Iterator[Event]:
    """What one event of a stream says. Pings and kinds nobody knows yet say nothing."""
    match body.get("type"):
        case "message_start":
            yield Named(text_at(body, "message", "model"), text_at(body, "message", "id"))
            # Its count of the output is that of the first moment, not of the answer.
            yield Told(tokens_in(at(body, "message")).model_copy(update={"output_tokens": None}))
        case "content_block_start":
            yield from _block(body.get("index"), at(body, "content_block"))
        case "content_block_delta":
            yield from _delta(body.get("index"), at(body, "delta"))
        case "message_delta":
            yield Told(tokens_in(body))
            yield from _end(text_at(body, "delta", "stop_reason"))
        case "message_stop":
            yield Done()
        case "error":
            status = _STATUSES.get(text_at(body, "error", "type") or "", 500)
            yield broken_by(fail(HttpAnswer(status, {}, json.dumps(body).encode())))


def _block(index: object, block: object) -> Iterator[Event]:
    match at(block, "type"):
        case "text":
            yield _text(at(block, "text"))
        case "tool_use" if isinstance(index, int):
            yield _call(index, block)
        case "thinking" | "redacted_thinking":
            yield Thinking()


def _delta(index: object, delta: object) -> Iterator[Event]:
    match at(delta, "type"):
        case "text_delta":
            yield _text(at(delta, "text"))
        case "input_json_delta" if isinstance(index, int):
            piece = at(delta, "partial_json")
            yield ToolPiece(index, arguments=piece) if isinstance(piece, str) else MALFORMED
        case "thinking_delta" | "signature_delta":
            yield Thinking()


def _text(piece: object) -> Event:
    return Text(piece) if isinstance(piece, str) else MALFORMED


def _call(index: int, block: object) -> Event:
    id_, name, given = text_at(block, "id"), text_at(block, "name"), at(block, "input")
    if id_ is None or name is None:
        return Broken(Outcome.BAD_RESPONSE, "bad_tool_call")
    return ToolPiece(index, id_, name, arguments_text(given) if given else "")


def _end(reason: str | None) -> Iterator[Event]:
    if reason == "refusal":
        yield Refused(reason)
    elif reason == TOO_LONG:
        yield Refused(reason, Outcome.CONTEXT_LENGTH_EXCEEDED)
    elif finish := FINISH.get(reason or ""):
        yield Ended(finish)
