"""The real ``langchain-openai`` package over real sockets against a whole stack."""

from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import openai
import pytest
from langchain_core.messages import AIMessageChunk, HumanMessage, SystemMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from pydantic import SecretStr

from tests.compatible.openai_cases import City
from tests.compatible.openai_failures import asks_of
from tests.compatible.place import (
    VECTORS,
    Place,
    Tally,
    called,
    called_in_pieces,
    chat_answer,
    openai_error,
    streamed,
    vectors_answer,
)


@tool
def weather(city: str) -> str:
    """Weather of a city."""
    return f"cold in {city}"


def chat(place: Place, **fields: Any) -> ChatOpenAI:
    """LangChain's model, pointed at the stack."""
    fields = {"model": place.alias, "max_retries": 0, "timeout": 30, "http_async_client": place.world.http, **fields}
    return ChatOpenAI(base_url=place.base_url, **{"api_key": SecretStr(place.token), **fields})


async def an_answer(place: Place) -> None:
    place.answers(chat_answer("Hello back."))
    answer = await chat(place, temperature=0.5, max_tokens=30).ainvoke([SystemMessage("Short."), HumanMessage("Hi")])
    assert answer.content == "Hello back."
    assert answer.usage_metadata is not None
    assert answer.usage_metadata["total_tokens"] == 15
    assert (answer.response_metadata["model_name"], answer.response_metadata["finish_reason"]) == (place.model, "stop")
    assert place.asked["max_tokens"] == 30


async def a_stream(place: Place) -> None:
    place.answers(streamed("Hel", "lo"))
    whole: AIMessageChunk | None = None
    async for piece in chat(place, stream_usage=True).astream("Hi"):
        assert isinstance(piece, AIMessageChunk)
        whole = piece if whole is None else whole + piece
    assert whole is not None
    assert whole.content == "Hello"
    assert whole.usage_metadata is not None
    assert whole.usage_metadata["output_tokens"] == 5


async def tools(place: Place) -> None:
    place.answers(called(), chat_answer("Cold."))
    model = chat(place).bind_tools([weather])
    wanted = await model.ainvoke("Weather?")
    assert wanted.tool_calls[0]["args"] == {"city": "Oslo"}
    said = weather.invoke(wanted.tool_calls[0]["args"])
    result = ToolMessage(said, tool_call_id=wanted.tool_calls[0]["id"])
    assert (await model.ainvoke([HumanMessage("Weather?"), wanted, result])).content == "Cold."
    assert place.asked["messages"][2]["content"] == "cold in Oslo"


async def tools_in_a_stream(place: Place) -> None:
    place.answers(called_in_pieces())
    whole = AIMessageChunk(content="")
    async for piece in chat(place).bind_tools([weather]).astream("Weather?"):
        assert isinstance(piece, AIMessageChunk)
        whole += piece
    assert [call["name"] for call in whole.tool_calls] == ["weather", "time"]
    assert whole.tool_calls[0]["args"] == {"city": "Oslo"}


async def json_of_a_schema(place: Place) -> None:
    place.answers(chat_answer('{"name":"Oslo","people":700000}'))
    found = await chat(place).with_structured_output(City, method="json_schema").ainvoke("Oslo?")
    assert found == City(name="Oslo", people=700_000)
    assert place.asked["response_format"]["type"] == "json_schema"


async def embeddings(place: Place) -> None:
    place.embeds_with(vectors_answer())
    # Its own counting of tokens would send numbers that only OpenAI's models know.
    model = OpenAIEmbeddings(
        openai_api_base=place.base_url,
        openai_api_key=SecretStr(place.token),
        model=place.embeds,
        check_embedding_ctx_length=False,
        http_async_client=place.world.http,
    )
    assert await model.aembed_documents(["a", "b"]) == VECTORS


async def a_wrong_token(place: Place) -> None:
    with pytest.raises(openai.AuthenticationError):
        await chat(place, api_key=SecretStr("x" * 40), max_retries=2).ainvoke("Hi")


async def a_failure_that_may_have_cost_something(place: Place) -> None:
    alias = await place.alias_with(time_limits={"first_byte_s": 0.5, "last_first_byte_s": 0.5, "total_s": 5})
    place.upstream.always("POST", "/v1/chat/completions", chat_answer(delay_s=60))
    with pytest.raises(openai.InternalServerError) as raised:
        await chat(place, model=alias, max_retries=2).ainvoke("Hi")
    assert (raised.value.status_code, asks_of(place)) == (504, 1)


async def too_long(place: Place) -> None:
    place.upstream.always("POST", "/v1/chat/completions", openai_error(400, "context_length_exceeded"))
    with pytest.raises(openai.BadRequestError) as raised:
        await chat(place, max_retries=2).ainvoke("Hi")
    assert (raised.value.code, asks_of(place)) == ("context_length_exceeded", 1)


Case = Callable[[Place], Awaitable[None]]
CASES: tuple[Case, ...] = (
    an_answer, a_stream, tools, tools_in_a_stream, json_of_a_schema, embeddings, a_wrong_token,
    a_failure_that_may_have_cost_something, too_long,
)  # fmt: skip


@pytest.fixture(scope="module")
def tally() -> Iterator[Tally]:
    """Counts the cases of this file."""
    made = Tally("langchain-openai", cases=len(CASES))
    yield made
    made.say()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
async def test_what_programs_do(place: Place, case: Case, tally: Tally) -> None:
    with tally.case(case.__name__):
        await case(place)
