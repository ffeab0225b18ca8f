"""Streams folded into the whole answers they stand for, by a reader of events that shares nothing with ours."""

import json
from typing import Any

Events = list[tuple[str, str]]


def events_in(text: str) -> Events:
    """Name and data of every event of a whole stream."""
    found: Events = []
    for block in text.replace("\r\n", "\n").split("\n\n"):
        lines = [line for line in block.split("\n") if line and not line.startswith(":")]
        data = [line[5:].removeprefix(" ") for line in lines if line.startswith("data:")]
        name = next((line[6:].strip() for line in lines if line.startswith("event:")), "")
        if data:
            found.append((name, "\n".join(data)))
    return found


def chat(events: Events) -> dict[str, Any]:
    """Chunks of a ``chat.completion`` or ``text_completion``."""
    text: list[str] = []
    calls: dict[int, dict[str, str]] = {}
    whole: dict[str, Any] = {"usage": None}
    reason = refusal = None
    for name, data in events:
        if data.strip() == "[DONE]":
            continue
        chunk = json.loads(data)
        if name == "error" or chunk.get("error"):
            error = chunk.get("error") or chunk
            code = error.get("status_code") or error.get("code")
            return {"broken": (code if isinstance(code, int) else 500, chunk)}
        whole["usage"] = chunk.get("usage") or (chunk.get("x_groq") or {}).get("usage") or whole["usage"]
        for choice in chunk.get("choices", [])[:1]:
            delta = choice.get("delta", choice)
            text.append(_said(delta.get("content", delta.get("text"))))
            refusal = refusal or delta.get("refusal")
            for call in delta.get("tool_calls") or []:
                known = calls.setdefault(call["index"], {"name": "", "arguments": ""})
                known["name"] += call["function"].get("name") or ""
                known["arguments"] += call["function"].get("arguments") or ""
            reason = choice.get("finish_reason") or reason
    if reason is None:
        return {"cut": True}
    made = [{"function": calls[index]} for index in sorted(calls)]
    message = {"content": "".join(text), "tool_calls": made, "refusal": refusal}
    return whole | {"choices": [{"message": message, "finish_reason": reason}]}


def _said(content: Any) -> str:
    if isinstance(content, list):
        return "".join(part["text"] for part in content if part.get("type") == "text")
    return content or ""


def anthropic(events: Events) -> dict[str, Any]:
    """Events of a ``message``."""
    whole: dict[str, Any] = {}
    blocks: dict[int, dict[str, Any]] = {}
    over = False
    for _, data in events:
        event = json.loads(data)
        match event["type"]:
            case "message_start":
                whole = event["message"]
            case "content_block_start":
                blocks[event["index"]] = event["content_block"] | {"json": ""}
            case "content_block_delta":
                _grow(blocks[event["index"]], event["delta"])
            case "message_delta":
                whole |= event["delta"]
                told = {name: count for name, count in event["usage"].items() if count is not None}
                whole["usage"] = whole["usage"] | told
            case "message_stop":
                over = True
            case "error":
                kind = event["error"]["type"]
                return {"broken": ({"overloaded_error": 529, "rate_limit_error": 429}.get(kind, 500), event)}
    for block in blocks.values():
        if block["type"] == "tool_use" and block["json"]:
            block["input"] = json.loads(block["json"])
    return whole | {"content": [blocks[index] for index in sorted(blocks)]} if over else {"cut": True}


def _grow(block: dict[str, Any], delta: dict[str, Any]) -> None:
    if delta["type"] == "text_delta":
        block["text"] += delta["text"]
    elif delta["type"] == "input_json_delta":
        block["json"] += delta["partial_json"]


def gemini(events: Events) -> dict[str, Any]:
    """Pieces of a ``GenerateContentResponse``."""
    whole: dict[str, Any] = {}
    parts: list[Any] = []
    for _, data in events:
        chunk = json.loads(data)
        if "error" in chunk:
            return {"broken": (chunk["error"].get("code", 500), chunk)}
        for candidate in chunk.get("candidates", [])[:1]:
            parts += candidate.get("content", {}).get("parts", [])
            whole["finishReason"] = candidate.get("finishReason") or whole.get("finishReason")
        whole |= {name: chunk[name] for name in ("usageMetadata", "promptFeedback") if name in chunk}
    reason = whole.get("finishReason")
    if reason is None and "promptFeedback" not in whole:
        return {"cut": True}
    return whole | {"candidates": [{"content": {"parts": parts}, "finishReason": reason}]}


def replicate(events: Events) -> dict[str, Any]:
    """Events of a prediction."""
    if any(name == "error" for name, _ in events):
        said = next(data for name, data in events if name == "error")
        return {"status": "failed", "error": said}
    if not any(name == "done" for name, _ in events):
        return {"cut": True}
    return {"status": "succeeded", "output": [data for name, data in events if name == "output"]}
