"""Anthropic's dialect: what is read out of its questions, and what is refused by name."""

import json
from typing import Any

import pytest

from services.api.dialects.anthropic_messages import AnthropicMessages, to_count
from shared.errors import OmniError
from shared.messages.chat import ChatMessageV1
from tests.unit.api.dialects.answered import read, refused

DIALECT = AnthropicMessages()
USER: dict[str, Any] = {"role": "user", "content": "Hi"}
ASKED: dict[str, Any] = {"model": "writer", "max_tokens": 50, "messages": [USER]}
PNG: dict[str, Any] = {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}
TOOL: dict[str, Any] = {"name": "f", "description": "d", "input_schema": {"type": "object"}, "strict": True}
CALLED: dict[str, Any] = {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"a": "ö"}}
RESULT: dict[str, Any] = {"type": "tool_result", "tool_use_id": "toolu_1", "content": "4"}


def said(*messages: dict[str, Any], **more: Any) -> list[dict[str, Any]]:
    asked = read(DIALECT, **{**ASKED, "messages": list(messages) or [USER], **more})
    return [message.model_dump(exclude_defaults=True) for message in asked.messages]


def option(name: str, **more: Any) -> Any:
    return getattr(read(DIALECT, **{**ASKED, **more}).options, name)


def test_a_plain_question() -> None:
    asked = read(DIALECT, **ASKED, stream=True)
    assert (asked.model, asked.stream, asked.options.max_tokens) == ("writer", True, 50)
    assert asked.messages == (ChatMessageV1(role="user", content="Hi"),)


def test_the_system_is_the_first_message() -> None:
    hint = {"cache_control": {"type": "ephemeral"}}
    blocks = [{"type": "text", "text": "Be brief.", **hint}, {"type": "text", "text": "Be kind.", **hint}]
    assert said(system="Be brief.")[0] == {"role": "system", "content": "Be brief."}
    assert said(system=blocks)[0] == {"role": "system", "content": "Be brief.\n\nBe kind."}
    assert said({"role": "system", "content": "Now in French."}, USER)[0]["role"] == "system"
    assert said(system="") == [{"role": "user", "content": "Hi"}]


def test_pictures() -> None:
    url = {"type": "url", "url": "https://example.org/a.png"}
    parts = [{"type": "text", "text": "What?"}, {"type": "image", "source": PNG}, {"type": "image", "source": url}]
    content = said({"role": "user", "content": parts})[0]["content"]
    assert content[1] == {"url": "data:image/png;base64,iVBORw0KGgo="}
    assert content[2] == {"url": "https://example.org/a.png"}


def test_calls_and_their_results() -> None:
    thought = {"type": "thinking", "thinking": "hm", "signature": "s"}
    turn = {"role": "assistant", "content": [thought, {"type": "text", "text": "Let me see."}, CALLED]}
    failed = {**RESULT, "tool_use_id": "toolu_2", "content": [{"type": "text", "text": "no"}], "is_error": True}
    told = {"role": "user", "content": [RESULT, failed, {"type": "text", "text": "And now?"}]}
    assistant, first, second, last = said(turn, told)
    call = {"id": "toolu_1", "name": "f", "arguments": '{"a":"ö"}'}
    assert assistant == {"role": "assistant", "content": "Let me see.", "tool_calls": (call,)}
    assert first == {"role": "tool", "content": "4", "tool_call_id": "toolu_1"}
    assert [part["text"] for part in second["content"]] == ["The tool reported an error:\n", "no"]
    assert last == {"role": "user", "content": "And now?"}
    assert said({"role": "user", "content": [{"type": "tool_result", "tool_use_id": "x"}]})[0]["role"] == "tool"


def test_tools_and_the_choice_among_them() -> None:
    tools = option("tools", tools=[{**TOOL, "type": "custom", "cache_control": {"type": "ephemeral"}}])
    made = {"name": "f", "description": "d", "parameters": {"type": "object"}, "strict": True}
    assert [tool.model_dump() for tool in tools] == [made]
    for theirs, ours in (("auto", "auto"), ("any", "required"), ("none", "none")):
        assert option("tool_choice", tools=[TOOL], tool_choice={"type": theirs}) == ours
    named = {"type": "tool", "name": "f", "disable_parallel_tool_use": True}
    assert option("tool_choice", tools=[TOOL], tool_choice=named).name == "f"
    assert option("parallel_tool_calls", tools=[TOOL], tool_choice=named) is False
    assert option("tools", tools=[]) is None


