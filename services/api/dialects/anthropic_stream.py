"""Streamed answers in Anthropic's dialect."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from services.api.dialects.anthropic_errors import failed_event
from services.api.dialects.foreign_calls import is_whole
from services.api.dialects.receipt import receipt
from shared.errors import OmniError
from shared.messages.chat import DeltaV1, ToolCallDeltaV1
from shared.messages.router import InvokedV1, TokensV1

_STOP_REASONS: Mapping[str, str] = {"length": "max_tokens", "tool_calls": "tool_use"}
_PING = b'event: ping\ndata: {"type": "ping"}\n\n'


def message_id(call_id: str) -> str:
    """The id of the answer that the call ``call_id`` gave."""
    return f"msg_{call_id.replace('-', '')}"


def stopped(finish_reason: str) -> dict[str, Any]:
    """Why an answer ended. A stop sequence cannot be told from an end: not every provider says which it was."""
    return {
        "stop_reason": _STOP_REASONS.get(finish_reason, "end_turn"),
        "stop_sequence": None,
        "stop_details": None,
        "container": None,
    }


def usage(tokens: TokensV1) -> dict[str, Any]:
    """Tokens as Anthropic counts them: what was read from or written to a cache is no ``input_tokens``.

    It has no word for an unknown number of those, which is 0 here.
    """
    read, written = tokens.cache_read_tokens, tokens.cache_write_tokens
    thinking = tokens.reasoning_tokens
    return {
        "input_tokens": max(0, (tokens.input_tokens or 0) - (read or 0) - (written or 0)),
        "output_tokens": tokens.output_tokens or 0,
        "cache_read_input_tokens": read,
        "cache_creation_input_tokens": written,
        "output_tokens_details": None if thinking is None else {"thinking_tokens": thinking},
        "server_tool_use": None,
    }


def whole_usage(tokens: TokensV1) -> dict[str, Any]:
    """``usage`` with the fields only a whole message has."""
    return {**usage(tokens), "cache_creation": None, "inference_geo": None, "service_tier": None}


class MessageWriter:
    """Writes one message as events. A block that has begun is stopped when the next begins, a call once it is whole."""

    def __init__(self, model: str, call_id: str) -> None:
        self._model, self._call_id = model, call_id
        self._blocks = 0
        self._text: int | None = None
        self._calls: dict[int, int] = {}
        self._arguments: dict[int, str] = {}

    def begin(self) -> bytes:
        """``message_start``: nothing is known yet but what was asked."""
        message: dict[str, Any] = {
            "id": message_id(self._call_id),
            "type": "message",
            "role": "assistant",
            "model": self._model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "stop_details": None,
            "container": None,
            "usage": whole_usage(TokensV1()),
        }
        return _event("message_start", message=message)

    def waiting(self) -> bytes:
        """``ping``."""
        return _PING

    def delta(self, delta: DeltaV1) -> bytes:
        """The events of a piece."""
        return b"".join(self._events(delta))

    def end(self, answer: InvokedV1) -> bytes:
        """What is still open is stopped; then ``message_delta`` and ``message_stop``."""
        last = _event(
            "message_delta",
            delta=stopped(answer.finish_reason),
            usage=usage(answer.tokens),
            omnipost=receipt(answer),
        )
        return b"".join((*self._stop_all(), last, _event("message_stop")))

    def failed(self, error: OmniError) -> bytes:
        """``error``."""
        return failed_event(error)

    def _events(self, delta: DeltaV1) -> Iterator[bytes]:
        if delta.text:
            if self._text is None:
                yield from self._stop_whole()
                self._text = self._blocks
                yield self._start({"type": "text", "text": "", "citations": None})
            yield _block_delta(self._text, {"type": "text_delta", "text": delta.text})
        for piece in delta.tool_calls:
            yield from self._piece(piece)

    def _piece(self, piece: ToolCallDeltaV1) -> Iterator[bytes]:
        if piece.index not in self._calls:
            yield from self._stop_whole()
            self._calls[piece.index] = self._blocks
            self._arguments[piece.index] = ""
            begun = {"type": "tool_use", "id": piece.id or "", "name": piece.name or "", "input": {}}
            yield self._start({**begun, "caller": {"type": "direct"}})
        if piece.arguments and piece.index in self._arguments:
            self._arguments[piece.index] += piece.arguments
            told = {"type": "input_json_delta", "partial_json": piece.arguments}
            yield _block_delta(self._calls[piece.index], told)

    def _start(self, block: dict[str, Any]) -> bytes:
        self._blocks += 1
        return _event("content_block_start", index=self._blocks - 1, content_block=block)

    def _stop_whole(self) -> Iterator[bytes]:
        # Providers may send the pieces of two calls in turns: one that is not whole yet stays open.
        yield from self._stop_text()
        for index in [index for index, told in self._arguments.items() if is_whole(told)]:
            yield self._stop_call(index)

    def _stop_all(self) -> Iterator[bytes]:
        yield from self._stop_text()
        for index in list(self._arguments):
            yield self._stop_call(index)

    def _stop_text(self) -> Iterator[bytes]:
        if self._text is not None:
            yield _event("content_block_stop", index=self._text)
            self._text = None

    def _stop_call(self, index: int) -> bytes:
        del self._arguments[index]
        return _event("content_block_stop", index=self._calls[index])


def _event(kind: str, **fields: Any) -> bytes:  # noqa: ANN401 - JSON
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields}, ensure_ascii=False)}\n\n".encode()


def _block_delta(index: int, delta: dict[str, Any]) -> bytes:
    return _event("content_block_delta", index=index, delta=delta)
