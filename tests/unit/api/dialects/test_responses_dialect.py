"""OpenAI's responses: what is read out of a question, and what is refused by name."""

import json
from typing import Any

import pytest

from services.api.dialects.openai_responses import OpenAIResponses
from shared.errors import OmniError
from tests.unit.api.dialects.answered import read, refused

DIALECT = OpenAIResponses()
ASKED: dict[str, Any] = {"model": "writer", "input": "Hi"}
TOOL: dict[str, Any] = {"type": "function", "name": "f", "parameters": {"type": "object"}, "strict": True}
CALLED: dict[str, Any] = {"type": "function_call", "id": "fc_1", "call_id": "c1", "name": "f", "arguments": "{}"}
OUTPUT: dict[str, Any] = {"type": "function_call_output", "call_id": "c1", "output": "4"}


def said(*items: dict[str, Any], **more: Any) -> list[dict[str, Any]]:
    asked = read(DIALECT, **{**ASKED, "input": list(items) or "Hi", **more})
    return [message.model_dump(exclude_defaults=True) for message in asked.messages]


def option(name: str, **more: Any) -> Any:
    return getattr(read(DIALECT, **ASKED, **more).options, name)


def shown(**more: Any) -> Any:
    return read(DIALECT, **ASKED, **more).style.shown


def test_a_plain_question() -> None:
    asked = read(DIALECT, **ASKED, stream=True, max_output_tokens=50)
    assert (asked.model, asked.stream, asked.options.max_tokens) == ("writer", True, 50)
    assert said(instructions="Be brief.") == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hi"},
    ]


def test_messages_with_and_without_a_type() -> None:
    picture = {"type": "input_image", "image_url": "https://example.org/a.png", "detail": "low"}
    user = {"role": "user", "content": [{"type": "input_text", "text": "What?"}, picture]}
    spoken = {"type": "output_text", "text": "A cat.", "annotations": [], "logprobs": []}
    answer = {"type": "message", "id": "msg_1", "status": "completed", "role": "assistant", "content": [spoken]}
    first, second, third = said(user, answer, {"role": "developer", "content": "x"})
    assert first["content"][1] == {"url": "https://example.org/a.png", "detail": "low"}
    assert second == {"role": "assistant", "content": "A cat."}
    assert third == {"role": "system", "content": "x"}


def test_calls_belong_to_what_was_said_before_them() -> None:
    thought = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "x"}
    answer = {"role": "assistant", "content": "Let me see."}
    other = {**CALLED, "call_id": "c2"}
    pictures = [{"type": "input_image", "image_url": "data:image/png;base64,iVBORw0KGgo="}]
    spoken, first, second = said(
        answer, thought, CALLED, other, OUTPUT, {**OUTPUT, "call_id": "c2", "output": pictures}
    )
    assert spoken["content"] == "Let me see."
    assert [call["id"] for call in spoken["tool_calls"]] == ["c1", "c2"]
    assert first == {"role": "tool", "content": "4", "tool_call_id": "c1"}
    assert second["content"][0]["url"].startswith("data:image/png")
    assert [one["role"] for one in said({"role": "user", "content": "a"}, CALLED)] == ["user", "assistant"]


def test_how_to_answer() -> None:
    assert option("tools", tools=[TOOL])[0].strict is True
    named = {"type": "function", "name": "f"}
    assert option("tool_choice", tools=[TOOL], tool_choice=named).name == "f"
    assert option("tool_choice", tool_choice="auto") is None
    assert option("reasoning_effort", reasoning={"effort": "low", "summary": "auto"}) == "low"
    schema = {"type": "json_schema", "name": "n", "schema": {"type": "object"}, "strict": True}
    assert option("response_format", text={"format": schema}).schema_ == {"type": "object"}
    assert option("response_format", text={"format": {"type": "text"}, "verbosity": "medium"}) is None


def test_the_answer_repeats_the_question() -> None:
    repeated = shown(
        tools=[TOOL], tool_choice={"type": "function", "name": "f"}, metadata={"a": "b"}, temperature=0.5,
        text={"format": {"type": "json_object"}}, reasoning={"effort": "high"},
    )  # fmt: skip
    assert repeated["tools"] == [{**TOOL, "description": None}]
    assert repeated["tool_choice"] == {"type": "function", "name": "f"}
    assert repeated["metadata"] == {"a": "b"}
    assert repeated["text"] == {"format": {"type": "json_object"}}
    assert repeated["reasoning"]["effort"] == "high"
    assert repeated["store"] is False
    assert shown()["tool_choice"] == "auto"


@pytest.mark.parametrize(
    "given",
    [
        {"store": False}, {"background": False}, {"truncation": "disabled"}, {"service_tier": "auto"}, {"user": "u"},
        {"stream_options": {"include_obfuscation": False}}, {"prompt_cache_key": "k"}, {"previous_response_id": None},
        {"include": ["reasoning.encrypted_content"]}, {"top_logprobs": 0}, {"max_tool_calls": 3},
    ],
)  # fmt: skip
def test_what_is_ignored_on_purpose(given: dict[str, Any]) -> None:
    assert read(DIALECT, **ASKED, **given) == read(DIALECT, **ASKED)


@pytest.mark.parametrize(
    ("given", "field", "words"),
    [
        ({"previous_response_id": "canary"}, "previous_response_id", "send the whole conversation"),
        ({"conversation": "canary"}, "conversation", "send the whole conversation"),
        ({"prompt": {"id": "canary"}}, "prompt", "instructions"),
        ({"store": True}, "store", "nothing is kept"),
        ({"background": True}, "background", "False"),
        ({"truncation": "auto"}, "truncation", "disabled"),
        ({"service_tier": "flex"}, "service_tier", "'auto' or 'default'"),
        ({"include": ["message.output_text.logprobs"]}, "include.0", "reasoning.encrypted_content"),
        ({"reasoning": {"effort": "max"}}, "reasoning.effort", "'high'"),
        ({"text": {"verbosity": "low"}}, "text.verbosity", "'medium'"),
        ({"tool_choice": "required"}, "", "comes with 'tools'"),
        ({"tools": [{"type": "web_search", "filters": "canary"}]}, "tools.0", "'web_search' is a tool"),
        ({"tools": [{"type": "mcp", "server_label": "canary"}]}, "tools.0", "'mcp' is a tool"),
        ({"colour": "canary"}, "colour", "no such field"),
        ({"input": []}, "input", "at least 1"),
        ({"input": [{"type": "item_reference", "id": "canary"}]}, "input.0", "'item_reference'"),
        ({"input": [{"role": "user", "content": [{"type": "input_file", "file_id": "canary"}]}]},
         "input.0.message.content.0", "'input_file'"),
        ({"input": [{"role": "user", "content": [{"type": "input_image", "file_id": "canary"}]}]},
         "input.0.message.content.0.input_image.image_url", "missing"),
    ],
)  # fmt: skip
def test_what_is_refused_by_name(given: dict[str, Any], field: str, words: str) -> None:
    found, problem = refused(DIALECT, **{**ASKED, **given})
    assert found == field
    assert words in problem


def test_the_field_is_the_errors_param() -> None:
    with pytest.raises(OmniError) as raised:
        DIALECT.read(json.dumps({**ASKED, "previous_response_id": "r"}).encode())
    assert DIALECT.problem(raised.value)["error"]["param"] == "previous_response_id"