def test_how_to_answer() -> None:
    assert option("stop", stop_sequences=["END"]) == ("END",)
    assert option("temperature", temperature=1) == 1
    schema = {"type": "json_schema", "schema": {"type": "object"}}
    assert option("response_format", output_config={"format": schema}).schema_ == {"type": "object"}
    assert option("reasoning_effort", output_config={"effort": "low"}) == "low"
    thinking = {"type": "enabled", "budget_tokens": 2048}
    assert option("provider_options", thinking=thinking) == {"anthropic": {"thinking": thinking}}
    kept = {"type": "ephemeral"}
    assert option("provider_options", cache_control=kept) == {"anthropic": {"cache_control": kept}}


def test_top_k_reaches_those_who_know_it_and_passes_over_the_others() -> None:
    own = option("provider_options", top_k=7, thinking={"type": "adaptive"})
    assert own["anthropic"] == {"top_k": 7, "thinking": {"type": "adaptive"}}
    assert own["google"] == {"topK": 7}
    assert own["openai"] == {"top_k": 7}


@pytest.mark.parametrize("given", [{"metadata": {"user_id": "u"}}, {"service_tier": "auto"}, {"container": None}])
def test_what_is_ignored_on_purpose(given: dict[str, Any]) -> None:
    assert read(DIALECT, **ASKED, **given) == read(DIALECT, **ASKED)


@pytest.mark.parametrize(
    ("given", "field", "words"),
    [
        ({"max_tokens": None}, "max_tokens", "missing"),
        ({"max_tokens": 0}, "max_tokens", "greater"),
        ({"temperature": 1.5}, "temperature", "less"),
        ({"stop_sequences": ["a", "b", "c", "d", "e"]}, "stop_sequences", "at most 4"),
        ({"container": "canary"}, "container", "cannot be honoured"),
        ({"mcp_servers": [{"url": "canary"}]}, "mcp_servers", "cannot be honoured"),
        ({"output_config": {"effort": "max"}}, "output_config.effort", "'low', 'medium' or 'high'"),
        ({"thinking": {"type": "enabled"}}, "thinking", "budget_tokens"),
        ({"tool_choice": {"type": "any"}}, "", "comes with 'tools'"),
        ({"tools": [TOOL], "tool_choice": {"type": "tool"}}, "tool_choice", "'name'"),
        ({"tools": [{"type": "web_search_20250305", "name": "canary"}]}, "tools.0", "'web_search'"),
        ({"tools": [{"type": "canary", **TOOL}]}, "tools.0.type", "'custom'"),
        ({"tools": [{**TOOL, "defer_loading": True}]}, "tools.0.defer_loading", "False"),
        ({"messages": []}, "messages", "at least 1"),
        ({"colour": "canary"}, "colour", "no such field"),
    ],
)
def test_what_is_refused_by_name(given: dict[str, Any], field: str, words: str) -> None:
    found, problem = refused(DIALECT, **{**ASKED, **given})
    assert found == field
    assert words in problem


@pytest.mark.parametrize(
    ("block", "words"),
    [
        ({"type": "document", "source": {"type": "text", "data": "canary"}}, "'document' cannot be carried"),
        ({"type": "server_tool_use", "id": "canary", "name": "canary", "input": {}}, "'server_tool_use'"),
        ({"type": "canary"}, "no such 'type'"),
        ({"type": "image", "source": {"type": "file", "file_id": "canary"}}, "no such 'type'"),
        ({"type": "text", "text": 5}, "string"),
    ],
)
def test_blocks_that_cannot_be_carried(block: dict[str, Any], words: str) -> None:
    field, problem = refused(DIALECT, **{**ASKED, "messages": [{"role": "user", "content": [block]}]})
    assert field.startswith("messages.0.user.content.0")
    assert words in problem


def test_results_come_first() -> None:
    late = [{"type": "text", "text": "canary"}, RESULT]
    field, problem = refused(DIALECT, **{**ASKED, "messages": [{"role": "user", "content": late}]})
    assert (field, "come before everything" in problem) == ("messages.0.user", True)


def test_more_results_than_a_call_may_have_messages() -> None:
    many = [{**RESULT, "tool_use_id": f"t{number}"} for number in range(2049)]
    with pytest.raises(OmniError, match="2048"):
        read(DIALECT, **{**ASKED, "messages": [{"role": "user", "content": many}]})


def test_counting_takes_what_is_read_and_no_limit() -> None:
    body = {"model": "writer", "messages": [USER], "system": "s", "tools": [TOOL]}
    asked = to_count(json.dumps(body).encode())
    assert [message.role for message in asked.messages] == ["system", "user"]
    assert asked.options.tools is not None
    with pytest.raises(OmniError):
        to_count(json.dumps({**body, "max_tokens": 5}).encode())
