"""The one table of exceptions (``EXCEPTIONS.md``): what may differ between a recorded request and ours."""

import re
from pathlib import Path
from typing import Any

from tests.providers.conformance.said import INJECTED

TABLE = (Path(__file__).parent / "EXCEPTIONS.md").read_text()
_TAKEN = {"mistral": re.compile(r"[A-Za-z0-9]{9}")}
_TAKEN_BY_ALL = re.compile(r"[A-Za-z0-9_-]{1,40}")
_OF_RESULTS = ("tool_call_id", "tool_use_id")
_LIMITS = ("max_tokens", "max_completion_tokens")


def chat(body: dict[str, Any]) -> dict[str, Any]:
    """A body in OpenAI's dialect with the exceptions ironed out."""
    same = {"stream": False, "n": 1, "echo": False, "best_of": 1, "tools": []}
    result = {key: value for key, value in body.items() if value is not None and same.get(key, ...) != value}
    limits = [result.pop(name) for name in _LIMITS if name in result]
    result["limit"] = limits[0] if limits else INJECTED
    result.pop("stream_options", None)
    if isinstance(result.get("stop"), str):
        result["stop"] = [result["stop"]]
    if "messages" in result:
        result["messages"] = [_message(item) for item in result["messages"]]
    return result


def embedding(body: dict[str, Any]) -> dict[str, Any]:
    """An embedding's body with the exceptions ironed out."""
    result = {key: value for key, value in body.items() if key != "encoding_format"}
    if isinstance(result.get("input"), str):
        result["input"] = [result["input"]]
    return result


def _message(item: dict[str, Any]) -> dict[str, Any]:
    same = {"prefix": False, "tool_calls": []}
    result = {key: value for key, value in item.items() if same.get(key, ...) != value}
    result["role"] = {"developer": "system"}.get(item["role"], item["role"])
    result["content"] = _flat(item.get("content"))
    if not result["content"] and result.get("tool_calls"):
        del result["content"]
    if "tool_calls" in result:
        result["tool_calls"] = [{key: call[key] for key in call if key != "index"} for call in result["tool_calls"]]
    return result


def _flat(content: Any) -> Any:
    only_text = isinstance(content, list) and all(set(part) == {"type", "text"} for part in content)
    return "".join(part["text"] for part in content) if only_text else content


def anthropic(body: dict[str, Any]) -> dict[str, Any]:
    """A body in Anthropic's dialect with the exceptions ironed out."""
    result = {key: value for key, value in body.items() if value is not None and (key, value) != ("stream", False)}
    result.setdefault("max_tokens", INJECTED)
    turns = [item | {"content": [_block(part) for part in _listed(item["content"])]} for item in result["messages"]]
    result["messages"] = _merged(turns, "content")
    if "system" in result:
        result["system"] = _flat(result["system"])
    return result


def _merged(turns: list[dict[str, Any]], parts: str) -> list[dict[str, Any]]:
    """The turns, those of one speaker in a row as one."""
    merged: list[dict[str, Any]] = []
    for turn in turns:
        if merged and merged[-1].get("role") == turn.get("role"):
            merged[-1] = merged[-1] | {parts: merged[-1][parts] + turn[parts]}
        else:
            merged.append(turn)
    return merged


def _listed(content: Any) -> list[dict[str, Any]]:
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def _block(part: dict[str, Any]) -> dict[str, Any]:
    if part["type"] != "tool_result":
        return part
    kept = {key: value for key, value in part.items() if (key, value) != ("is_error", False)}
    return kept | {"content": _flat(kept.get("content", ""))}


def camel(value: Any) -> Any:
    """Gemini's own field names in camel case; names inside schemas, arguments and results stay."""
    if isinstance(value, list):
        return [camel(item) for item in value]
    if not isinstance(value, dict):
        return value
    theirs = {"args", "response", "parameters", "parametersJsonSchema", "responseSchema", "responseJsonSchema"}
    named = {re.sub(r"_([a-z])", lambda found: found[1].upper(), key): item for key, item in value.items()}
    return {key: item if key in theirs else camel(item) for key, item in named.items()}


def gemini(body: dict[str, Any]) -> dict[str, Any]:
    """A body in Gemini's dialect with the exceptions ironed out."""
    result = camel(body)
    if "requests" in result:
        texts = [item | {"content": {"parts": item["content"]["parts"]}} for item in result["requests"]]
        return {"requests": texts}
    settings = dict(result.get("generationConfig") or {})
    if settings.get("responseModalities") == ["TEXT"]:
        del settings["responseModalities"]
    if "responseSchema" in settings:
        settings["responseJsonSchema"] = settings.pop("responseSchema")
    result["generationConfig"] = {"maxOutputTokens": INJECTED} | settings
    if "systemInstruction" in result:
        said = "".join(part["text"] for part in result["systemInstruction"]["parts"])
        result["systemInstruction"] = {"parts": [{"text": said}]}
    result["contents"] = _merged(result["contents"], "parts")
    for declared in [item for tool in result.get("tools", []) for item in tool.get("functionDeclarations", [])]:
        if "parametersJsonSchema" in declared:
            declared["parameters"] = declared.pop("parametersJsonSchema")
    for part in [part for turn in result["contents"] for part in turn["parts"]]:
        if part.get("thoughtSignature") == "skip_thought_signature_validator":
            del part["thoughtSignature"]
    return dict(result)


def replicate(body: dict[str, Any]) -> dict[str, Any]:
    """A prediction with the exceptions ironed out."""
    given = {key: value for key, value in body["input"].items() if key not in {"max_tokens", "max_new_tokens"}}
    limit = body["input"].get("max_tokens", body["input"].get("max_new_tokens", INJECTED))
    kept = {key: value for key, value in body.items() if (key, value) != ("stream", False)}
    return kept | {"input": given | {"limit": limit}}


def same_calls(provider: str, recorded: Any, ours: Any) -> tuple[Any, Any]:
    """Both bodies; with numbers for ids of calls where the recorded ones are no ids this provider takes."""
    taken, names = _TAKEN.get(provider, _TAKEN_BY_ALL), dict[str, str]()
    numbered = _numbered(recorded, names)
    return (recorded, ours) if all(map(taken.fullmatch, names)) else (numbered, _numbered(ours, {}))


def _numbered(body: Any, names: dict[str, str]) -> Any:
    """``body`` with the ids of calls, and of their results, numbered in the order they appear."""
    if isinstance(body, list):
        return [_numbered(item, names) for item in body]
    if not isinstance(body, dict):
        return body
    is_call = "function" in body or body.get("type") == "tool_use"
    return {
        key: names.setdefault(str(item), f"call {len(names)}")
        if key in _OF_RESULTS or (key == "id" and is_call)
        else _numbered(item, names)
        for key, item in body.items()
    }
