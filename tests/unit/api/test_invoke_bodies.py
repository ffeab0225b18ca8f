"""The body of a call: OpenAI's shapes in, the router's out; what does not fit is refused by name, never repeated."""

import json
from typing import Any

import pydantic
import pytest

from services.api.domain.faults import invalid_body
from services.api.schemas_invoke import InvokeIn, OptionsIn
from services.api.schemas_json import MAX_DEPTH
from shared.messages.chat import ChatOptionsV1

CANARY = "canary-1n-the-body"
CALL: dict[str, Any] = {"alias_name": "a", "prompt": "Hi"}
FUNCTION: dict[str, Any] = {"name": "f", "description": "d", "parameters": {"type": "object"}, "strict": True}
TOOL: dict[str, Any] = {"type": "function", "function": FUNCTION}
CALLED = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}


def read(**body: Any) -> InvokeIn:
    return InvokeIn.model_validate_json(json.dumps({"alias_name": "a", **body}))


def said(**message: Any) -> dict[str, Any]:
    return read(messages=[message]).conversation()[0].model_dump(exclude_defaults=True)


def test_messages_in_openais_shape() -> None:
    assert said(role="developer", content="x") == {"role": "system", "content": "x"}
    assert said(role="tool", content="4", tool_call_id="c1") == {"role": "tool", "content": "4", "tool_call_id": "c1"}
    call = {"id": "c1", "name": "f", "arguments": "{}"}
    assert said(role="assistant", content=None, tool_calls=[CALLED]) == {"role": "assistant", "tool_calls": (call,)}
    picture = {"type": "image_url", "image_url": {"url": "https://example.org/a.png", "detail": "low"}}
    parts = said(role="user", content=[{"type": "text", "text": "x"}, picture])["content"]
    assert parts[1] == {"url": "https://example.org/a.png", "detail": "low"}
    assert read(prompt="Hi").conversation()[0].content == "Hi"


def test_options_in_openais_shape() -> None:
    named = {"type": "function", "function": {"name": "f"}}
    schema = {"name": "n", "description": "d", "schema": {"type": "object"}, "strict": True}
    shaped = {"type": "json_schema", "json_schema": schema}
    options = read(**CALL, options={"tools": [TOOL], "tool_choice": named, "response_format": shaped}).options.of_chat()
    assert options.tools is not None
    assert options.tools[0].model_dump() == FUNCTION
    assert options.tool_choice is not None
    assert not isinstance(options.tool_choice, str)
    assert options.tool_choice.name == "f"
    assert options.response_format is not None
    assert options.response_format.schema_ == {"type": "object"}
    assert not options.is_plain


def test_every_option_of_the_contract_is_taken() -> None:
    assert set(ChatOptionsV1.model_fields) <= set(OptionsIn.model_fields)
    plain: dict[str, Any] = {
        "max_tokens": 5, "temperature": 0.5, "top_p": 0.5, "stop": ["x"], "seed": 1, "frequency_penalty": 1.0,
        "presence_penalty": 1.0, "parallel_tool_calls": False, "reasoning_effort": "low", "tool_choice": "none",
        "provider_options": {"openai": {"user": "u"}}, "response_format": {"type": "json_object"}, "tools": [TOOL],
    }  # fmt: skip
    assert set(plain) == set(ChatOptionsV1.model_fields)
    taken = read(**CALL, options=plain).options.of_chat()
    assert taken.model_dump(include=set(plain) - {"tools", "response_format", "stop"}) == {
        name: value for name, value in plain.items() if name not in ("tools", "response_format", "stop")
    }
    assert (taken.stop, taken.response_format and taken.response_format.type) == (("x",), "json_object")


def test_texts_to_embed() -> None:
    one = read(input="x", options={"dimensions": 8}).embedding()
    assert one is not None
    assert (one.inputs, one.dimensions) == (("x",), 8)
    assert read(input=["x", "y"]).conversation() == ()
    assert read(prompt="x").embedding() is None


