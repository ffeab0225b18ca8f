"""Gemini's dialect: conversations with functions and pictures, options, streams, embeddings."""

import json
import struct
from typing import Any

import pytest

from services.router.providers.base import ChatAnswer, ChatRequest, EmbedAnswer, EmbedRequest, Failure, Unfit
from services.router.providers.google import GOOGLE
from services.router.providers.tool_calls import is_made_up
from shared.messages.chat import (
    ChatMessageV1,
    ImagePartV1,
    NamedToolV1,
    ReasoningEffort,
    ResponseFormatV1,
    TextPartV1,
    ToolCallV1,
    ToolV1,
)
from shared.messages.router import TokensV1
from shared.messages.vocabulary import Outcome
from tests.providers.dialects import USER, answer, request, sent, streamed

assert GOOGLE.adapter is not None
ADAPTER = GOOGLE.adapter
OLD, NEW = "gemini-2.5-flash", "gemini-3-pro-preview"
PNG = "data:image/png;base64,iVBORw0="
SIGNATURE = "CiQB+/EU0="


def own(**fields: Any) -> dict[str, Any]:
    return {"provider_options": {"google": fields}}


def chunk(*parts: Any, finish: str | None = None, **fields: Any) -> str:
    candidate: dict[str, Any] = {"content": {"parts": list(parts), "role": "model"}, "index": 0}
    if finish is not None:
        candidate["finishReason"] = finish
    body = {"candidates": [candidate], "modelVersion": "gemini", "responseId": "r-1", **fields}
    return f"data: {json.dumps(body)}\r\n\r\n"


def used(prompt: int = 5, visible: int | None = 2, thoughts: int | None = None) -> dict[str, Any]:
    counts = {"promptTokenCount": prompt, "candidatesTokenCount": visible, "thoughtsTokenCount": thoughts}
    return {"usageMetadata": {name: count for name, count in counts.items() if count is not None}}


def function(name: str, args: Any = None, **fields: Any) -> dict[str, Any]:
    return {"functionCall": {"name": name} | ({} if args is None else {"args": args}), **fields}


def test_a_call_and_its_signature_go_out_as_they_came_in() -> None:
    both = (function("weather", {"city": "Rome"}, thoughtSignature=SIGNATURE), function("clock"))
    _, result = streamed(ADAPTER.chat, chunk(*both, finish="STOP", **used()))
    assert isinstance(result, ChatAnswer)
    assert (result.finish_reason, [call.arguments for call in result.tool_calls]) == (
        "tool_calls",
        ['{"city":"Rome"}', "{}"],
    )
    weather, clock = result.tool_calls
    asked = ChatMessageV1(role="assistant", tool_calls=result.tool_calls)
    rome = ChatMessageV1(role="tool", tool_call_id=weather.id, content="19 °C")
    noon = ChatMessageV1(role="tool", tool_call_id=clock.id, content='{"hour": 12}')
    contents = sent(ADAPTER, request(USER, asked, rome, noon, model=NEW))["contents"]
    assert contents[1:] == [
        {"role": "model", "parts": [both[0], function("clock", {})]},
        {"role": "user", "parts": [
            {"functionResponse": {"name": "weather", "response": {"output": "19 °C"}}},
            {"functionResponse": {"name": "clock", "response": {"hour": 12}}},
        ]},
    ]  # fmt: skip


def test_ids_are_made_up_where_gemini_gives_none_and_kept_where_it_does() -> None:
    given = {"functionCall": {"id": "g7", "name": "clock", "args": {}}}
    _, result = streamed(ADAPTER.chat, chunk(function("clock"), given, function("clock"), finish="STOP"))
    assert isinstance(result, ChatAnswer)
    first, second, third = (call.id for call in result.tool_calls)
    assert second == "g7"
    assert is_made_up(first)
    assert is_made_up(third)
    assert first != third
    other = ChatMessageV1(role="assistant", tool_calls=(result.tool_calls[1],))
    done = ChatMessageV1(role="tool", tool_call_id="g7", content="x")
    contents = sent(ADAPTER, request(USER, other, done, model=OLD))["contents"]
    assert contents[1]["parts"] == [given]
    assert contents[2]["parts"] == [{"functionResponse": {"id": "g7", "name": "clock", "response": {"output": "x"}}}]


