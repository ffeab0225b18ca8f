"""What a recorded answer says, read straight from the wire formats: the other opinion beside our adapters'."""

import base64
import json
import struct
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from shared.messages.vocabulary import Outcome
from tests.providers.conformance import own_streams
from tests.providers.conformance.material import Item
from tests.providers.conformance.troubles import trouble_in


@dataclass(frozen=True)
class Read:
    """A generation. ``tokens``: input, output, cache read, cache write, reasoning; None where nothing is told.

    ``calls``: name and arguments of each; a string is compared as it is, an object as JSON.
    """

    text: str
    finish: str
    tokens: tuple[int | None, ...]
    calls: tuple[tuple[str, Any], ...] = ()
    cost: int | None = None


@dataclass(frozen=True)
class Hand:
    """A generation as a person noted it: how its text begins and ends and how long it is, and the rest as in ``Read``.

    ``text`` is the whole text when ``length`` says so.
    """

    text: str
    length: int
    tokens: tuple[int | None, ...]
    finish: str = "stop"
    ends: str = ""
    calls: tuple[tuple[str, Any], ...] = ()
    cost: int | None = None


@dataclass(frozen=True)
class Trouble:
    """No answer to use. ``detail`` None: any reason of our own will do."""

    outcome: Outcome
    detail: str | None = None


@dataclass(frozen=True)
class Vectors:
    """Embeddings: how many of how many numbers, the first four numbers of the first, and the tokens of the input."""

    count: int
    size: int
    begins: tuple[float, ...]
    tokens: int | None


@dataclass(frozen=True)
class Waiting:
    """A prediction under way: its id, and where its stream is."""

    id: str
    stream: str | None


Reading = Read | Trouble | Vectors | Waiting
Expectation = Hand | Trouble | Vectors | Waiting
_SAID = dict.fromkeys(("nsfw", "safety", "sensitive", "content policy"), Outcome.CONTENT_POLICY) | dict.fromkeys(
    ("too long", "length exceeds"), Outcome.CONTEXT_LENGTH_EXCEEDED
)
_FINISH = {"stop": "stop", "length": "length", "tool_calls": "tool_calls", "model_length": "length"}


def reading(item: Item) -> Reading:
    """What the item's answer amounts to."""
    if item.answer.status >= 400:
        return Trouble(trouble_in(item.provider, item.answer.status, item.answer.body))
    if item.streams:
        return _of_stream(item)
    try:
        body = json.loads(item.answer.body)
    except ValueError:
        return Trouble(Outcome.BAD_RESPONSE, "not_json")
    if item.kind == "embedding":
        return _vectors(body)
    readers: dict[str, Callable[[dict[str, Any]], Reading]] = {
        "anthropic": anthropic,
        "google": gemini,
        "replicate": prediction,
    }
    return readers.get(item.provider, chat)(body)


def _of_stream(item: Item) -> Reading:
    """A stream is folded into the whole answer it stands for, and read as that."""
    folds: dict[str, Callable[[list[tuple[str, str]]], dict[str, Any]]] = {
        "anthropic": own_streams.anthropic,
        "google": own_streams.gemini,
        "replicate": own_streams.replicate,
    }
    readers = {"anthropic": anthropic, "google": gemini, "replicate": prediction}
    events = own_streams.events_in(item.answer.body.decode())
    folded = folds.get(item.provider, own_streams.chat)(events)
    if "broken" in folded:
        status, body = folded["broken"]
        return Trouble(trouble_in(item.provider, status, json.dumps(body).encode()))
    if "cut" in folded:
        return Trouble(Outcome.BAD_RESPONSE)
    return readers.get(item.provider, chat)(folded)


def chat(body: dict[str, Any]) -> Reading:
    """A ``chat.completion`` or ``text_completion``."""
    if body.get("error"):
        code = body["error"].get("code")
        status = code if isinstance(code, int) and 400 <= code < 600 else 500
        return Trouble(trouble_in("", status, json.dumps(body).encode()))
    choice = body["choices"][0]
    message, reason = choice.get("message", choice), choice.get("finish_reason")
    if message.get("refusal"):
        return Trouble(Outcome.CONTENT_POLICY, "refusal")
    if reason in {"content_filter", "sensitive"}:
        return Trouble(Outcome.CONTENT_POLICY, reason)
    calls = tuple((item["function"]["name"], item["function"]["arguments"]) for item in message.get("tool_calls") or [])
    text = _text(message.get("content", message.get("text")))
    if reason not in _FINISH or (text is None and not calls and reason != "length"):
        return Trouble(Outcome.BAD_RESPONSE)
    finish = "tool_calls" if calls and reason == "stop" else _FINISH[reason]
    usage = body.get("usage") or (body.get("x_groq") or {}).get("usage") or {}
    return Read(text or "", finish, _chat_tokens(usage), calls, _cost(usage))


def _text(content: Any) -> str | None:
    if not isinstance(content, list):
        return content if isinstance(content, str) else None
    return "".join(part["text"] for part in content if part.get("type") == "text")


