"""What a program does with the responses of OpenAI's SDK, newest, against ``/v1/responses``."""

import asyncio
from typing import Any

import openai
import pytest
from openai.types.responses import FunctionToolParam, Response, ResponseFunctionToolCall
from pydantic import BaseModel

from shared.testing.upstream import Answer
from tests.compatible.here import PNG, SCHEMA, WEATHER, WRONG_TOKEN, Case, Here, called, called_in_pieces, ended
from tests.e2e.test_streaming import chunk, streamed
from tests.e2e.world import CHAT, chat_answer, openai_error

TOOL: FunctionToolParam = {
    "type": "function", "name": "weather", "description": "Tells it.", "parameters": SCHEMA, "strict": False,
}  # fmt: skip
CASES: list[Case] = []


def case(function: Case) -> Case:
    """One of those that are counted."""
    CASES.append(function)
    return function


def client(here: Here, **more: Any) -> openai.AsyncOpenAI:
    given = {"base_url": f"{here.url}/v1", "api_key": here.place.token, "max_retries": 0, **more}
    made = openai.AsyncOpenAI(**given)
    here.clients.push_async_callback(made.close)
    return made


def blocking(here: Here) -> openai.OpenAI:
    made = openai.OpenAI(base_url=f"{here.url}/v1", api_key=here.place.token, max_retries=0)
    here.clients.callback(made.close)
    return made


async def ask(here: Here, **more: Any) -> Response:
    given: dict[str, Any] = {"model": here.place.alias, "input": "Hi", **more}
    response: Response = await client(here).responses.create(**given)
    return response


@case
async def a_plain_question(here: Here) -> None:
    response = await ask(here, instructions="Be brief.", metadata={"a": "b"}, max_output_tokens=50)
    assert (response.object, response.status, response.output_text) == ("response", "completed", "Hello back.")
    assert response.usage is not None
    assert (response.usage.input_tokens, response.usage.output_tokens, response.usage.total_tokens) == (10, 5, 15)
    assert (response.instructions, response.metadata) == ("Be brief.", {"a": "b"})
    assert response.model == f"{here.place.provider}/m"
    assert response._request_id
    system, user = here.asked["messages"]
    assert (system["content"], user["content"]) == ("Be brief.", "Hi")


@case
async def a_plain_question_of_the_blocking_client(here: Here) -> None:
    def in_thread() -> str:
        return blocking(here).responses.create(model=here.place.alias, input="Hi", store=False).output_text

    assert await asyncio.to_thread(in_thread) == "Hello back."


@case
async def provider_and_model_in_place_of_an_alias(here: Here) -> None:
    assert (await ask(here, model=f"{here.place.provider}/m")).output_text == "Hello back."


@case
async def options_arrive(here: Here) -> None:
    await ask(here, temperature=0.5, top_p=0.9, reasoning={"effort": "low"}, max_output_tokens=77)
    asked = here.asked
    assert (asked["temperature"], asked["top_p"], asked["reasoning_effort"]) == (0.5, 0.9, "low")
    assert 77 in (asked.get("max_tokens"), asked.get("max_completion_tokens"))


@case
async def a_conversation_goes_on_with_its_own_output(here: Here) -> None:
    first = await ask(here)
    items: list[Any] = [{"role": "user", "content": "Hi"}, *first.output, {"role": "user", "content": "And?"}]
    await ask(here, input=items)
    assert [turn["role"] for turn in here.asked["messages"]] == ["user", "assistant", "user"]
    assert here.asked["messages"][1]["content"] == "Hello back."


@case
async def a_limit_makes_it_incomplete(here: Here) -> None:
    answer = chat_answer()
    here.place.answers(Answer(headers=answer.headers, body=answer.body.replace(b'"stop"', b'"length"')))
    response = await ask(here)
    assert response.incomplete_details is not None
    assert (response.status, response.incomplete_details.reason) == ("incomplete", "max_output_tokens")


