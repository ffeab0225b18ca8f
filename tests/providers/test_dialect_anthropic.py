"""Anthropic's dialect: conversations with tools and pictures, options, streams."""

import json
from typing import Any

import pytest

from services.router.providers.anthropic import ANTHROPIC
from services.router.providers.base import ChatAnswer, ChatRequest, Failure, Unfit
from shared.messages.chat import (
    ChatMessageV1,
    ImagePartV1,
    NamedToolV1,
    ResponseFormatV1,
    TextPartV1,
    ToolCallV1,
    ToolV1,
)
from shared.messages.router import TokensV1
from shared.messages.vocabulary import Outcome
from tests.providers.dialects import SYSTEM, USER, answer, request, sent, streamed

assert ANTHROPIC.adapter is not None
ADAPTER = ANTHROPIC.adapter
WEATHER = ToolV1(name="weather", parameters={"type": "object", "properties": {"city": {"type": "string"}}})
PNG = "data:image/png;base64,iVBORw0="
BOTH = ChatMessageV1(
    role="assistant",
    content="Looking.",
    tool_calls=(
        ToolCallV1(id="toolu_1", name="weather", arguments='{"city":"Rome"}'),
        ToolCallV1(id="call.a/b__thought__c2ln", name="clock", arguments=""),
    ),
)
ROME = ChatMessageV1(role="tool", tool_call_id="toolu_1", content="19 °C")
NOON = ChatMessageV1(role="tool", tool_call_id="call.a/b__thought__c2ln", content="")


def own(**fields: Any) -> dict[str, Any]:
    return {"provider_options": {"anthropic": fields}}