def deep(levels: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for _ in range(levels - 1):
        found = {"properties": found}
    return found


def test_a_schema_of_the_greatest_depth_is_taken() -> None:
    tool = {"type": "function", "function": {"name": "f", "parameters": deep(MAX_DEPTH)}}
    assert read(**CALL, options={"tools": [tool]}).options.of_chat().tools


@pytest.mark.parametrize("number", ["1e999", "-1e999", "NaN", "-Infinity"])
def test_a_number_that_would_arrive_as_null_is_refused(number: str) -> None:
    schema = f'{{"type":"function","function":{{"name":"f","parameters":{{"a":[{{"b":{number}}}]}}}}}}'
    for options in (f'{{"tools":[{schema}]}}', f'{{"provider_options":{{"openai":{{"x":{number}}}}}}}'):
        with pytest.raises(pydantic.ValidationError, match="beyond what JSON can carry"):
            InvokeIn.model_validate_json(f'{{"alias_name":"a","prompt":"x","options":{options}}}')


def test_a_providers_other_name_is_understood() -> None:
    told = read(**CALL, options={"provider_options": {"gemini": {"topK": 1}, "openai": {}}}).options.of_chat()
    assert told.provider_options == {"google": {"topK": 1}, "openai": {}}


USER = {"role": "user", "content": "x"}
WRONG: list[tuple[dict[str, Any], str]] = [
    ({}, "give one of 'prompt', 'messages' and 'input'"),
    ({"prompt": "x", "input": "x"}, "give one of"),
    ({"prompt": "x", "messages": [USER]}, "give one of"),
    ({"input": "x", "stream": True}, "embeddings are not streamed"),
    ({"input": "x", "capability": "chat"}, "for the capability embedding"),
    ({"prompt": "x", "capability": "embedding"}, "for the capability embedding"),
    ({"input": "x", "options": {"seed": 1}}, "'seed' is no option of an embedding"),
    ({"prompt": "x", "options": {"dimensions": 1}}, "'dimensions' is no option of a conversation"),
    ({"prompt": "x", "options": {"frequency": 1}}, "options.frequency"),
    ({"prompt": "x", "options": {"tools": [FUNCTION]}}, "options.tools.0.type"),
    ({"prompt": "x", "options": {"tools": []}}, "options.tools"),
    ({"prompt": "x", "options": {"tool_choice": "f"}}, "options.tool_choice"),
    ({"prompt": "x", "options": {"response_format": {"type": CANARY}}}, "There is no such 'type' here."),
    ({"prompt": "x", "options": {"response_format": {"type": "json_schema"}}}, "json_schema"),
    ({"prompt": "x", "options": {"provider_options": {"openai": deep(MAX_DEPTH + 1)}}}, "levels deep"),
    ({"prompt": "x", "options": {"provider_options": {"openai": {"user": float("nan")}}}}, "beyond what JSON"),
    ({"prompt": "x", "options": {"provider_options": {"google": {}, "gemini": {}}}}, "the same provider"),
    ({"messages": [{"role": "user"}]}, "'content' is missing"),
    ({"messages": [{"role": "tool", "content": "x"}]}, "tool_call_id"),
    ({"messages": [{**USER, "tool_call_id": "c"}]}, "tool_call_id"),
    ({"messages": [{**USER, "tool_calls": [CALLED]}]}, "only an assistant message"),
    ({"messages": [{**USER, "name": CANARY}]}, "messages.0.name"),
    ({"messages": [{"role": "user", "content": [{"type": CANARY}]}]}, "messages.0.content"),
    ({"messages": [{"role": "user", "content": []}]}, "messages.0.content"),
    ({"input": []}, "input"),
    ({"input": ["x"] * 2049}, "input"),
    ({"input": [""]}, "input"),
]  # fmt: skip


@pytest.mark.parametrize(("body", "told"), WRONG)
def test_what_does_not_fit_is_refused_by_name(body: dict[str, Any], told: str) -> None:
    with pytest.raises(pydantic.ValidationError) as raised:
        read(**body)
    problem = invalid_body(raised.value.errors(include_input=False, include_url=False))
    assert told in json.dumps(problem.extra)
    assert CANARY not in json.dumps(problem.extra)


@pytest.mark.parametrize("url", ["http://example.org/a.png", "file:///etc/passwd", "data:text/html;base64,AA", "x"])
@pytest.mark.parametrize("role", ["user", "system"])
def test_pictures_only_from_users_and_only_from_safe_addresses(url: str, role: str) -> None:
    picture = {"type": "image_url", "image_url": {"url": url if role == "user" else "https://example.org/a.png"}}
    with pytest.raises(pydantic.ValidationError):
        read(messages=[{"role": role, "content": [picture]}])