@pytest.mark.parametrize(
    ("model", "signed"), [(NEW, True), ("gemini-flash-latest", True), (OLD, False), ("gemma-3-27b-it", False)]
)
def test_calls_that_another_model_made_are_let_through(model: str, signed: bool) -> None:  # noqa: FBT001 - a parameter
    calls = (ToolCallV1(id="toolu_1", name="a", arguments=""), ToolCallV1(id="toolu_2", name="b", arguments="{}"))
    [_, asked] = sent(ADAPTER, request(USER, ChatMessageV1(role="assistant", tool_calls=calls), model=model))[
        "contents"
    ]
    assert [part.get("thoughtSignature") for part in asked["parts"]] == [
        "skip_thought_signature_validator" if signed else None,
        None,
    ]


def test_pictures_travel_inside_the_request() -> None:
    parts = (TextPartV1(text="What?"), ImagePartV1(url=PNG))
    [turn] = sent(ADAPTER, request(ChatMessageV1(role="user", content=parts)))["contents"]
    assert turn["parts"] == [{"text": "What?"}, {"inlineData": {"mimeType": "image/png", "data": "iVBORw0="}}]


SCHEMA = {"type": "object", "properties": {}}


@pytest.mark.parametrize(
    ("options", "config"),
    [
        ({"tool_choice": "auto"}, {"mode": "AUTO"}),
        ({"tool_choice": "required"}, {"mode": "ANY"}),
        ({"tool_choice": "none"}, {"mode": "NONE"}),
        ({"tool_choice": NamedToolV1(name="a")}, {"mode": "ANY", "allowedFunctionNames": ["a"]}),
        ({"tools": (ToolV1(name="a", strict=True),)}, {"mode": "VALIDATED"}),
    ],
)
def test_tool_choices(options: dict[str, Any], config: dict[str, Any]) -> None:
    body = sent(ADAPTER, request(**({"tools": (ToolV1(name="a"),)} | options)))
    assert body["toolConfig"] == {"functionCallingConfig": config}


def test_schemas_go_where_their_language_is_read() -> None:
    tools = (ToolV1(name="a", parameters=SCHEMA), ToolV1(name="b", parameters={"type": "OBJECT"}), ToolV1(name="c"))
    wanted = ResponseFormatV1(type="json_schema", schema_=SCHEMA)
    body = sent(ADAPTER, request(tools=tools, response_format=wanted))
    assert body["tools"] == [{"functionDeclarations": [
        {"name": "a", "parametersJsonSchema": SCHEMA}, {"name": "b", "parameters": {"type": "OBJECT"}}, {"name": "c"},
    ]}]  # fmt: skip
    assert "toolConfig" not in body
    assert body["generationConfig"].items() >= {
        "responseMimeType": "application/json", "responseJsonSchema": SCHEMA
    }.items()  # fmt: skip
    anything = sent(ADAPTER, request(response_format=ResponseFormatV1(type="json_object")))
    assert anything["generationConfig"] == {"maxOutputTokens": 9, "responseMimeType": "application/json"}


@pytest.mark.parametrize(
    ("model", "effort", "config"),
    [
        (OLD, "none", {"thinkingBudget": 0}),
        (OLD, "minimal", {"thinkingBudget": 1024}),
        (OLD, "high", {"thinkingBudget": 24_576}),
        (NEW, "minimal", {"thinkingLevel": "MINIMAL"}),
        (NEW, "medium", {"thinkingLevel": "MEDIUM"}),
    ],
)
def test_efforts(model: str, effort: ReasoningEffort, config: dict[str, Any]) -> None:
    made = sent(ADAPTER, request(model=model, reasoning_effort=effort))
    assert made["generationConfig"]["thinkingConfig"] == config


