"""The one table of exceptions: what may differ between a recorded request and ours, because it means the same."""

import re
from typing import Any

from tests.providers.conformance.said import INJECTED

TABLE = """\
| recorded                                             | ours                                                            |
|------------------------------------------------------|-----------------------------------------------------------------|
| no limit of generated tokens                         | one is always set                                               |
| ``max_tokens`` (chat dialect), ``max_new_tokens`` (Replicate) | the name this adapter uses for the same limit          |
| a field that is null, ``stream: false``, ``n: 1``    | left out, which means the same                                  |
| a stream without ``stream_options``                  | ``include_usage`` is asked for: the call must be accounted      |
| role ``developer``                                   | ``system``, which OpenAI reads as ``developer``                 |
| a content that is one text, as a list or as a string | the other form of the same                                      |
| an assistant's content null, empty or left out       | any of the three, beside tool calls                             |
| ``prefix: false``, ``tool_calls: []`` in a message   | left out, which means the same                                  |
| ``stop`` or ``input`` as one string                  | a list of one                                                   |
| ``encoding_format`` of an embedding                  | base64 or floats, as the adapter likes: the numbers are the same |
| Anthropic ``?beta=true``                             | no query                                                        |
| Anthropic ``is_error: false``                        | left out, which means the same                                  |
| Gemini names in snake case                           | camel case, which Google documents                              |
| Gemini ``responseModalities: ["TEXT"]``              | left out, which means the same                                  |
| Gemini ``systemInstruction.role``                    | left out; it is ignored there                                   |
| Gemini ``parameters``, ``responseSchema``            | the field for JSON schemas, when its types are in lower case    |
| Gemini 3 call of a tool without a signature          | Google's own mark in its place, without which it is refused     |
| Replicate ``prefer``, no ``cancel-after``            | how long to wait and to live is ours to choose                  |
| a host of another region (api.z.ai)                  | the base URL in the catalogue; the path below it is the same    |

Headers that are compared: content-type, anthropic-version, and the name of the one that carries the key.
A request that uses what our contract has no words for is refused by name, never sent without it."""

_LIMITS = ("max_tokens", "max_completion_tokens")


def chat(body: dict[str, Any]) -> dict[str, Any]:
    """A body in OpenAI's dialect with the exceptions ironed out."""
    same = {"stream": False, "n": 1, "echo": False, "best_of": 1}
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
    return result


def _flat(content: Any) -> Any:
    is_one_text = isinstance(content, list) and len(content) == 1 and set(content[0]) == {"type", "text"}
    return content[0]["text"] if is_one_text else content


def anthropic(body: dict[str, Any]) -> dict[str, Any]:
    """A body in Anthropic's dialect with the exceptions ironed out."""
    result = {key: value for key, value in body.items() if value is not None and (key, value) != ("stream", False)}
    result.setdefault("max_tokens", INJECTED)
    result["messages"] = [
        item | {"content": [_block(part) for part in _listed(item["content"])]} for item in result["messages"]
    ]
    if "system" in result:
        result["system"] = _flat(result["system"])
    return result


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
        return {"requests": result["requests"]}
    settings = dict(result.get("generationConfig") or {})
    if settings.get("responseModalities") == ["TEXT"]:
        del settings["responseModalities"]
    if "responseSchema" in settings:
        settings["responseJsonSchema"] = settings.pop("responseSchema")
    result["generationConfig"] = {"maxOutputTokens": INJECTED} | settings
    if "systemInstruction" in result:
        result["systemInstruction"] = {"parts": result["systemInstruction"]["parts"]}
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
