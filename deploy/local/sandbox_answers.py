"""What the sandbox's models say, in OpenAI's wire format. Pure functions of the request.

A model repeats what it was told, labelled as simulated. Given tools it calls one, given a schema it fills it in, and an
answer of its own that stands unfinished in the conversation it goes on with.
"""

import base64
import hashlib
import itertools
import json
import re
import struct
from collections.abc import Mapping, Sequence
from typing import Any

DIMENSIONS = 8
MOST_DIMENSIONS = 3072
_LABEL = "[simulated] You said: "
_PIECE = re.compile(r"\s*\S+")
_numbers = itertools.count(1)


def completion(model: str, request: Mapping[str, Any]) -> dict[str, Any]:
    """The whole answer of a model.

    Raises:
        ValueError, LookupError, TypeError, AttributeError: this is no request.
    """
    pieces, calls, asked, reason = _said(request)
    message: dict[str, Any] = {"role": "assistant", "content": "".join(pieces) or None, "refusal": None}
    if calls:
        message["tool_calls"] = calls
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": reason}
    return {**_head(model, "chat.completion"), "choices": [choice], "usage": _usage(asked, pieces, calls)}


def stream(model: str, request: Mapping[str, Any]) -> bytes:
    """The same as server-sent events, a word in each. Raises as ``completion``."""
    pieces, calls, asked, reason = _said(request)
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
    deltas += [{"content": piece} for piece in pieces]
    for index, call in enumerate(calls):
        begun = {**call, "function": {"name": call["function"]["name"], "arguments": ""}}
        deltas.append({"tool_calls": [{"index": index, **begun}]})
        deltas += [
            {"tool_calls": [{"index": index, "function": {"arguments": piece}}]}
            for piece in _PIECE.findall(call["function"]["arguments"])
        ]
    choices: list[list[dict[str, Any]]] = [[{"index": 0, "delta": delta, "finish_reason": None}] for delta in deltas]
    choices.append([{"index": 0, "delta": {}, "finish_reason": reason}])
    head = _head(model, "chat.completion.chunk")
    chunks = [{**head, "choices": choice} for choice in choices]
    chunks.append({**head, "choices": [], "usage": _usage(asked, pieces, calls)})
    return b"".join(b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in chunks) + b"data: [DONE]\n\n"


def embeddings(model: str, request: Mapping[str, Any]) -> dict[str, Any]:
    """A vector of length 1 for every text, always the same one for the same text. Raises as ``completion``."""
    texts = [request["input"]] if isinstance(request["input"], str) else list(request["input"])
    packed, size = request.get("encoding_format") == "base64", int(request.get("dimensions") or DIMENSIONS)
    if not 1 <= size <= MOST_DIMENSIONS:
        raise ValueError
    vectors = [_vector(text, size) for text in texts]
    shown = [base64.b64encode(struct.pack(f"<{size}f", *vector)).decode() if packed else vector for vector in vectors]
    data = [{"object": "embedding", "index": index, "embedding": vector} for index, vector in enumerate(shown)]
    asked = sum(len(text.split()) for text in texts)
    return {"object": "list", "data": data, "model": model, "usage": {"prompt_tokens": asked, "total_tokens": asked}}


def _said(request: Mapping[str, Any]) -> tuple[list[str], list[dict[str, Any]], int, str]:
    """The words, the tool calls, how many words were asked, and why the answer ends."""
    messages: Sequence[Mapping[str, Any]] = request["messages"]
    texts = [_text(message.get("content")) for message in messages]
    asked, echo = sum(len(text.split()) for text in texts), _LABEL + texts[-1]
    if request.get("tools") and request.get("tool_choice") != "none" and messages[-1]["role"] == "user":
        return [], [_call(request["tools"], echo)], asked, "tool_calls"
    kind = request.get("response_format") or {}
    if kind.get("type") in ("json_schema", "json_object"):
        schema = kind.get("json_schema", {}).get("schema") or {"type": "object", "properties": {"said": {}}}
        text = json.dumps(_example(schema, echo))
    else:
        text = _rest(messages, texts) or echo
    pieces = _PIECE.findall(text)
    limit = int(request.get("max_completion_tokens") or request.get("max_tokens") or len(pieces))
    return pieces[:limit], [], asked, "length" if len(pieces) > limit else "stop"


def _rest(messages: Sequence[Mapping[str, Any]], texts: Sequence[str]) -> str:
    """What is missing of the last answer that was given; nothing when it is whole."""
    given = [at for at, message in enumerate(messages) if message["role"] == "assistant" and at > 0]
    whole = (_LABEL + texts[given[-1] - 1]).rstrip() if given else ""
    return whole.removeprefix(texts[given[-1]]) if given and whole.startswith(texts[given[-1]]) else ""


def _call(tools: Sequence[Mapping[str, Any]], text: str) -> dict[str, Any]:
    function = tools[0]["function"]
    arguments = json.dumps(_example(function.get("parameters") or {"type": "object"}, text))
    made = {"name": function["name"], "arguments": arguments}
    return {"id": f"call_sandbox_{next(_numbers)}", "type": "function", "function": made}


def _example(schema: Mapping[str, Any], text: str) -> Any:  # noqa: ANN401 - JSON
    """A value that fits ``schema`` as far as its plain words go; ``text`` wherever it asks for one."""
    kind = schema.get("type", "string")
    if schema.get("enum"):
        return schema["enum"][0]
    if kind == "object":
        return {name: _example(inner, text) for name, inner in schema.get("properties", {}).items()}
    if kind == "array":
        return [_example(schema.get("items", {}), text)]
    return {"integer": 1, "number": 1.5, "boolean": True, "null": None}.get(str(kind), text)


def _vector(text: str, size: int) -> list[float]:
    raw = hashlib.shake_128(text.encode()).digest(2 * size)
    numbers = [value / 32768 + 1 / 65536 for value in struct.unpack(f"<{size}h", raw)]
    length = sum(number * number for number in numbers) ** 0.5
    return [number / length for number in numbers]


def _text(content: object) -> str:
    if isinstance(content, list):
        return " ".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return "" if content is None else str(content)


def _head(model: str, kind: str) -> dict[str, Any]:
    return {"id": f"chatcmpl-sandbox-{next(_numbers)}", "object": kind, "created": 0, "model": model}


def _usage(asked: int, pieces: Sequence[str], calls: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    spoken = len(pieces) + sum(len(_PIECE.findall(call["function"]["arguments"])) for call in calls)
    return {"prompt_tokens": asked, "completion_tokens": spoken, "total_tokens": asked + spoken}
