"""What a request in OpenAI's dialect says, and what a provider's own words in it mean."""

from typing import Any

from tests.providers.conformance.said import Spoken, Texts

_OPTIONS = {
    "max_tokens": "max_tokens",
    "max_completion_tokens": "max_tokens",
    "temperature": "temperature",
    "top_p": "top_p",
    "stop": "stop",
    "seed": "seed",
    "random_seed": "seed",
    "frequency_penalty": "frequency_penalty",
    "presence_penalty": "presence_penalty",
    "parallel_tool_calls": "parallel_tool_calls",
    "reasoning_effort": "reasoning_effort",
}
_SAME_AS_LEFT_OUT = {"n": 1, "stream": False, "echo": False, "best_of": 1}
_HANDLED = {"model", "messages", "prompt", "tools", "tool_choice", "response_format", "stream", "stream_options"}


def chat(body: dict[str, Any], provider: str) -> Spoken:
    """A ``POST /chat/completions``."""
    spoken = Spoken(body["model"], stream=body.get("stream") is True)
    spoken.messages = [_message(item) for item in body["messages"]]
    spoken.continues = any(item.get("prefix") is True for item in body["messages"])
    _options(body, spoken)
    if body.get("tools"):
        spoken.options["tools"] = [_tool(item) for item in body["tools"]]
    if body.get("tool_choice") is not None:
        spoken.options["tool_choice"] = _choice(body["tool_choice"], provider)
    if body.get("response_format") is not None:
        spoken.options["response_format"] = _format(body["response_format"])
    return spoken


def completion(body: dict[str, Any], _: str) -> Spoken:
    """A ``POST /completions``."""
    spoken = Spoken(body["model"], stream=body.get("stream") is True)
    spoken.messages = [{"role": "user", "content": body["prompt"]}]
    _options(body, spoken)
    return spoken


def embedding(body: dict[str, Any], _: str) -> Texts:
    """A ``POST /embeddings``. The encoding of the answer is our own affair."""
    known = {"model", "input", "dimensions", "output_dimension", "encoding_format"}
    given = body["input"] if isinstance(body["input"], list) else [body["input"]]
    size = body.get("dimensions", body.get("output_dimension"))
    return Texts(body["model"], given, size, sorted(set(body) - known))


def _options(body: dict[str, Any], spoken: Spoken) -> None:
    for name, value in body.items():
        if name in _HANDLED or value is None or _SAME_AS_LEFT_OUT.get(name, ...) == value:
            continue
        if name in _OPTIONS:
            spoken.options[_OPTIONS[name]] = [value] if name == "stop" and isinstance(value, str) else value
        else:
            spoken.foreign[name] = value


def _message(item: dict[str, Any]) -> dict[str, Any]:
    """Keys our contract has no field for stay, so that it refuses them by name."""
    said = {key: value for key, value in item.items() if key not in {"prefix", "content", "tool_calls"}}
    said["role"] = {"developer": "system"}.get(item["role"], item["role"])
    content = item.get("content")
    said["content"] = [_part(part) for part in content] if isinstance(content, list) else content
    if content is None and item["role"] == "assistant":
        del said["content"]
    if item.get("tool_calls"):
        said["tool_calls"] = [_call(call) for call in item["tool_calls"]]
    return said


def _part(part: dict[str, Any]) -> dict[str, Any]:
    if part.get("type") != "image_url":
        return part
    image = part["image_url"]
    return {"type": "image"} | ({"url": image} if isinstance(image, str) else image)


def _call(call: dict[str, Any]) -> dict[str, Any]:
    return {"id": call["id"], **call["function"]}


def _tool(item: dict[str, Any]) -> dict[str, Any]:
    return dict(item["function"]) if item.get("type", "function") == "function" and "function" in item else item


def _choice(choice: Any, provider: str) -> Any:
    if isinstance(choice, dict):
        return {"name": choice["function"]["name"]} if choice.get("type") == "function" else choice
    return "required" if (provider, choice) == ("mistral", "any") else choice


def _format(wanted: dict[str, Any]) -> dict[str, Any]:
    if wanted.get("type") != "json_schema":
        return wanted
    inner = dict(wanted["json_schema"])
    inner["schema_"] = inner.pop("schema", inner.pop("schema_definition", None))
    return {"type": "json_schema"} | inner
