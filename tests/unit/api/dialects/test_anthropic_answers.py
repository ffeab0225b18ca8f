"""Answers in Anthropic's dialect: whole, streamed, and failed."""

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given

from services.api.dialects.anthropic_messages import AnthropicMessages
from services.api.dialects.dialect import Asked
from shared import logs
from shared.errors import STATUS, Code, OmniError
from shared.messages.chat import ChatOptionsV1, DeltaV1, ToolCallDeltaV1, ToolCallV1
from shared.messages.router import TokensV1
from tests.unit.api.dialects.answered import (
    BARE,
    CALL_ID,
    CREATED,
    WEATHER,
    Events,
    answered,
    calls,
    events_of,
    opening,
    pieces,
    stream,
)

DIALECT = AnthropicMessages()
ASKED = Asked("writer", (), ChatOptionsV1())


def whole(**more: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(DIALECT.whole(ASKED, answered(**more), (), CREATED))
    return found


def streamed(deltas: list[DeltaV1], **more: Any) -> Events:
    return stream(DIALECT.writer(ASKED, CALL_ID, CREATED), deltas, answered(**more))


def test_a_whole_answer() -> None:
    message = whole()
    assert (message["id"], message["type"], message["role"]) == (f"msg_{BARE}", "message", "assistant")
    assert message["content"] == [{"type": "text", "text": "Hello.", "citations": None}]
    assert message["model"] == "openai/gpt-4o"
    assert message["omnipost"]["cost_usd"] == "0.000012"
    assert whole(text="")["content"] == []


def test_input_tokens_are_those_no_cache_was_asked_for() -> None:
    usage = whole()["usage"]
    assert (usage["input_tokens"], usage["output_tokens"]) == (60, 20)
    assert (usage["cache_read_input_tokens"], usage["cache_creation_input_tokens"]) == (30, 10)
    assert usage["output_tokens_details"] == {"thinking_tokens": 5}
    unknown = whole(tokens=TokensV1())["usage"]
    assert (unknown["input_tokens"], unknown["cache_read_input_tokens"]) == (0, None)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [("stop", "end_turn"), ("length", "max_tokens"), ("tool_calls", "tool_use"), ("unknown", "end_turn")],
)
def test_why_it_ended(ours: str, theirs: str) -> None:
    assert whole(finish_reason=ours)["stop_reason"] == theirs
    assert streamed([], finish_reason=ours)[-2][1]["delta"]["stop_reason"] == theirs


def test_calls_are_objects() -> None:
    broken = ToolCallV1(id="call_2", name="f", arguments="[1")
    text, first, second = whole(tool_calls=(WEATHER, broken), finish_reason="tool_calls")["content"]
    assert text["type"] == "text"
    assert first["input"] == {"city": "Köln"}
    assert second["input"] == {"INVALID_JSON": "[1"}


def test_a_stream_of_text() -> None:
    events = streamed([DeltaV1(text="Hel"), DeltaV1(text="lo.")])
    assert [name for name, _ in events] == [
        "message_start", "content_block_start", "content_block_delta", "content_block_delta", "content_block_stop",
        "message_delta", "message_stop",
    ]  # fmt: skip
    assert all(name == data["type"] for name, data in events)
    assert events[0][1]["message"]["model"] == "writer"
    assert events[-2][1]["usage"]["input_tokens"] == 60
    assert events[-2][1]["omnipost"]["model"] == "gpt-4o"


def test_calls_whose_pieces_come_in_turns_stay_open() -> None:
    later = [calls(ToolCallDeltaV1(index=index, arguments="1}")) for index in (0, 1)]
    events = streamed([calls(opening(0, '{"a":')), calls(opening(1, '{"b":')), *later])
    order = [(name, data["index"]) for name, data in events if "index" in data]
    assert order.index(("content_block_stop", 0)) > order.index(("content_block_start", 1))
    ready = streamed([calls(opening(0, "{}")), calls(opening(1, "{}"))])
    order = [(name, data["index"]) for name, data in ready if "index" in data]
    assert order.index(("content_block_stop", 0)) < order.index(("content_block_start", 1))


@given(pieces())
def test_every_block_is_started_filled_and_stopped(told: tuple[list[DeltaV1], str, tuple[ToolCallV1, ...]]) -> None:
    deltas, text, tool_calls = told
    events = streamed(deltas, text=text, tool_calls=tool_calls)
    started: dict[int, dict[str, Any]] = {}
    filled: dict[int, str] = {}
    opened: set[int] = set()
    for name, data in events:
        match name:
            case "content_block_start":
                assert data["index"] == len(started)
                started[data["index"]], filled[data["index"]] = data["content_block"], ""
                opened.add(data["index"])
            case "content_block_delta":
                assert data["index"] in opened
                filled[data["index"]] += data["delta"].get("text", "") + data["delta"].get("partial_json", "")
            case "content_block_stop":
                opened.remove(data["index"])
    assert not opened
    assert "".join(filled[index] for index, block in started.items() if block["type"] == "text") == text
    found = [(block["id"], filled[index]) for index, block in started.items() if block["type"] == "tool_use"]
    assert sorted(found) == sorted((call.id, call.arguments) for call in tool_calls)
    kinds = [block["type"] for block in started.values()]
    assert ("text", "text") not in pairwise(kinds)


def test_silence_and_failure() -> None:
    writer = DIALECT.writer(ASKED, CALL_ID, CREATED)
    assert events_of(writer.waiting()) == [("ping", {"type": "ping"})]
    name, data = events_of(writer.failed(OmniError(Code.PROVIDER_ERROR, "It broke.", extra={"call_id": "c"})))[0]
    assert (name, data["type"], data["error"]["type"]) == ("error", "error", "api_error")
    assert data["error"]["omnipost"] == {"code": "provider_error", "call_id": "c"}


@pytest.mark.parametrize("code", STATUS)
def test_every_failure_has_a_type(code: Code) -> None:
    with logs.about_request("r"):
        problem = DIALECT.problem(OmniError(code, "Sentence.", extra={"none": None}))
    assert problem["type"] == "error"
    assert problem["request_id"] == "r"
    assert problem["error"]["message"] == "Sentence."
    assert problem["error"]["type"].endswith("_error")
    assert problem["error"]["omnipost"] == {"code": code.value}


def test_a_body_that_is_too_large() -> None:
    problem = DIALECT.problem(OmniError(Code.INVALID_REQUEST, "Too large.", status=413))
    assert problem["error"]["type"] == "request_too_large"
