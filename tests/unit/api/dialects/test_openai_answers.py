"""Answers in OpenAI's shape, whole and in chunks; the SDK's own types are the judge of what is in them."""

import json
from typing import Any

from openai.types import Completion, CreateEmbeddingResponse
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from services.api.dialects.dialect import Asked, Dialect
from services.api.dialects.openai_chat import ChatStyle, OpenAIChat
from services.api.dialects.openai_completions import OpenAICompletions
from services.api.dialects.openai_embeddings import EmbeddingStyle, OpenAIEmbeddings
from shared.errors import Code, OmniError
from shared.messages.chat import ChatOptionsV1, DeltaV1, ToolCallDeltaV1, ToolCallV1
from shared.messages.router import InvokedV1, TokensV1
from shared.messages.vocabulary import Capability

CALL_ID = "350753b2-dde4-48d7-8953-b2a6e21a9ed4"
TOKENS = TokensV1(input_tokens=10, output_tokens=5, cache_read_tokens=3, reasoning_tokens=2)


def answer(**fields: Any) -> InvokedV1:
    basis: dict[str, Any] = {
        "call_id": CALL_ID, "alias_name": "a", "capability": Capability.CHAT, "provider": "p", "model": "m/x",
        "text": "Hello", "finish_reason": "stop", "tokens": TOKENS, "cost_usd_micros": 20, "fallback_reason": None,
        "attempts": (), "latency_ms": 1,
    }  # fmt: skip
    return InvokedV1(**basis | fields)


def asked(style: object = None) -> Asked:
    return Asked("a", (), ChatOptionsV1(), style=style)


def streamed(dialect: Dialect, style: object, *deltas: DeltaV1, end: InvokedV1) -> tuple[list[dict[str, Any]], str]:
    writer = dialect.writer(asked(style), CALL_ID, 7)
    text = b"".join([writer.begin(), *(writer.delta(delta) for delta in deltas), writer.waiting(), writer.end(end)])
    events = [block for block in text.decode().split("\n\n") if block and not block.startswith(":")]
    assert all(event.startswith("data: ") for event in events)
    return [json.loads(event[6:]) for event in events[:-1]], events[-1]


def test_a_whole_answer() -> None:
    read = ChatCompletion.model_validate_json(OpenAIChat().whole(asked(), answer(), (), 7))
    assert (read.id, read.created, read.model) == ("chatcmpl-" + CALL_ID.replace("-", ""), 7, "p/m/x")
    assert read.choices[0].message.content == "Hello"
    assert read.usage is not None
    assert read.usage.prompt_tokens_details is not None
    assert read.usage.prompt_tokens_details.cached_tokens == 3


def test_calls_of_tools_beside_no_text() -> None:
    call = ToolCallV1(id="c", name="f", arguments="{}")
    text = OpenAIChat().whole(asked(), answer(text="", tool_calls=(call,), finish_reason="tool_calls"), (), 7)
    choice = ChatCompletion.model_validate_json(text).choices[0]
    assert (choice.finish_reason, choice.message.content) == ("tool_calls", None)
    assert choice.message.tool_calls is not None
    assert choice.message.tool_calls[0].id == "c"


def test_what_is_unknown_is_not_made_up() -> None:
    read = json.loads(OpenAIChat().whole(asked(), answer(tokens=TokensV1(), cost_usd_micros=None), (), 7))
    assert (read["usage"], read["omnipost"]["cost_usd"]) == (None, None)
    odd = json.loads(OpenAIChat().whole(asked(), answer(finish_reason="unknown"), (), 7))
    assert odd["choices"][0]["finish_reason"] == "stop"


def test_chunks() -> None:
    pieces = (ToolCallDeltaV1(index=0, id="c", name="f"), ToolCallDeltaV1(index=0, arguments="{}"))
    deltas = [DeltaV1(text="Hel"), DeltaV1(text="lo"), DeltaV1(), *(DeltaV1(tool_calls=(piece,)) for piece in pieces)]
    chunks, last = streamed(OpenAIChat(), ChatStyle(include_usage=True), *deltas, end=answer())
    read = [ChatCompletionChunk.model_validate(chunk) for chunk in chunks]
    assert last == "data: [DONE]"
    assert [chunk.choices[0].delta.content for chunk in read[:3]] == ["", "Hel", "lo"]
    assert chunks[3]["choices"][0]["delta"]["tool_calls"] == [
        {"index": 0, "id": "c", "type": "function", "function": {"name": "f", "arguments": ""}}
    ]
    assert chunks[4]["choices"][0]["delta"]["tool_calls"] == [{"index": 0, "function": {"arguments": "{}"}}]
    assert read[-2].choices[0].finish_reason == "stop"
    assert (chunks[-1]["choices"], chunks[-1]["usage"]["total_tokens"]) == ([], 15)
    assert all(chunk["usage"] is None for chunk in chunks[:-1])
    assert chunks[-1]["omnipost"]["cost_usd"] == "0.000020"


def test_without_usage_the_last_chunk_says_what_we_know() -> None:
    chunks, _ = streamed(OpenAIChat(), ChatStyle(), DeltaV1(text="x"), end=answer())
    assert "usage" not in chunks[-1]
    assert (chunks[-1]["choices"][0]["finish_reason"], chunks[-1]["omnipost"]["provider"]) == ("stop", "p")


def test_a_failure_on_the_way() -> None:
    writer = OpenAIChat().writer(asked(), CALL_ID, 7)
    said = writer.failed(OmniError(Code.TIMEOUT, "No.", extra={"call_id": CALL_ID})).decode()
    assert json.loads(said.removeprefix("data: "))["error"]["code"] == "timeout"


def test_a_completed_text() -> None:
    read = Completion.model_validate_json(OpenAICompletions().whole(asked(), answer(), (), 7))
    assert (read.choices[0].text, read.object) == ("Hello", "text_completion")
    chunks, last = streamed(OpenAICompletions(), ChatStyle(), DeltaV1(text="Hel"), end=answer())
    assert [chunk["choices"][0]["text"] for chunk in chunks] == ["Hel", ""]
    assert last == "data: [DONE]"


def test_embeddings_as_numbers_and_as_base64() -> None:
    vector = "AACAPgAAAL8AAIA/"  # 0.25, -0.5, 1
    numbers = OpenAIEmbeddings().whole(asked(), answer(), [EmbeddingStyle().written(vector)], 7)
    for style, shown in ((EmbeddingStyle(), [0.25, -0.5, 1]), (EmbeddingStyle(as_base64=True), vector)):
        text = OpenAIEmbeddings().whole(asked(style), answer(), [style.written(vector)] * 2, 7)
        rows = json.loads(text)["data"]
        assert [(row["index"], row["embedding"]) for row in rows] == [(0, shown), (1, shown)]
    assert CreateEmbeddingResponse.model_validate_json(numbers).usage.total_tokens == 15
    assert (
        json.loads(OpenAIEmbeddings().whole(asked(EmbeddingStyle()), answer(tokens=TokensV1()), [], 7))["usage"] is None
    )
