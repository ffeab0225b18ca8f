"""The logical calls that both sides make: ours in our terms here, the official SDKs' beside each SDK."""

import json
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import Any, Literal

from services.router.providers import PROVIDERS
from services.router.providers.base import ChatRequest, EmbedRequest, HttpAnswer, HttpRequest, Pending
from shared.messages.chat import ChatMessageV1, ChatOptionsV1
from tests.providers.specs.calls import CONVERSATIONS, MODELS, SEES

EMBEDS = {
    "openai": "text-embedding-3-small",
    "google": "gemini-embedding-001",
    "mistral": "mistral-embed",
    "zhipu": "embedding-3",
    "openrouter": "openai/text-embedding-3-small",
}
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"port": {"type": "string"}},
    "required": ["port"],
    "additionalProperties": False,
}
_TOOL = {"name": "tide", "description": "Height of the tide.", "parameters": SCHEMA}
_FORMAT = {"type": "json_schema", "name": "tide", "schema_": SCHEMA, "strict": True}
Call = Literal[
    "plain", "system", "turns", "picture", "tools", "named tool", "tool result", "json", "schema", "sampling", "stop",
    "stream", "embedding", "version", "poll", "cancel",
]  # fmt: skip
_CHATS: dict[str, tuple[str, dict[str, Any]]] = {
    "plain": ("plain", {}),
    "system": ("system", {"temperature": 0.2}),
    "turns": ("turns", {"top_p": 0.9}),
    "picture": ("picture", {}),
    "tools": ("plain", {"tools": [_TOOL], "tool_choice": "auto"}),
    "named tool": ("plain", {"tools": [_TOOL], "tool_choice": {"name": "tide"}}),
    "tool result": ("tool result", {"tools": [_TOOL]}),
    "json": ("plain", {"response_format": {"type": "json_object"}}),
    "schema": ("plain", {"response_format": _FORMAT}),
    "sampling": ("plain", {"temperature": 0.7, "seed": 7}),
    "stop": ("plain", {"stop": ["END"]}),
    "stream": ("plain", {}),
    "version": ("plain", {}),
}
VERSION = "0123456789abcdef" * 4
PREDICTION = "p1a2b3"
INPUTS = ("one", "two")
Calls = dict[Call, Callable[[], Any]]
Sdk = Callable[[str, str], AbstractContextManager[Calls]]
"""Base URL and key → the calls of one official SDK, in its own terms. A stream is given as an iterable."""


def ours(provider: str, call: Call) -> HttpRequest:
    """What our adapter sends for ``call``."""
    adapter = PROVIDERS[provider].adapter
    assert adapter is not None
    if call == "embedding":
        assert adapter.embedding is not None
        return adapter.embedding.encode(EmbedRequest(EMBEDS[provider], INPUTS, 256))
    if call in {"poll", "cancel"}:
        told = json.dumps({"id": PREDICTION, "status": "starting"}).encode()
        pending = adapter.chat.decode(HttpAnswer(201, {}, told))
        assert isinstance(pending, Pending)
        assert pending.cancel is not None
        return pending.cancel if call == "cancel" else pending.request
    said, asked = _CHATS[call]
    messages = tuple(ChatMessageV1.model_validate(message) for message in CONVERSATIONS[said])
    model = {"picture": SEES[provider], "version": VERSION}.get(call, MODELS[provider])
    options = ChatOptionsV1(max_tokens=64, **asked)
    return adapter.chat.encode(ChatRequest(model, messages, options, stream=call == "stream"))


def drained(told: Any) -> None:
    """Read a stream to its end; anything else was read by the SDK."""
    if isinstance(told, Iterable) and not isinstance(told, dict | str | list | tuple):
        for _ in told:
            pass