def test_its_own_fields_find_their_place() -> None:
    safety = [{"category": "HARM_CATEGORY_HATE_SPEECH", "threshold": "BLOCK_NONE"}]
    body = sent(ADAPTER, request(frequency_penalty=0.5, presence_penalty=-1, **own(safetySettings=safety, topK=3)))
    assert body["safetySettings"] == safety
    assert body["generationConfig"] == {
        "maxOutputTokens": 9, "frequencyPenalty": 0.5, "presencePenalty": -1, "topK": 3,
    }  # fmt: skip


def test_a_stream_has_an_address_of_its_own() -> None:
    made = ADAPTER.chat.encode(ChatRequest(OLD, (USER,), request().options, stream=True))
    assert made.path == f"/v1beta/models/{OLD}:streamGenerateContent?alt=sse"


CALLED = ChatMessageV1(role="assistant", tool_calls=(ToolCallV1(id="a", name="b", arguments="{}"),))
UNFIT: list[tuple[ChatRequest, str]] = [
    (request(ChatMessageV1(role="user", content=(ImagePartV1(url="https://x.test/a.png"),))), "image_url"),
    (request(ChatMessageV1(role="user", content=(ImagePartV1(url=PNG, detail="high"),))), "image_detail"),
    (request(ChatMessageV1(role="system", content=(ImagePartV1(url=PNG),)), USER), "image_in_system"),
    (request(USER, ChatMessageV1(role="assistant", content=(ImagePartV1(url=PNG),)), USER), "image_in_assistant"),
    (request(USER, CALLED, ChatMessageV1(role="tool", tool_call_id="a", content=(ImagePartV1(url=PNG),))),
     "image_in_tool_result"),
    (request(USER, CALLED, ChatMessageV1(role="tool", tool_call_id="z", content="x")), "tool_call_id"),
    (request(ChatMessageV1(role="user"), USER), "empty_message"),
    (request(model=NEW, reasoning_effort="none"), "reasoning_effort"),
    (request(model=NEW, reasoning_effort="low", **own(thinkingConfig={})), "provider_options.thinkingConfig"),
]  # fmt: skip


@pytest.mark.parametrize(("made", "reason"), UNFIT)
def test_what_gemini_has_no_word_for_is_refused_by_name(made: ChatRequest, reason: str) -> None:
    with pytest.raises(Unfit) as raised:
        ADAPTER.chat.encode(made)
    assert raised.value.reason == reason


def test_a_stream_of_thoughts_and_text() -> None:
    raw = "".join([
        chunk({"text": "Hm", "thought": True}, **used(5, None, 3)), chunk({"text": "Grüß", "thoughtSignature": "x"}),
        chunk({"text": " 🌍"}, **used(5, 1, 3)), chunk({"text": ""}, finish="STOP", **used(5, 4, 3)),
    ])  # fmt: skip
    deltas, result = streamed(ADAPTER.chat, raw)
    tokens = TokensV1(input_tokens=5, output_tokens=7, reasoning_tokens=3)
    assert result == ChatAnswer("Grüß 🌍", "stop", tokens, "gemini", "r-1")
    assert [item.text for item in deltas] == ["Grüß", " 🌍"]
    # It says STOP in the last piece only, but nothing marks the end: a cut may have taken more.
    _, cut = streamed(ADAPTER.chat, raw, clean=False)
    assert isinstance(cut, Failure)
    assert (cut.outcome, cut.detail) == (Outcome.BAD_RESPONSE, "cut_answer")


def error(code: int, status: str, **fields: Any) -> str:
    return f"data: {json.dumps({'error': {'code': code, 'status': status, **fields}})}\r\n\r\n"


