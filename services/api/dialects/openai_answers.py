"""Answers in OpenAI's words that more than one of its routes gives: heads, usage, and the chunks of a stream."""

import json
from typing import Any

from services.api.dialects.openai_errors import problem
from services.api.dialects.receipt import model_of, receipt
from shared.errors import OmniError
from shared.messages.chat import DeltaV1, ToolCallDeltaV1
from shared.messages.router import InvokedV1, TokensV1

_DONE = b"data: [DONE]\n\n"
_WAITING = b": waiting\n\n"
# What else a provider may end with is no word of OpenAI's.
_REASONS = frozenset({"stop", "length", "tool_calls", "content_filter"})


def answer_head(prefix: str, call_id: str, kind: str, created: int, model: str) -> dict[str, Any]:
    """How every answer begins. ``id`` is made of the call's; ``created``: Unix seconds."""
    return {"id": f"{prefix}-{call_id.replace('-', '')}", "object": kind, "created": created, "model": model}


def whole_answer(prefix: str, kind: str, answer: InvokedV1, choice: dict[str, Any], created: int) -> str:
    """A whole answer with its one choice, as JSON."""
    view = answer_head(prefix, answer.call_id, kind, created, model_of(answer)) | {
        "choices": [choice],
        "usage": usage_view(answer.tokens),
        "omnipost": receipt(answer),
    }
    return json.dumps(view, ensure_ascii=False)


def finish_reason(answer: InvokedV1) -> str:
    """Why the answer ended; unknown reads as ``stop``, for there is no word for it."""
    return answer.finish_reason if answer.finish_reason in _REASONS else "stop"


def usage_view(tokens: TokensV1) -> dict[str, Any] | None:
    """Usage; None when it is unknown, for OpenAI's has no unknown numbers."""
    if tokens.input_tokens is None or tokens.output_tokens is None:
        return None
    return {
        "prompt_tokens": tokens.input_tokens,
        "completion_tokens": tokens.output_tokens,
        "total_tokens": tokens.input_tokens + tokens.output_tokens,
        "prompt_tokens_details": {"cached_tokens": tokens.cache_read_tokens or 0},
        "completion_tokens_details": {"reasoning_tokens": tokens.reasoning_tokens or 0},
    }


class ChunkWriter:
    """A stream of chunks. ``head``: their common fields; subclasses say what a choice is."""

    def __init__(self, head: dict[str, Any], *, include_usage: bool) -> None:
        self._head, self._include_usage = head, include_usage

    def begin(self) -> bytes:
        """See ``Writer.begin``."""
        return b""

    def waiting(self) -> bytes:
        """See ``Writer.waiting``."""
        return _WAITING

    def delta(self, delta: DeltaV1) -> bytes:
        """See ``Writer.delta``."""
        choice = self._choice(delta)
        return b"" if choice is None else self._chunk([choice])

    def end(self, answer: InvokedV1) -> bytes:
        """See ``Writer.end``. The last chunk has the member ``omnipost``, and who answered as its ``model``."""
        last = {"model": model_of(answer), "omnipost": receipt(answer)}
        ended = [self._ended(finish_reason(answer))]
        if not self._include_usage:
            return self._chunk(ended, **last) + _DONE
        return self._chunk(ended) + self._chunk([], usage=usage_view(answer.tokens), **last) + _DONE

    def failed(self, error: OmniError) -> bytes:
        """See ``Writer.failed``."""
        return _event(problem(error))

    def _chunk(self, choices: list[dict[str, Any]], **more: Any) -> bytes:  # noqa: ANN401 - JSON
        # Whoever asks for usage sees in every other chunk that it is not there yet.
        usage = {"usage": None} if self._include_usage else {}
        return _event({**self._head, "choices": choices, **usage, **more})

    def _choice(self, delta: DeltaV1) -> dict[str, Any] | None:
        raise NotImplementedError

    def _ended(self, reason: str) -> dict[str, Any]:
        raise NotImplementedError


class ChatWriter(ChunkWriter):
    """Chunks of a conversation's answer."""

    def begin(self) -> bytes:
        """See ``Writer.begin``."""
        return self._chunk([_chat_choice({"role": "assistant", "content": "", "refusal": None})])

    def _choice(self, delta: DeltaV1) -> dict[str, Any] | None:
        said: dict[str, Any] = {"content": delta.text} if delta.text else {}
        if delta.tool_calls:
            said["tool_calls"] = [_piece(call) for call in delta.tool_calls]
        return _chat_choice(said) if said else None

    def _ended(self, reason: str) -> dict[str, Any]:
        return _chat_choice({}) | {"finish_reason": reason}


class TextWriter(ChunkWriter):
    """Chunks of a completed text."""

    def _choice(self, delta: DeltaV1) -> dict[str, Any] | None:
        return text_choice(delta.text, None) if delta.text else None

    def _ended(self, reason: str) -> dict[str, Any]:
        return text_choice("", reason)


def text_choice(text: str, reason: str | None) -> dict[str, Any]:
    """The choice of a completed text, or of a piece of one (``reason`` None)."""
    return {"text": text, "index": 0, "logprobs": None, "finish_reason": reason}


def _chat_choice(delta: dict[str, Any]) -> dict[str, Any]:
    return {"index": 0, "delta": delta, "logprobs": None, "finish_reason": None}


def _piece(call: ToolCallDeltaV1) -> dict[str, Any]:
    piece: dict[str, Any] = {"index": call.index}
    if call.id is not None:
        piece |= {"id": call.id, "type": "function"}
    named = {} if call.name is None else {"name": call.name}
    return piece | {"function": {**named, "arguments": call.arguments}}


def _event(data: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(data, ensure_ascii=False).encode() + b"\n\n"