@case
async def a_picture(here: Here) -> None:
    url = f"data:image/png;base64,{PNG}"
    image = {"type": "input_image", "image_url": url, "detail": "low"}
    content: list[Any] = [image, {"type": "input_text", "text": "?"}]
    await ask(here, input=[{"role": "user", "content": content}])
    assert here.asked["messages"][0]["content"][0]["image_url"] == {"url": url, "detail": "low"}


@case
async def a_tool_is_called_and_its_result_understood(here: Here) -> None:
    here.place.answers(called(WEATHER, WEATHER, text="I look."))
    first = await ask(here, tools=[TOOL], tool_choice="required", parallel_tool_calls=True)
    said, call, other = first.output
    assert said.type == "message"
    assert isinstance(call, ResponseFunctionToolCall)
    assert isinstance(other, ResponseFunctionToolCall)
    assert (call.call_id, call.name, call.arguments) == ("call_0", "weather", WEATHER["arguments"])
    outputs = [{"type": "function_call_output", "call_id": f"call_{at}", "output": "Rain."} for at in (0, 1)]
    await ask(here, input=[{"role": "user", "content": "Hi"}, *first.output, *outputs], tools=[TOOL])
    _, assistant, one, two = here.asked["messages"]
    assert [made["id"] for made in assistant["tool_calls"]] == ["call_0", "call_1"]
    assert (one["tool_call_id"], two["content"]) == ("call_0", "Rain.")


@case
async def a_named_tool(here: Here) -> None:
    here.place.answers(called(WEATHER))
    await ask(here, tools=[TOOL], tool_choice={"type": "function", "name": "weather"})
    assert here.asked["tool_choice"] == {"type": "function", "function": {"name": "weather"}}


class City(BaseModel):
    """A place."""

    city: str


@case
async def an_answer_is_parsed(here: Here) -> None:
    here.place.answers(chat_answer('{"city": "Köln"}'))
    response = await client(here).responses.parse(model=here.place.alias, input="Hi", text_format=City)
    assert response.output_parsed == City(city="Köln")
    assert here.asked["response_format"]["json_schema"]["strict"] is True


@case
async def a_streamed_answer_is_parsed(here: Here) -> None:
    here.place.answers(streamed('{"city": ', '"Köln"}'))
    async with client(here).responses.stream(model=here.place.alias, input="Hi", text_format=City) as stream:
        final = await stream.get_final_response()
    assert final.output_parsed == City(city="Köln")


@case
async def events_of_a_stream(here: Here) -> None:
    here.place.answers(streamed("Hel", "lo."))
    events = await client(here).responses.create(model=here.place.alias, input="Hi", stream=True)
    told = [(event.type.removeprefix("response."), event.sequence_number) async for event in events]
    kinds = [
        "created", "in_progress", "output_item.added", "content_part.added", "output_text.delta", "output_text.delta",
        "output_text.done", "content_part.done", "output_item.done", "completed",
    ]  # fmt: skip
    assert told == [(kind, number) for number, kind in enumerate(kinds)]


@case
async def the_stream_helper(here: Here) -> None:
    here.place.answers(streamed("Hel", "lo."))
    async with client(here).responses.stream(model=here.place.alias, input="Hi") as stream:
        text = [event.delta async for event in stream if event.type == "response.output_text.delta"]
        final = await stream.get_final_response()
    assert (text, final.output_text) == (["Hel", "lo."], "Hello.")
    assert final.usage is not None
    assert final.usage.total_tokens == 15


@case
async def the_stream_helper_of_the_blocking_client(here: Here) -> None:
    here.place.answers(streamed("Hel", "lo."))

    def in_thread() -> str:
        with blocking(here).responses.stream(model=here.place.alias, input="Hi") as stream:
            return stream.get_final_response().output_text

    assert await asyncio.to_thread(in_thread) == "Hello."


@case
async def a_streamed_tool_call(here: Here) -> None:
    here.place.answers(called_in_pieces(WEATHER, "I look."))
    asked: dict[str, Any] = {"model": here.place.alias, "input": "Hi", "tools": [TOOL]}
    async with client(here).responses.stream(**asked) as stream:
        kinds = [event.type async for event in stream]
        final = await stream.get_final_response()
    assert kinds.count("response.function_call_arguments.delta") == 2
    said, call = final.output
    assert said.type == "message"
    assert call.type == "function_call"
    assert (call.name, call.arguments) == ("weather", WEATHER["arguments"])


