"""The bytes of streamed answers in three dialects, and what a request asks for."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

_HEAD = (
    "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncache-control: no-cache\r\nx-request-id: {}\r\n"
    "transfer-encoding: chunked\r\n\r\n"
)
_LAST_CHUNK = b"0\r\n\r\n"


@dataclass(frozen=True)
class Whole:
    """An HTTP answer. After ``enough`` bytes of it the text and the reason why it ended are told beyond doubt."""

    data: bytes
    enough: int


@dataclass(frozen=True)
class Asked:
    """A request. ``subject``: what its first user message says; ``said``: the answer it wants to be gone on with."""

    dialect: str
    subject: str
    said: str
    prefilled: bool


def asked(path: str, body: bytes) -> Asked:
    """What a request asks for."""
    request = json.loads(body)
    if path.startswith("/v1beta/"):
        turns = [(one["role"], _joined(one["parts"])) for one in request["contents"]]
        return _asked("google", turns)
    turns = [(one["role"], _joined(one["content"])) for one in request["messages"]]
    return _asked("anthropic" if path.startswith("/v1/messages") else "openai", turns)


def _joined(content: str | list[dict[str, Any]]) -> str:
    return content if isinstance(content, str) else "".join(part["text"] for part in content)


def _asked(dialect: str, turns: Sequence[tuple[str, str]]) -> Asked:
    subject = next(text for role, text in turns if role == "user")
    said = "".join(text for role, text in turns if role in ("assistant", "model"))
    return Asked(dialect, subject, said, prefilled=turns[-1][0] == "assistant")


def whole(dialect: str, pieces: Sequence[str], request_id: str) -> Whole:
    """The complete answer that says ``pieces``."""
    before, after = {"openai": _openai, "anthropic": _anthropic, "google": _google}[dialect](pieces)
    told = _HEAD.format(request_id).encode() + b"".join(map(_chunk, before))
    data = told + b"".join(map(_chunk, after)) + _LAST_CHUNK
    # Gemini has no mark of its own: only the regular end of its answer says that it is one. Of the others' last chunk
    # the line end belongs to HTTP.
    return Whole(data, len(data) if dialect == "google" else len(told) - len(b"\r\n"))


def begun(dialect: str, request_id: str) -> bytes:
    """The beginning of an answer."""
    return whole(dialect, (), request_id).data.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"


def piece(text: str) -> bytes:
    """One more piece of an answer in OpenAI's dialect."""
    return _chunk(_data(_choice({"content": text})))


Events = tuple[list[bytes], list[bytes]]
"""Those that tell the whole answer, and those that add nothing to it."""


def _openai(pieces: Iterable[str]) -> Events:
    said = [_data(_choice({"role": "assistant", "content": ""}))]
    said += [_data(_choice({"content": text})) for text in pieces]
    usage = {"prompt_tokens": 10, "completion_tokens": 20, "total_tokens": 30}
    last = {**_choice({}), "choices": [], "usage": usage}
    return [*said, _data(_choice({}, "stop"))], [_data(last), b"data: [DONE]\n\n"]


def _anthropic(pieces: Iterable[str]) -> Events:
    start = {"id": "msg_1", "model": "claude-haiku-4-5", "usage": {"input_tokens": 10, "output_tokens": 1}}
    end = {"delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 20}}
    deltas = [{"index": 0, "delta": {"type": "text_delta", "text": text}} for text in pieces]
    told = [
        _named("message_start", message=start),
        _named("content_block_start", index=0, content_block={"type": "text", "text": ""}),
        *(_named("content_block_delta", **delta) for delta in deltas),
        _named("content_block_stop", index=0),
        _named("message_delta", **end),
    ]
    return told, [_named("message_stop")]


def _google(pieces: Iterable[str]) -> Events:
    usage = {"promptTokenCount": 10, "candidatesTokenCount": 20, "totalTokenCount": 30}
    parts = [{"role": "model", "parts": [{"text": text}]} for text in (*pieces, "")]
    # Some of its models name the reason in every piece.
    said = [{"candidates": [{"content": part, "finishReason": "STOP"}], "usageMetadata": usage} for part in parts]
    return [_data(one) for one in said], []


def _choice(delta: dict[str, str], finish: str | None = None) -> dict[str, Any]:
    choices = [{"index": 0, "delta": delta, "finish_reason": finish}]
    return {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 0, "model": "m", "choices": choices}


def _named(name: str, **data: Any) -> bytes:
    return f"event: {name}\n".encode() + _data({"type": name, **data})


def _data(payload: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(payload, ensure_ascii=False).encode() + b"\n\n"


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)
