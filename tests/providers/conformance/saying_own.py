"""What requests in the dialects of Anthropic and Replicate say."""

import json
from typing import Any

from tests.providers.conformance.said import Spoken


def anthropic(body: dict[str, Any], _: str) -> Spoken:
    """A ``POST /v1/messages``."""
    spoken = Spoken(body["model"], stream=body.get("stream") is True)
    if body.get("system"):
        spoken.messages.append({"role": "system", "content": _texts(body["system"])})
    for turn in body["messages"]:
        spoken.messages += _turn(turn)
    spoken.continues = body["messages"][-1]["role"] == "assistant" and not spoken.messages[-1].get("tool_calls")
    names = {"max_tokens": "max_tokens", "temperature": "temperature", "top_p": "top_p", "stop_sequences": "stop"}
    spoken.options = {ours: body[theirs] for theirs, ours in names.items() if body.get(theirs) is not None}
    handled = {*names, "model", "messages", "system", "stream", "tools", "tool_choice", "output_config"}
    spoken.foreign = {name: value for name, value in body.items() if name not in handled}
    if body.get("tools"):
        spoken.options["tools"] = [_tool(tool) for tool in body["tools"]]
    _choice(body.get("tool_choice"), spoken)
    _output(body.get("output_config") or {}, spoken)
    return spoken


def _texts(content: Any) -> Any:
    """One text as a string, several as parts."""
    if isinstance(content, list) and len(content) == 1 and set(content[0]) == {"type", "text"}:
        return content[0]["text"]
    return content


def _turn(turn: dict[str, Any]) -> list[dict[str, Any]]:
    """The messages of one turn: results of tools stand in a user's turn there, and are messages of their own here."""
    if isinstance(turn["content"], str):
        return [dict(turn)]
    results = [_result(part) for part in turn["content"] if part["type"] == "tool_result"]
    calls = [_call(part) for part in turn["content"] if part["type"] == "tool_use"]
    rest = [_part(part) for part in turn["content"] if part["type"] not in {"tool_result", "tool_use"}]
    said = [{"role": turn["role"], "content": _texts(rest) if rest else ""}] if rest or calls else []
    if calls:
        said[0]["tool_calls"] = calls
    return [*results, *said]


def _result(part: dict[str, Any]) -> dict[str, Any]:
    said = {"role": "tool", "tool_call_id": part["tool_use_id"], "content": _texts(part.get("content", ""))}
    return said | ({"is_error": True} if part.get("is_error") else {})


def _call(part: dict[str, Any]) -> dict[str, Any]:
    return {"id": part["id"], "name": part["name"], "arguments": json.dumps(part["input"])}


def _part(part: dict[str, Any]) -> dict[str, Any]:
    if part["type"] != "image" or set(part) != {"type", "source"}:
        return part
    source = part["source"]
    if source["type"] == "url":
        return {"type": "image", "url": source["url"]}
    return {"type": "image", "url": f"data:{source['media_type']};base64,{source['data']}"}


def _tool(tool: dict[str, Any]) -> dict[str, Any]:
    renamed = {"input_schema": "parameters"}
    return {renamed.get(name, name): value for name, value in tool.items() if (name, value) != ("type", "custom")}


def _choice(choice: dict[str, Any] | None, spoken: Spoken) -> None:
    if choice is None:
        return
    kind = {"any": "required"}.get(choice["type"], choice["type"])
    spoken.options["tool_choice"] = {"name": choice["name"]} if kind == "tool" else kind
    if choice.get("disable_parallel_tool_use") is not None:
        spoken.options["parallel_tool_calls"] = not choice["disable_parallel_tool_use"]


def _output(config: dict[str, Any], spoken: Spoken) -> None:
    if config.get("effort") in {"low", "medium", "high"}:
        spoken.options["reasoning_effort"] = config["effort"]
    if (wanted := config.get("format")) is not None:
        spoken.options["response_format"] = {"type": wanted["type"], "schema_": wanted.get("schema")}
    said = {"format"} | ({"effort"} if "reasoning_effort" in spoken.options else set())
    if own := {name: value for name, value in config.items() if name not in said}:
        spoken.foreign["output_config"] = own


_INPUT = {
    "max_tokens": "max_tokens",
    "max_new_tokens": "max_tokens",
    "temperature": "temperature",
    "top_p": "top_p",
    "seed": "seed",
    "stop_sequences": "stop",
    "presence_penalty": "presence_penalty",
    "frequency_penalty": "frequency_penalty",
}


def replicate(body: dict[str, Any], path: str) -> Spoken:
    """A prediction of a model of text: ``POST /models/{owner}/{name}/predictions`` or ``POST /predictions``."""
    steps = path.split("/")
    model = "/".join(steps[steps.index("models") + 1 :][:2]) if "models" in steps else body["version"]
    spoken = Spoken(model, stream=body.get("stream") is True)
    given = body.get("input") or {}
    if given.get("system_prompt"):
        spoken.messages.append({"role": "system", "content": given["system_prompt"]})
    if given.get("prompt"):
        spoken.messages.append({"role": "user", "content": given["prompt"]})
    for name, value in given.items():
        if name in _INPUT:
            many = name == "stop_sequences" and isinstance(value, str)
            spoken.options[_INPUT[name]] = value.split(",") if many else value
        elif name not in {"prompt", "system_prompt"}:
            spoken.foreign[name] = value
    spoken.unsaid += sorted(set(body) - {"version", "input", "stream"})
    return spoken