@case
async def a_stream_cut_by_its_limit_is_incomplete(here: Here) -> None:
    parts = (chunk(delta={"content": "Hel"}), ended("length"))
    here.place.answers(Answer(headers={"content-type": "text/event-stream"}, parts=parts))
    events = await client(here).responses.create(model=here.place.alias, input="Hi", stream=True)
    last = [event async for event in events][-1]
    assert last.type == "response.incomplete"
    assert last.response.output_text == "Hel"


@case
async def a_stream_that_breaks_says_so(here: Here) -> None:
    model = await here.place.alias_with(on_stream_cut="error")
    here.place.answers(streamed("Hel", last=b""))
    events = await client(here).responses.create(model=model, input="Hi", stream=True)
    last = [event async for event in events][-1]
    assert last.type == "response.failed"
    assert last.response.error is not None
    assert (last.response.status, last.response.error.code) == ("failed", "server_error")


@case
async def who_leaves_a_stream_ends_the_call(here: Here) -> None:
    here.place.answers(streamed("Hel", last=b"", hang=True))
    events = await client(here).responses.create(model=here.place.alias, input="Hi", stream=True)
    async for event in events:
        if event.type == "response.output_text.delta":
            break
    await events.close()
    await here.place.upstream.left(1)


async def raised_by(here: Here, kind: type[openai.APIStatusError], **more: Any) -> openai.APIStatusError:
    token = more.pop("token", here.place.token)
    with pytest.raises(openai.APIStatusError) as raised:
        await client(here, api_key=token).responses.create(**{"model": here.place.alias, "input": "Hi", **more})
    error = raised.value
    assert type(error) is kind, error
    assert error.request_id
    assert error.type
    return error


@case
async def what_needs_a_memory_is_a_bad_request(here: Here) -> None:
    error = await raised_by(here, openai.BadRequestError, previous_response_id="resp_1")
    assert error.param == "previous_response_id"
    assert (await raised_by(here, openai.BadRequestError, store=True)).param == "store"
    assert (await raised_by(here, openai.BadRequestError, background=True)).param == "background"
    assert (await raised_by(here, openai.BadRequestError, conversation="conv_1")).param == "conversation"
    assert here.asked_times == 0


@case
async def tools_of_openai_are_a_bad_request(here: Here) -> None:
    error = await raised_by(here, openai.BadRequestError, tools=[{"type": "web_search"}])
    assert "'web_search'" in str(error)


@case
async def a_wrong_token(here: Here) -> None:
    await raised_by(here, openai.AuthenticationError, token=WRONG_TOKEN)


@case
async def a_token_that_may_only_look(here: Here) -> None:
    await raised_by(here, openai.PermissionDeniedError, token=here.viewer)


@case
async def an_unknown_model(here: Here) -> None:
    assert (await raised_by(here, openai.NotFoundError, model="no-such-alias")).code == "model_not_found"


@case
async def a_provider_that_is_busy(here: Here) -> None:
    here.place.upstream.always("POST", CHAT, openai_error(429, "rate_limit_exceeded"))
    assert (await raised_by(here, openai.RateLimitError)).code == "rate_limit_exceeded"


@case
async def a_provider_that_is_broken(here: Here) -> None:
    here.place.upstream.always("POST", CHAT, openai_error(500, "server_error"))
    await raised_by(here, openai.InternalServerError)


@case
async def headers_say_who_answered_and_what_it_cost(here: Here) -> None:
    raw = await client(here).responses.with_raw_response.create(model=here.place.alias, input="Hi")
    assert raw.headers["x-omnipost-provider"] == here.place.provider
    assert raw.headers["x-omnipost-cost-usd"] == "0.000020"
    assert raw.headers["x-omnipost-call-id"].replace("-", "") in raw.parse().id
