"""What a program does with OpenAI's SDK: each case with the sync and the async client."""

import base64
import struct
from collections.abc import Awaitable, Callable
from typing import Any

import pydantic
from openai import AsyncOpenAI

from shared.testing.upstream import Answer
from tests.compatible.place import (
    CALL,
    VECTORS,
    Place,
    called,
    called_in_pieces,
    chat_answer,
    openai_error,
    packed,
    streamed,
    vectors_answer,
)

SAY: Any = [{"role": "user", "content": "Hello!"}]
WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "Weather of a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
        "strict": True,
    },
}
PIXEL = "data:image/png;base64,iVBORw0KGgo="


class City(pydantic.BaseModel):
    """What an answer shall look like."""

    name: str
    people: int


class Client:
    """The SDK's client, sync or async: every call is awaited, every stream is listed."""

    def __init__(self, client: Any, place: Place, run: Callable[..., Awaitable[Any]]) -> None:
        self.client, self.place, self._run = client, place, run

    async def chat(self, **fields: Any) -> Any:
        """A conversation's answer."""
        asked = {"model": self.place.alias, "messages": SAY, **fields}
        return await self.do(self.client.chat.completions.create, **asked)

    async def do(self, method: Callable[..., Any], *args: Any, **fields: Any) -> Any:
        """What ``method`` gives, to its end when it is a stream."""
        return await self._run(method, *args, **fields)


def is_async(client: Any) -> bool:
    """Whether its methods are awaited."""
    return isinstance(client, AsyncOpenAI)


async def a_plain_answer(it: Client) -> None:
    it.place.answers(chat_answer("Hello back."))
    answer = await it.chat(
        user="u", temperature=0.5, top_p=0.9, max_completion_tokens=40, seed=7, stop="END", presence_penalty=0.1,
        frequency_penalty=0.2, metadata={"a": "b"}, store=False, n=1, service_tier="auto",
    )  # fmt: skip
    assert answer.choices[0].message.content == "Hello back."
    assert answer.choices[0].finish_reason == "stop"
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens, answer.usage.total_tokens) == (10, 5, 15)
    assert answer.model == it.place.model
    assert answer.omnipost["cost_usd"] == "0.000020"
    sent = it.place.asked
    assert (sent["max_tokens"], sent["temperature"], sent["seed"], sent["stop"]) == (40, 0.5, 7, ["END"])
    assert not {"user", "metadata", "store"} & set(sent)


async def a_stream(it: Client) -> None:
    it.place.answers(streamed("Hel", "lo"))
    chunks = await it.chat(stream=True)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "Hello"
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert chunks[-1].omnipost["provider"] == it.place.provider
    assert {chunk.id for chunk in chunks} == {chunks[0].id}


async def a_stream_with_usage(it: Client) -> None:
    it.place.answers(streamed("Hel", "lo"))
    chunks = await it.chat(stream=True, stream_options={"include_usage": True})
    assert chunks[-1].choices == []
    assert chunks[-1].usage.total_tokens == 15
    assert [chunk.usage for chunk in chunks[:-1]] == [None] * (len(chunks) - 1)


async def tools(it: Client) -> None:
    it.place.answers(called(), chat_answer("Cold."))
    first = await it.chat(tools=[WEATHER], tool_choice="auto", parallel_tool_calls=False)
    message = first.choices[0].message
    assert first.choices[0].finish_reason == "tool_calls"
    assert (message.content, message.tool_calls[0].function.arguments) == (None, CALL["function"]["arguments"])  # type: ignore[index]
    assert it.place.asked["tools"][0]["function"]["name"] == "weather"
    result = {"role": "tool", "tool_call_id": message.tool_calls[0].id, "content": "-5"}
    second = await it.chat(messages=[*SAY, message, result], tools=[WEATHER])
    assert second.choices[0].message.content == "Cold."
    assert [said["role"] for said in it.place.asked["messages"]] == ["user", "assistant", "tool"]


async def tools_in_a_stream(it: Client) -> None:
    it.place.answers(called_in_pieces())
    named = {"type": "function", "function": {"name": "weather"}}
    chunks = await it.chat(stream=True, tools=[WEATHER], tool_choice=named)
    pieces = [piece for chunk in chunks for piece in chunk.choices[0].delta.tool_calls or ()]
    said = {index: "".join(p.function.arguments or "" for p in pieces if p.index == index) for index in (0, 1)}
    assert said == {0: '{"city":"Oslo"}', 1: "{}"}
    assert [piece.id for piece in pieces if piece.id] == ["call_1", "call_2"]
    assert chunks[-1].choices[0].finish_reason == "tool_calls"


async def json_of_a_schema(it: Client) -> None:
    it.place.answers(chat_answer('{"name":"Oslo","people":700000}'))
    method = it.client.chat.completions.parse
    answer = await it.do(method, model=it.place.alias, messages=SAY, response_format=City)
    assert answer.choices[0].message.parsed == City(name="Oslo", people=700_000)
    assert it.place.asked["response_format"]["json_schema"]["strict"] is True


