"""Whatever is sent is read or refused by name: nothing else ever happens, and nothing sent is said back."""

import copy
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.api.dialects.anthropic_messages import AnthropicMessages
from services.api.dialects.dialect import Asked, Dialect
from services.api.dialects.openai_responses import OpenAIResponses
from shared.errors import Code, OmniError
from shared.messages.router import InvokeV1

CANARY = "canary-0123456789"
SCHEMA: dict[str, Any] = {"type": "object", "properties": {"a": {"type": "string"}}}
MESSAGES: dict[str, Any] = {
    "model": "writer", "max_tokens": 50, "system": [{"type": "text", "text": "s"}], "temperature": 0.5, "top_k": 3,
    "stop_sequences": ["x"], "stream": True, "tools": [{"name": "f", "input_schema": SCHEMA}],
    "tool_choice": {"type": "tool", "name": "f"}, "thinking": {"type": "enabled", "budget_tokens": 2048},
    "output_config": {"effort": "low", "format": {"type": "json_schema", "schema": SCHEMA}},
    "messages": [
        {"role": "user", "content": [
            {"type": "text", "text": "t"},
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}},
        ]},
        {"role": "assistant", "content": [
            {"type": "text", "text": "t"}, {"type": "tool_use", "id": "c", "name": "f", "input": {"a": 1}},
        ]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c", "content": "4", "is_error": True}]},
    ],
}  # fmt: skip
RESPONSES: dict[str, Any] = {
    "model": "writer", "instructions": "s", "temperature": 0.5, "max_output_tokens": 50, "metadata": {"a": "b"},
    "tools": [{"type": "function", "name": "f", "parameters": SCHEMA, "strict": True}], "stream": True,
    "tool_choice": {"type": "function", "name": "f"}, "reasoning": {"effort": "low"},
    "text": {"format": {"type": "json_schema", "name": "n", "schema": SCHEMA}},
    "input": [
        {"role": "user", "content": [
            {"type": "input_text", "text": "t"}, {"type": "input_image", "image_url": "https://example.org/a.png"},
        ]},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "t"}]},
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c", "output": [{"type": "input_text", "text": "4"}]},
    ],
}  # fmt: skip
DIALECTS: dict[str, tuple[Dialect, dict[str, Any]]] = {
    "anthropic": (AnthropicMessages(), MESSAGES),
    "responses": (OpenAIResponses(), RESPONSES),
}
_PLAIN = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just(CANARY)
_JSON = st.recursive(_PLAIN, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.just(CANARY), inner))
Path = tuple[str | int, ...]


def _places(value: object, path: Path = ()) -> list[Path]:
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for name, item in inside for place in _places(item, (*path, name)))]


def _changed(body: dict[str, Any], path: Path, value: object) -> Any:
    if not path:
        return value
    changed: Any = copy.deepcopy(body)
    at = changed
    for step in path[:-1]:
        at = at[step]
    at[path[-1]] = value
    return changed


def _read(dialect: Dialect, body: bytes) -> Asked | OmniError:
    try:
        return dialect.read(body)
    except OmniError as refusal:
        return refusal


def _judged(dialect: Dialect, body: bytes) -> None:
    found = _read(dialect, body)
    if isinstance(found, OmniError):
        assert found.code is Code.INVALID_REQUEST
        assert CANARY not in json.dumps([found.detail, found.extra, dialect.problem(found)])
        return
    # What was read is what the router takes.
    question = {"messages": found.messages, "options": found.options}
    assert InvokeV1(workspace_id=1, call_id="c", alias_name=found.model, **question).model_dump_json()


@pytest.mark.parametrize("name", DIALECTS)
@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_one_wrong_thing(name: str, data: st.DataObject) -> None:
    dialect, body = DIALECTS[name]
    path = data.draw(st.sampled_from(_places(body)))
    _judged(dialect, json.dumps(_changed(body, path, data.draw(_JSON))).encode())


@pytest.mark.parametrize("name", DIALECTS)
@pytest.mark.parametrize("body", [b"", b"[", b"null", b"[]", b"\xff", b'{"model": ' + b"[" * 5000, b'"\\ud800"'])
def test_no_json_at_all(name: str, body: bytes) -> None:
    _judged(DIALECTS[name][0], body)


@pytest.mark.parametrize("name", DIALECTS)
def test_the_bodies_themselves_are_read(name: str) -> None:
    dialect, body = DIALECTS[name]
    assert len(dialect.read(json.dumps(body).encode()).messages) == 4