def _chat_tokens(usage: dict[str, Any]) -> tuple[int | None, ...]:
    prompt, completion = usage.get("prompt_tokens_details") or {}, usage.get("completion_tokens_details") or {}
    return (
        usage.get("prompt_tokens"),
        usage.get("completion_tokens"),
        prompt.get("cached_tokens"),
        prompt.get("cache_write_tokens"),
        completion.get("reasoning_tokens"),
    )


def _cost(usage: dict[str, Any]) -> int | None:
    """Micro-dollars, rounded half up; of a caller's own key also what is paid to the provider behind."""
    if usage.get("cost") is None:
        return None
    extra = (usage.get("cost_details") or {}).get("upstream_inference_cost") if usage.get("is_byok") else 0
    return (
        None if extra is None else int((Decimal(str(usage["cost"])) + Decimal(str(extra))) * 1_000_000 + Decimal("0.5"))
    )


def anthropic(body: dict[str, Any]) -> Reading:
    """A ``message``."""
    reason = body["stop_reason"]
    if reason == "refusal":
        return Trouble(Outcome.CONTENT_POLICY, "refusal")
    if reason == "model_context_window_exceeded":
        return Trouble(Outcome.CONTEXT_LENGTH_EXCEEDED)
    finish = {"end_turn": "stop", "stop_sequence": "stop", "max_tokens": "length", "tool_use": "tool_calls"}.get(reason)
    if finish is None:
        return Trouble(Outcome.BAD_RESPONSE)
    usage = body["usage"]
    cached = usage.get("cache_read_input_tokens"), usage.get("cache_creation_input_tokens")
    given = usage["input_tokens"] + sum(count or 0 for count in cached)
    thought = (usage.get("output_tokens_details") or {}).get("thinking_tokens")
    calls = tuple((part["name"], part["input"]) for part in body["content"] if part["type"] == "tool_use")
    text = "".join(part["text"] for part in body["content"] if part["type"] == "text")
    return Read(text, finish, (given, usage["output_tokens"], *cached, thought), calls)


def gemini(body: dict[str, Any]) -> Reading:
    """A ``GenerateContentResponse``."""
    if (body.get("promptFeedback") or {}).get("blockReason"):
        return Trouble(Outcome.CONTENT_POLICY, "prompt_blocked")
    candidate = body["candidates"][0]
    reason = candidate.get("finishReason")
    if reason in {"SAFETY", "RECITATION", "LANGUAGE", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "IMAGE_SAFETY"}:
        return Trouble(Outcome.CONTENT_POLICY, reason.lower())
    parts = candidate.get("content", {}).get("parts", [])
    calls = tuple(
        (part["functionCall"]["name"], part["functionCall"].get("args", {})) for part in parts if "functionCall" in part
    )
    text = "".join(part["text"] for part in parts if "text" in part and not part.get("thought"))
    if reason not in {"STOP", "MAX_TOKENS"} or (reason == "STOP" and not calls and not text):
        return Trouble(Outcome.BAD_RESPONSE)
    usage = body.get("usageMetadata", {})
    given, thoughts = usage.get("promptTokenCount"), usage.get("thoughtsTokenCount")
    shown = usage.get("candidatesTokenCount")
    made = (shown or 0) + (thoughts or 0) if shown is not None or thoughts is not None else None
    if made is None and given is not None and usage.get("totalTokenCount") is not None:
        made = usage["totalTokenCount"] - given
    finish = "length" if reason == "MAX_TOKENS" else "tool_calls" if calls else "stop"
    return Read(text, finish, (given, made, usage.get("cachedContentTokenCount"), None, thoughts), calls)


def prediction(body: dict[str, Any]) -> Reading:
    """A prediction of Replicate, at any stage."""
    status = body.get("status")
    if status in {"starting", "processing"}:
        return Waiting(body["id"], body.get("urls", {}).get("stream"))
    if status != "succeeded":
        said = str(body.get("error") or "").lower()
        return Trouble(next((meaning for word, meaning in _SAID.items() if word in said), Outcome.PROVIDER_ERROR))
    output, metrics = body["output"], body.get("metrics") or {}
    text = "".join(output) if isinstance(output, list) else output
    counts = metrics.get("input_token_count"), metrics.get("output_token_count"), None, None, None
    return Read(text, "unknown", counts) if isinstance(text, str) else Trouble(Outcome.BAD_RESPONSE)


def _vectors(body: dict[str, Any]) -> Reading:
    told = body["data"] if "data" in body else body.get("embeddings", [body.get("embedding")])
    rows = [_numbers(row.get("embedding", row.get("values"))) for row in told]
    usage = body.get("usage") or {}
    given = usage.get("prompt_tokens", (body.get("usageMetadata") or {}).get("promptTokenCount"))
    return Vectors(len(rows), len(rows[0]), tuple(round(number, 5) for number in rows[0][:4]), given)


def _numbers(row: Any) -> list[float]:
    if isinstance(row, str):
        packed = base64.b64decode(row)
        return list(struct.unpack(f"<{len(packed) // 4}f", packed))
    return list(row)