def test_results_of_calls_made_together_come_back_in_one_turn() -> None:
    turns = sent(ADAPTER, request(SYSTEM, USER, BOTH, ROME, NOON))["messages"]
    assert [turn["role"] for turn in turns] == ["user", "assistant", "user"]
    text, rome, clock = turns[1]["content"]
    assert text == {"type": "text", "text": "Looking."}
    assert rome == {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Rome"}}
    assert (clock["name"], clock["input"]) == ("clock", {})
    assert turns[2]["content"] == [
        {"type": "tool_result", "tool_use_id": "toolu_1", "content": [{"type": "text", "text": "19 °C"}]},
        {"type": "tool_result", "tool_use_id": clock["id"]},
    ]
    # An id of another provider becomes one that Anthropic takes, the same in both places.
    assert clock["id"].startswith("call_")
    assert clock["id"].replace("_", "").isalnum()


def test_pictures_are_sent_as_they_are_given() -> None:
    parts = (ImagePartV1(url="https://x.test/a.png"), TextPartV1(text=""), ImagePartV1(url=PNG, detail="auto"))
    [turn] = sent(ADAPTER, request(ChatMessageV1(role="user", content=parts)))["messages"]
    assert turn["content"] == [
        {"type": "image", "source": {"type": "url", "url": "https://x.test/a.png"}},
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0="}},
    ]


@pytest.mark.parametrize(
    ("options", "choice"),
    [
        ({"tool_choice": "auto"}, {"type": "auto"}),
        ({"tool_choice": "required", "parallel_tool_calls": True}, {"type": "any", "disable_parallel_tool_use": False}),
        ({"tool_choice": "none", "parallel_tool_calls": False}, {"type": "none"}),
        ({"tool_choice": NamedToolV1(name="weather")}, {"type": "tool", "name": "weather"}),
        ({"parallel_tool_calls": False}, {"type": "auto", "disable_parallel_tool_use": True}),
        ({}, None),
    ],
)
def test_tool_choices(options: dict[str, Any], choice: Any) -> None:
    body = sent(ADAPTER, request(tools=(WEATHER, ToolV1(name="clock", strict=True)), **options))
    assert body.get("tool_choice") == choice
    assert body["tools"] == [
        {"name": "weather", "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}}},
        {"name": "clock", "input_schema": {"type": "object", "properties": {}}, "strict": True},
    ]


def test_what_to_answer_and_how_hard_to_think() -> None:
    schema = {"type": "object", "properties": {}}
    wanted = ResponseFormatV1(type="json_schema", name="x", description="A thing.", schema_=schema)
    body = sent(ADAPTER, request(response_format=wanted, reasoning_effort="minimal"))
    told = {"type": "json_schema", "schema": {"description": "A thing."} | schema}
    assert body["output_config"] == {"effort": "low", "format": told}
    assert sent(ADAPTER, request(reasoning_effort="none"))["thinking"] == {"type": "disabled"}
    passed = {"top_k": 3, "metadata": {"user_id": "u"}, "cache_control": {"type": "ephemeral", "ttl": "5m"}}
    body = sent(ADAPTER, request(**own(**passed, output_config={"effort": "max"}, thinking={"type": "adaptive"})))
    assert body.items() >= (passed | {"output_config": {"effort": "max"}, "thinking": {"type": "adaptive"}}).items()
    assert set(passed) | {"output_config", "thinking"} == ADAPTER.chat.passes


def test_an_answer_to_go_on_with_does_not_end_in_white_space() -> None:
    begun = ChatMessageV1(role="assistant", content="Once upon \n")
    made = ChatRequest("m", (USER, begun), request().options, stream=True, continues=True)
    body = sent(ADAPTER, made)
    assert body["messages"][-1] == {"role": "assistant", "content": [{"type": "text", "text": "Once upon"}]}
    assert body["stream"] is True
    blank = ChatRequest("m", (USER, ChatMessageV1(role="assistant", content=" \n")), request().options, continues=True)
    assert [turn["role"] for turn in sent(ADAPTER, blank)["messages"]] == ["user"]


UNFIT: list[tuple[ChatRequest, str]] = [
    (request(ChatMessageV1(role="system", content=(ImagePartV1(url=PNG),)), USER), "image_in_system"),
    (request(USER, ChatMessageV1(role="assistant", content=(ImagePartV1(url=PNG),)), USER), "image_in_assistant"),
    (request(ChatMessageV1(role="user", content=(ImagePartV1(url=PNG, detail="low"),))), "image_detail"),
    (request(ChatMessageV1(role="user", content=(ImagePartV1(url="data:image/bmp;base64,AA=="),))), "image_type"),
    (request(ChatMessageV1(role="user"), USER), "empty_message"),
    (request(USER, ChatMessageV1(role="assistant"), USER), "empty_message"),
    (request(tools=(ToolV1(name="a.b"),)), "tool_name"),
    (request(response_format=ResponseFormatV1(type="json_object")), "response_format"),
    (request(reasoning_effort="low", **own(output_config={"effort": "max"})), "provider_options.output_config"),
    (request(**own(output_config="high")), "provider_options.output_config"),
    (request(reasoning_effort="none", **own(thinking={"type": "adaptive"})), "provider_options.thinking"),
    (request(USER, BOTH, ROME, NOON, **own(thinking={"type": "enabled", "budget_tokens": 1024})),
     "provider_options.thinking"),
    (request(**own(cache_control={"type": "ephemeral", "ttl": "1h"})), "provider_options.cache_control"),
    (request(USER, ChatMessageV1(role="assistant", tool_calls=(ToolCallV1(id="a", name="b", arguments="[1]"),)), USER),
     "tool_arguments"),
]  # fmt: skip


@pytest.mark.parametrize(("made", "reason"), UNFIT)
def test_what_anthropic_has_no_word_for_is_refused_by_name(made: ChatRequest, reason: str) -> None:
    with pytest.raises(Unfit) as raised:
        ADAPTER.chat.encode(made)
    assert raised.value.reason == reason


def chunk(kind: str, **fields: Any) -> str:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n"


def block(index: int, **fields: Any) -> str:
    return chunk("content_block_start", index=index, content_block=fields)


def delta(index: int, kind: str, **fields: Any) -> str:
    return chunk("content_block_delta", index=index, delta={"type": kind, **fields})


USED = {"input_tokens": 5, "cache_read_input_tokens": 3, "cache_creation_input_tokens": 2, "output_tokens": 1}
START = chunk("message_start", message={"id": "msg_1", "model": "claude", "usage": USED})


def end(reason: str | None, **usage: Any) -> str:
    return chunk("message_delta", delta={"stop_reason": reason}, usage={"output_tokens": 9, **usage})


STOP = chunk("message_stop")
TOKENS = TokensV1(input_tokens=10, output_tokens=9, cache_read_tokens=3, cache_write_tokens=2)


def test_a_stream_of_thoughts_text_and_calls() -> None:
    pieces = [
        START, block(0, type="thinking", thinking=""), delta(0, "thinking_delta", thinking=""),
        delta(0, "signature_delta", signature="x"), chunk("ping"), block(1, type="text", text="H"),
        delta(1, "text_delta", text="ï 🌍"), chunk("content_block_stop", index=1),
        block(2, type="tool_use", id="toolu_1", name="weather", input={}),
        delta(2, "input_json_delta", partial_json=""), delta(2, "input_json_delta", partial_json='{"city":'),
        delta(2, "input_json_delta", partial_json='"Rome"}'), block(3, type="tool_use", id="toolu_2", name="clock"),
        delta(3, "input_json_delta", partial_json=""), end("tool_use", output_tokens_details={"thinking_tokens": 4}),
        chunk("something_new", index=1), STOP,
    ]  # fmt: skip
    deltas, result = streamed(ADAPTER.chat, "".join(pieces))
    assert result == ChatAnswer(
        "Hï 🌍", "tool_calls", TOKENS.model_copy(update={"reasoning_tokens": 4}), "claude", "msg_1",
        tool_calls=(
            ToolCallV1(id="toolu_1", name="weather", arguments='{"city":"Rome"}'),
            ToolCallV1(id="toolu_2", name="clock", arguments="{}"),
        ),
    )  # fmt: skip
    told: dict[int, str] = {}
    for piece in (piece for item in deltas for piece in item.tool_calls):
        told[piece.index] = told.get(piece.index, "") + piece.arguments
    assert told == {0: '{"city":"Rome"}', 1: "{}"}
    assert "".join(item.text for item in deltas) == "Hï 🌍"


SAID = START + block(0, type="text", text="") + delta(0, "text_delta", text="Hi")
HALF = "data: " + json.dumps({"type": "content_block_delta", "delta": {"type": "text_delta", "text": "\ud83c"}})
BROKEN: list[tuple[str, Outcome, str]] = [
    (SAID + end("refusal") + STOP, Outcome.CONTENT_POLICY, "refusal"),
    (SAID + end("model_context_window_exceeded") + STOP, Outcome.CONTEXT_LENGTH_EXCEEDED,
     "model_context_window_exceeded"),
    (SAID + end("pause_turn") + STOP, Outcome.BAD_RESPONSE, "unfinished"),
    (SAID + end(None) + STOP, Outcome.BAD_RESPONSE, "unfinished"),
    (SAID, Outcome.BAD_RESPONSE, "unfinished"),
    (SAID + chunk("error", error={"type": "overloaded_error", "message": "Overloaded"}), Outcome.PROVIDER_ERROR,
     "overloaded_error"),
    (START + chunk("error", error={"type": "rate_limit_error"}), Outcome.RATE_LIMITED, "rate_limit_error"),
    (START + chunk("error", error={"type": "api_error"}), Outcome.PROVIDER_ERROR, "api_error"),
    (START + chunk("error", error="words"), Outcome.PROVIDER_ERROR, "http_500"),
    (START + chunk("error", error={"type": "invalid_request_error", "message": "prompt is too long: 9 tokens > 8"}),
     Outcome.CONTEXT_LENGTH_EXCEEDED, "context_length_exceeded"),
    (SAID + 'data: {"type": "content_block_delta", "ind\n\n', Outcome.BAD_RESPONSE, "malformed_chunk"),
    (SAID + delta(0, "text_delta", text=7), Outcome.BAD_RESPONSE, "malformed_chunk"),
    (START + block(0, type="tool_use", name="weather"), Outcome.BAD_RESPONSE, "bad_tool_call"),
    (SAID + HALF + "\n\n", Outcome.BAD_RESPONSE, "not_unicode"),
]  # fmt: skip


@pytest.mark.parametrize(("raw", "outcome", "detail"), BROKEN)
def test_streams_that_are_no_success(raw: str, outcome: Outcome, detail: str) -> None:
    _, result = streamed(ADAPTER.chat, raw)
    assert isinstance(result, Failure)
    assert (result.outcome, result.detail) == (outcome, detail)


def test_the_output_counted_at_the_first_moment_is_not_that_of_the_answer() -> None:
    _, result = streamed(ADAPTER.chat, SAID + chunk("message_delta", delta={"stop_reason": "end_turn"}) + STOP)
    assert isinstance(result, ChatAnswer)
    assert (result.tokens.input_tokens, result.tokens.output_tokens) == (10, None)


def test_whole_answers_with_tool_calls() -> None:
    use = {"type": "tool_use", "id": "toolu_1", "name": "clock", "input": {}}
    usage = {"input_tokens": 5, "output_tokens": 2}
    result = ADAPTER.chat.decode(answer({"content": [use], "stop_reason": "tool_use", "usage": usage}))
    assert isinstance(result, ChatAnswer)
    assert (result.text, result.finish_reason) == ("", "tool_calls")
    assert result.tool_calls == (ToolCallV1(id="toolu_1", name="clock", arguments="{}"),)
    for wrong, detail in ((use | {"input": "x"}, "bad_tool_call"), (use | {"input": {"a": "\ud800"}}, "not_unicode")):
        bad = ADAPTER.chat.decode(answer({"content": [wrong], "stop_reason": "tool_use", "usage": usage}))
        assert isinstance(bad, Failure)
        assert (bad.outcome, bad.detail) == (Outcome.BAD_RESPONSE, detail)


def test_a_model_that_refuses_prefill_says_so() -> None:
    said = {"type": "invalid_request_error", "message": "This model does not support assistant message prefill."}
    result = ADAPTER.chat.decode(answer({"error": said}, 400))
    assert isinstance(result, Failure)
    assert (result.outcome, result.detail) == (Outcome.INVALID_REQUEST, "prefill_not_supported")