HI = chunk({"text": "Hi"})
BROKEN: list[tuple[str, Outcome, str]] = [
    (HI, Outcome.BAD_RESPONSE, "unfinished"),
    (HI + chunk(finish="OTHER"), Outcome.BAD_RESPONSE, "unfinished"),
    (HI + chunk(finish="MALFORMED_FUNCTION_CALL"), Outcome.BAD_RESPONSE, "bad_tool_call"),
    (HI + chunk(finish="SAFETY", **used()), Outcome.CONTENT_POLICY, "safety"),
    ('data: {"promptFeedback": {"blockReason": "SAFETY"}}\n\n', Outcome.CONTENT_POLICY, "prompt_blocked"),
    (HI + error(503, "UNAVAILABLE"), Outcome.PROVIDER_ERROR, "UNAVAILABLE"),
    (HI + error(429, "RESOURCE_EXHAUSTED", details=[{"retryDelay": "9s"}]), Outcome.RATE_LIMITED,
     "RESOURCE_EXHAUSTED"),
    (HI + error(7, "strange words"), Outcome.PROVIDER_ERROR, "http_500"),
    (HI + "data: {\n\n", Outcome.BAD_RESPONSE, "malformed_chunk"),
    (HI + chunk({"text": 7}), Outcome.BAD_RESPONSE, "malformed_chunk"),
    (chunk({"functionCall": {"args": {}}}, finish="STOP"), Outcome.BAD_RESPONSE, "bad_tool_call"),
    (chunk({"text": "\ud83c"}, finish="STOP"), Outcome.BAD_RESPONSE, "not_unicode"),
]  # fmt: skip


@pytest.mark.parametrize(("raw", "outcome", "detail"), BROKEN)
def test_streams_that_are_no_success(raw: str, outcome: Outcome, detail: str) -> None:
    _, result = streamed(ADAPTER.chat, raw)
    assert isinstance(result, Failure)
    assert (result.outcome, result.detail) == (outcome, detail)


def test_whole_answers_with_calls() -> None:
    body = json.loads(chunk({"text": "Looking."}, function("clock", {}), finish="STOP", **used()).removeprefix("data:"))
    result = ADAPTER.chat.decode(answer(body))
    assert isinstance(result, ChatAnswer)
    assert (result.text, result.finish_reason, result.tool_calls[0].arguments) == ("Looking.", "tool_calls", "{}")
    for wrong, detail in (({"name": "a", "args": []}, "bad_tool_call"), ({"name": "\ud800"}, "not_unicode")):
        body["candidates"][0]["content"]["parts"] = [{"functionCall": wrong}]
        bad = ADAPTER.chat.decode(answer(body))
        assert isinstance(bad, Failure)
        assert bad.detail == detail


def test_embeddings() -> None:
    assert ADAPTER.embedding is not None
    made = ADAPTER.embedding.encode(EmbedRequest("gemini-embedding-001", ("a", "b"), 2))
    assert made.path == "/v1beta/models/gemini-embedding-001:batchEmbedContents"
    assert [item["content"]["parts"][0]["text"] for item in json.loads(made.body)["requests"]] == ["a", "b"]
    assert all(
        (item["model"], item["outputDimensionality"]) == ("models/gemini-embedding-001", 2)
        for item in json.loads(made.body)["requests"]
    )
    told = {"embeddings": [{"values": [1, 0.5]}, {"values": [0.25, -1]}]}
    result = ADAPTER.embedding.decode(answer(told))
    assert result == EmbedAnswer((struct.pack("<2f", 1, 0.5), struct.pack("<2f", 0.25, -1)), TokensV1())
    counted = ADAPTER.embedding.decode(answer(told | {"usageMetadata": {"promptTokenCount": 4}}))
    assert isinstance(counted, EmbedAnswer)
    assert counted.tokens == TokensV1(input_tokens=4)
    cases: list[Any] = [[], [{"values": []}], [{"values": ["x"]}], [{"values": [1e300]}], [{"values": [1]}, {}], "x"]
    for vectors in cases:
        bad = ADAPTER.embedding.decode(answer({"embeddings": vectors}))
        assert isinstance(bad, Failure)
        said = "no_vectors" if vectors in ([], "x") else "bad_vector"
        assert (bad.outcome, bad.detail) == (Outcome.BAD_RESPONSE, said)
