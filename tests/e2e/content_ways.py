"""Every way in which somebody's words come into the system, each for a word of its own."""

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

SOON = {"first_byte_s": 0.3, "last_first_byte_s": 0.3}


@dataclass(frozen=True)
class Way:
    """A call along ``chain`` (modes of ``echo``). ``body``: what is asked with a canary; ``alias``: its fields."""

    name: str
    chain: tuple[str, ...]
    body: Callable[[str], dict[str, Any]]
    alias: dict[str, Any] = field(default_factory=dict)


def _prompt(word: str) -> dict[str, Any]:
    return {"prompt": f"Repeat {word}, please."}


def _streamed(word: str) -> dict[str, Any]:
    return _prompt(word) | {"stream": True}


def _conversation(word: str) -> dict[str, Any]:
    call = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": json.dumps({"q": word})}}
    schema = {"type": "object", "properties": {"q": {"type": "string", "description": word, "enum": [word]}}}
    return {
        "messages": [
            {"role": "system", "content": f"You are {word}."},
            {"role": "user", "content": [{"type": "text", "text": word}, {"type": "text", "text": "?"}]},
            {"role": "assistant", "content": word, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "c1", "content": word},
        ],
        "options": {
            "tools": [{"type": "function", "function": {"name": "look", "description": word, "parameters": schema}}],
            "stop": [word[:12]],
        },
    }


def _pictures(word: str) -> dict[str, Any]:
    data = base64.b64encode(word.encode() * 30).decode()
    urls = [f"data:image/png;base64,{data}", f"https://example.com/{word[3:]}.png?q={word[3:]}"]
    pictures = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
    return {"messages": [{"role": "user", "content": [{"type": "text", "text": f"Is this {word}?"}, *pictures]}]}


def _format(word: str) -> dict[str, Any]:
    schema = {"type": "object", "properties": {"a": {"const": word}}, "required": ["a"], "additionalProperties": False}
    named = {"name": "n", "description": word, "schema": schema, "strict": True}
    return _prompt(word) | {"options": {"response_format": {"type": "json_schema", "json_schema": named}}}


WAYS = (
    Way("prompt", ("plain",), _prompt),
    Way("large", ("plain",), lambda word: {"prompt": f"{word} " * 20_000}),
    Way("conversation", ("tools",), _conversation),
    Way("conversation streamed", ("tools",), lambda word: _conversation(word) | {"stream": True}),
    Way("pictures", ("plain",), _pictures),
    Way("format", ("plain",), _format),
    Way("streamed", ("plain",), _streamed),
    Way("held", ("plain",), _streamed, {"on_stream_cut": "hold"}),
    Way("continued", ("cut", "plain"), _streamed),
    Way("cut", ("cut",), _streamed, {"on_stream_cut": "error"}),
    Way("cut whole", ("cut",), _prompt),
    Way("fallback", ("broken", "plain"), _prompt),
    Way("timed out", ("hang",), _prompt, {"time_limits": SOON}),
    Way("embedded", ("embed",), lambda word: {"input": [word, f"more {word}"]}, {"capability": "embedding"}),
    *(Way(mode, (mode,), _prompt) for mode in ("bad", "limited", "broken", "policy", "garbled", "odd", "raw", "moved")),
    *(Way(f"{mode} streamed", (mode,), _streamed) for mode in ("bad", "broken", "garbled", "raw", "moved")),
)


def malformed(word: str) -> list[bytes]:
    """Bodies of ``POST /ai-invoke`` that are refused; ``ALIAS`` stands for an alias's name."""
    message = {"role": "user", "content": word}
    wrong: list[dict[str, Any]] = [
        {"prompt": word, "nobody": word},
        {"prompt": [word]},
        {"prompt": {"text": word}},
        {"prompt": word, "messages": [message]},
        {"messages": [{"role": word, "content": word}]},
        {"messages": [{"role": "user", "content": [{"type": word, "text": word}]}]},
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": f"ftp://{word}"}}]}]},
        {"messages": [{"role": "tool", "content": word}]},
        {"prompt": word, "options": {"temperature": word}},
        {"prompt": word, "options": {"stop": [word] * 9}},
        {"prompt": word, "options": {"tools": [{"type": "function", "function": {"name": f"{word} !"}}]}},
        {"prompt": word, "options": {"response_format": {"type": word}}},
        {"prompt": word, "capability": word},
        {"input": [word, 5]},
        {"prompt": word * 100_000},
        {"prompt": f"{word}\ud800"},
    ]
    bodies = [json.dumps({"alias_name": "ALIAS"} | body).encode() for body in wrong]
    return [*bodies, f'{{"alias_name": "ALIAS", "prompt": "{word}'.encode(), word.encode(), b"\xff" + word.encode()]
