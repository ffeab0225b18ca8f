"""Answers of OpenAI's responses: whole, streamed, and failed."""

import json
from typing import Any

from hypothesis import given

from services.api.dialects.dialect import Asked
from services.api.dialects.openai_responses import OpenAIResponses, ResponseStyle
from shared.errors import Code, OmniError
from shared.messages.chat import ChatOptionsV1, DeltaV1, ToolCallV1
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

DIALECT = OpenAIResponses()
ASKED = Asked("writer", (), ChatOptionsV1(), style=ResponseStyle({"instructions": "Be brief.", "tools": []}))


def whole(**more: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(DIALECT.whole(ASKED, answered(**more), (), CREATED))
    return found


def streamed(deltas: list[DeltaV1], **more: Any) -> Events:
    return stream(DIALECT.writer(ASKED, CALL_ID, CREATED), deltas, answered(**more))


def test_a_whole_answer() -> None:
    response = whole()
    assert (response["id"], response["object"], response["status"]) == (f"resp_{BARE}", "response", "completed")
    assert (response["created_at"], response["model"]) == (CREATED, "openai/gpt-4o")
    assert response["instructions"] == "Be brief."
    item = response["output"][0]
    assert (item["type"], item["status"], item["content"][0]["text"]) == ("message", "completed", "Hello.")
    assert response["omnipost"]["cost_usd"] == "0.000012"
    assert whole(text="")["output"][0]["content"][0]["text"] == ""


def test_usage() -> None:
    assert whole()["usage"] == {
        "input_tokens": 100,
        "input_tokens_details": {"cached_tokens": 30, "cache_write_tokens": 10},
        "output_tokens": 20,
        "output_tokens_details": {"reasoning_tokens": 5},
        "total_tokens": 120,
    }
    assert "usage" not in whole(tokens=TokensV1(input_tokens=1))


def test_calls_are_items() -> None:
    (call,) = whole(text="", tool_calls=(WEATHER,), finish_reason="tool_calls")["output"]
    assert (call["type"], call["call_id"], call["name"]) == ("function_call", "call_1", "weather")
    assert (call["arguments"], call["status"]) == ('{"city":"Köln"}', "completed")
    said, call = whole(tool_calls=(WEATHER,))["output"]
    assert (said["id"], call["id"]) == (f"msg_{BARE}_0", f"fc_{BARE}_1")


def test_an_answer_cut_by_its_limit_is_incomplete() -> None:
    response = whole(finish_reason="length")
    assert (response["status"], response["incomplete_details"]) == ("incomplete", {"reason": "max_output_tokens"})
    assert response["output"][0]["status"] == "incomplete"
    name, data = streamed([DeltaV1(text="Hel")], finish_reason="length")[-1]
    assert (name, data["response"]["status"]) == ("response.incomplete", "incomplete")


def test_a_stream_of_text() -> None:
    events = streamed([DeltaV1(text="Hel"), DeltaV1(text="lo.")])
    assert [name.removeprefix("response.") for name, _ in events] == [
        "created", "in_progress", "output_item.added", "content_part.added", "output_text.delta", "output_text.delta",
        "output_text.done", "content_part.done", "output_item.done", "completed",
    ]  # fmt: skip
    assert [data["sequence_number"] for _, data in events] == list(range(len(events)))
    assert events[-1][1]["response"] == whole()


def test_a_stream_of_calls() -> None:
    events = streamed([calls(opening(0, '{"a"')), calls(opening(1, "{}"))], text="")
    names = [(name.removeprefix("response."), data.get("output_index")) for name, data in events]
    assert names.index(("output_item.done", 0)) > names.index(("output_item.added", 1))
    assert names[-1][0] == "completed"


def test_a_stream_of_nothing_has_one_empty_message() -> None:
    events = streamed([], text="")
    assert events[-1][1]["response"]["output"] == whole(text="")["output"]
    assert [data["sequence_number"] for _, data in events] == list(range(len(events)))


@given(pieces())
def test_every_item_is_added_filled_and_done(told: tuple[list[DeltaV1], str, tuple[ToolCallV1, ...]]) -> None:
    deltas, text, tool_calls = told
    events = streamed(deltas, text=text, tool_calls=tool_calls)
    added: dict[int, str] = {}
    filled: dict[int, str] = {}
    done: dict[int, dict[str, Any]] = {}
    for number, (name, data) in enumerate(events):
        assert data["sequence_number"] == number
        index: int = data.get("output_index", -1)
        match name:
            case "response.output_item.added":
                assert index == len(added)
                added[index], filled[index] = data["item"]["id"], ""
            case "response.output_text.delta" | "response.function_call_arguments.delta":
                assert index not in done
                assert added[index] == data["item_id"]
                filled[index] += data["delta"]
            case "response.output_text.done" | "response.function_call_arguments.done":
                assert filled[index] == data.get("text", data.get("arguments"))
            case "response.output_item.done":
                assert index not in done
                done[index] = data["item"]
    output = events[-1][1]["response"]["output"]
    assert output == [done[index] for index in range(len(added))]
    messages = [item["content"][0]["text"] for item in output if item["type"] == "message"]
    assert "".join(messages) == text
    found = [(item["call_id"], item["arguments"]) for item in output if item["type"] == "function_call"]
    assert sorted(found) == sorted((call.id, call.arguments) for call in tool_calls)


def test_silence_and_failure() -> None:
    writer = DIALECT.writer(ASKED, CALL_ID, CREATED)
    assert writer.waiting() == b": waiting\n\n"
    writer.begin()
    writer.delta(DeltaV1(text="Hel"))
    name, data = events_of(writer.failed(OmniError(Code.RATE_LIMITED, "Slowly.")))[0]
    response = data["response"]
    assert (name, response["status"]) == ("response.failed", "failed")
    assert (response["error"]["code"], response["error"]["message"]) == ("rate_limit_exceeded", "Slowly.")
    assert (response["output"][0]["status"], response["output"][0]["content"][0]["text"]) == ("incomplete", "Hel")


def test_problems_are_openais() -> None:
    problem = DIALECT.problem(OmniError(Code.NOT_FOUND, "No such alias."))
    assert problem["error"]["code"] == "model_not_found"