async def any_json(it: Client) -> None:
    it.place.answers(chat_answer("{}"))
    answer = await it.chat(response_format={"type": "json_object"})
    assert answer.choices[0].message.content == "{}"
    assert it.place.asked["response_format"] == {"type": "json_object"}


async def a_picture(it: Client) -> None:
    it.place.answers(chat_answer())
    parts = [{"type": "text", "text": "What?"}, {"type": "image_url", "image_url": {"url": PIXEL, "detail": "low"}}]
    await it.chat(messages=[{"role": "developer", "content": "Be short."}, {"role": "user", "content": parts}])
    assert it.place.asked["messages"][1]["content"][1]["image_url"]["url"] == PIXEL


async def a_target_by_its_name(it: Client) -> None:
    it.place.answers(chat_answer())
    answer = await it.chat(model=it.place.model)
    assert answer.omnipost["alias_name"] == answer.model == it.place.model
    row = (await it.place.world.calls(it.place.workspace, 1))[0]
    assert (row["alias_name"], row["provider"], row["model"]) == (it.place.model, it.place.provider, "m")


async def a_completion(it: Client) -> None:
    it.place.answers(chat_answer("and then"))
    answer = await it.do(it.client.completions.create, model=it.place.alias, prompt="Once", max_tokens=9, echo=False)
    assert (answer.choices[0].text, answer.object) == ("and then", "text_completion")
    it.place.answers(streamed("and ", "then"))
    chunks = await it.do(it.client.completions.create, model=it.place.alias, prompt=["Once"], stream=True)
    assert "".join(chunk.choices[0].text for chunk in chunks) == "and then"
    assert chunks[-1].choices[0].finish_reason == "stop"


async def embeddings(it: Client) -> None:
    it.place.embeds_with(vectors_answer(), vectors_answer(), vectors_answer())
    create = it.client.embeddings.create
    found = await it.do(create, model=it.place.embeds, input=["a", "b"])
    assert [row.embedding for row in found.data] == VECTORS
    assert (found.usage.prompt_tokens, found.usage.total_tokens) == (4, 4)
    numbers = await it.do(create, model=it.place.embeds, input=["a", "b"], encoding_format="float")
    assert [row.embedding for row in numbers.data] == VECTORS
    coded = await it.do(create, model=it.place.embeds, input=["a", "b"], encoding_format="base64")
    assert [row.embedding for row in coded.data] == [packed(vector) for vector in VECTORS]
    assert struct.unpack("<3f", base64.b64decode(packed(VECTORS[0]))) == tuple(VECTORS[0])


async def models(it: Client) -> None:
    listed = await it.do(it.client.models.list)
    ids = {model.id for model in listed.data}
    assert {it.place.alias, it.place.embeds, it.place.model} <= ids
    assert not {name for name in ids if name.startswith("openai/")}, "no key for it"
    one = await it.do(it.client.models.retrieve, it.place.model)
    assert (one.id, one.owned_by) == (it.place.model, it.place.provider)


async def headers(it: Client) -> None:
    it.place.answers(openai_error(503, "overloaded"), chat_answer())
    create = it.client.chat.completions.with_raw_response.create
    raw = await it.do(create, model=it.place.alias, messages=SAY)
    shown = {name: value for name, value in raw.headers.items() if name.startswith("x-omnipost-")}
    assert shown["x-omnipost-provider"] == it.place.provider
    assert (shown["x-omnipost-model"], shown["x-omnipost-cost-usd"]) == ("m", "0.000020")
    assert shown["x-omnipost-attempts"] == "2"
    assert shown["x-omnipost-call-id"] == raw.parse().omnipost["call_id"]


async def a_stream_that_breaks(it: Client) -> None:
    import openai  # noqa: PLC0415 - the SDK's exceptions

    alias = await it.place.alias_with(on_stream_cut="error")
    it.place.answers(streamed("Hel", last=b""))
    try:
        await it.chat(model=alias, stream=True)
    except openai.APIError as error:
        assert error.code == "provider_error"  # noqa: PT017 - the SDK raises while the stream is read
        assert error.body["omnipost"]["incomplete"] is True  # type: ignore[index]  # noqa: PT017
    else:
        raise AssertionError("the SDK did not notice")


Case = Callable[[Client], Awaitable[None]]
CASES: tuple[Case, ...] = (
    a_plain_answer, a_stream, a_stream_with_usage, tools, tools_in_a_stream, json_of_a_schema, any_json, a_picture,
    a_target_by_its_name, a_completion, embeddings, models, headers, a_stream_that_breaks,
)  # fmt: skip
__all__ = ["CASES", "SAY", "Answer", "Case", "Client", "is_async"]
