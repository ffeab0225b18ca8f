"""Recorded exchanges, and which of them our chat contract can express.

Exceptions, in the order they are applied. Everything else must be equal field for field.

| recorded                                        | ours                                                           |
|-------------------------------------------------|----------------------------------------------------------------|
| no limit of generated tokens                    | one is always injected                                         |
| ``stream: false``                               | left out, which means the same                                 |
| OpenAI role ``developer``                       | ``system``, which OpenAI reads as ``developer``                |
| Anthropic text as a string or a list of one text| a list of one text for messages, a string for ``system``       |
| Anthropic ``?beta=true``                        | no query                                                       |
| Gemini ``responseModalities: ["TEXT"]``         | left out, which means the same                                 |
| Gemini ``systemInstruction.role``               | left out; it is ignored there                                  |
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from services.router.providers.base import ChatRequest
from shared.messages.chat import ChatMessageV1, ChatOptionsV1
from shared.testing.recordings import Exchange, recorded

ROOT = Path(__file__).parents[2]
SHARED = ROOT.parent / "shared" / "providers" / "recorded"
FIXTURES = Path(__file__).parent / "fixtures"
FOLDERS = {"openai": "openai", "anthropic": "anthropic", "google": "gemini"}
INJECTED = 1024
_LIMITS = {"openai": "max_completion_tokens", "anthropic": "max_tokens"}
_COMMON = {"model", "messages", "temperature", "top_p", "stream"}
_KNOWN = {
    "openai": _COMMON | {"max_completion_tokens", "stop", "seed"},
    "anthropic": _COMMON | {"max_tokens", "stop_sequences", "system"},
    "google": {"contents", "generationConfig", "systemInstruction"},
}
_GENERATION = {
    "maxOutputTokens": "max_tokens",
    "temperature": "temperature",
    "topP": "top_p",
    "stopSequences": "stop",
    "seed": "seed",
}


class InexpressibleError(Exception):
    """The recorded request uses something our contract has no field for yet."""


@dataclass(frozen=True)
class Recording:
    provider: str
    exchange: Exchange

    @property
    def body(self) -> Any:
        return json.loads(self.exchange.request_body)

    @property
    def streams(self) -> bool:
        return "stream" in self.exchange.path.lower() or bool(self.body.get("stream"))

    @property
    def is_chat(self) -> bool:
        return self.exchange.path.endswith(("/chat/completions", "/v1/messages", ":generateContent"))


def source() -> str:
    return "shared recordings" if SHARED.is_dir() else "our own fixtures"


def recordings() -> list[Recording]:
    folder = SHARED if SHARED.is_dir() else FIXTURES
    return [
        Recording(provider, exchange)
        for provider, name in FOLDERS.items()
        for file in sorted((folder / name).glob("*.json"))
        if file.name.startswith(("chat__", "error__"))
        for exchange in recorded(file)
    ]


def express(recording: Recording) -> ChatRequest:
    """The recorded request in our own terms. Raises InexpressibleError, naming what stands in the way."""
    body = recording.body
    unknown = set(body) - _KNOWN[recording.provider]
    if unknown:
        raise InexpressibleError(",".join(sorted(unknown)))
    build = _from_gemini if recording.provider == "google" else _from_messages
    model, messages, options = build(recording, body)
    if not messages:
        raise InexpressibleError("no messages")
    return ChatRequest(model, tuple(messages), ChatOptionsV1(**({"max_tokens": INJECTED} | options)))


def _from_messages(recording: Recording, body: dict[str, Any]) -> tuple[str, list[ChatMessageV1], dict[str, Any]]:
    messages = [_message(item["role"], item["content"]) for item in body["messages"]]
    if "system" in body:
        messages.insert(0, _message("system", body["system"]))
    options: dict[str, Any] = {name: body[name] for name in ("temperature", "top_p", "seed") if name in body}
    for theirs, ours in ((_LIMITS[recording.provider], "max_tokens"), ("stop", "stop"), ("stop_sequences", "stop")):
        if theirs in body:
            options[ours] = body[theirs]
    return body["model"], messages, options


def _from_gemini(recording: Recording, body: dict[str, Any]) -> tuple[str, list[ChatMessageV1], dict[str, Any]]:
    settings = {key: value for key, value in body["generationConfig"].items() if (key, value) != _TEXT_ONLY}
    unknown = set(settings) - set(_GENERATION)
    if unknown:
        raise InexpressibleError(",".join(sorted(unknown)))
    roles = {"user": "user", "model": "assistant"}
    messages = [_message(roles[item["role"]], item["parts"]) for item in body["contents"]]
    if "systemInstruction" in body:
        messages.insert(0, _message("system", body["systemInstruction"]["parts"]))
    model = recording.exchange.path.rsplit("/", 1)[-1].split(":")[0]
    return model, messages, {_GENERATION[key]: value for key, value in settings.items()}


_TEXT_ONLY = ("responseModalities", ["TEXT"])


def _message(role: str, content: Any) -> ChatMessageV1:
    if isinstance(content, list):
        if len(content) != 1 or set(content[0]) - {"type", "text"}:
            raise InexpressibleError("content other than one text")
        content = content[0]["text"]
    if not isinstance(content, str):
        raise InexpressibleError("content is not a text")
    return ChatMessageV1(role="system" if role == "developer" else role, content=content)


def canonical(provider: str, body: dict[str, Any]) -> dict[str, Any]:
    """``body`` with the exceptions above ironed out."""
    result = {key: value for key, value in body.items() if (key, value) != ("stream", False)}
    if provider == "google":
        settings = {key: value for key, value in result["generationConfig"].items() if (key, value) != _TEXT_ONLY}
        result["generationConfig"] = {"maxOutputTokens": INJECTED} | settings
        if "systemInstruction" in result:
            result["systemInstruction"] = {"parts": result["systemInstruction"]["parts"]}
        return result
    result.setdefault(_LIMITS[provider], INJECTED)
    result["messages"] = [
        item | {"role": item["role"].replace("developer", "system"), "content": _flat(item["content"])}
        for item in result["messages"]
    ]
    if "system" in result:
        result["system"] = _flat(result["system"])
    return result


def _flat(content: Any) -> Any:
    is_one_text = isinstance(content, list) and len(content) == 1 and set(content[0]) == {"type", "text"}
    return content[0]["text"] if is_one_text else content
