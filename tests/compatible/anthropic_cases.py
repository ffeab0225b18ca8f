"""What a program does with Anthropic's SDK, newest, against ``/v1/messages``."""

import asyncio
from typing import Any

import anthropic
from anthropic import types
from pydantic import BaseModel

from tests.compatible.here import PNG, SCHEMA, WEATHER, Case, Here, called, called_in_pieces
from tests.e2e.test_streaming import streamed
from tests.e2e.world import chat_answer

USER: types.MessageParam = {"role": "user", "content": "Hi"}
TOOL: types.ToolParam = {"name": "weather", "description": "Tells it.", "input_schema": SCHEMA}
CASES: list[Case] = []


def case(function: Case) -> Case:
    """One of those that are counted."""
    CASES.append(function)
    return function


def client(here: Here, **more: Any) -> anthropic.AsyncAnthropic:
    given = {"base_url": here.url, "api_key": here.place.token, "max_retries": 0, **more}
    made = anthropic.AsyncAnthropic(**given)
    here.clients.push_async_callback(made.close)
    return made


def blocking(here: Here) -> anthropic.Anthropic:
    made = anthropic.Anthropic(base_url=here.url, api_key=here.place.token, max_retries=0)
    here.clients.callback(made.close)
    return made


async def ask(here: Here, *messages: types.MessageParam, **more: Any) -> types.Message:
    given: dict[str, Any] = {"model": here.place.alias, "max_tokens": 50, "messages": list(messages) or [USER], **more}
    message: types.Message = await client(here).messages.create(**given)
    return message


def text_of(message: types.Message) -> str:
    return "".join(block.text for block in message.content if block.type == "text")


@case
async def a_plain_question(here: Here) -> None:
    message = await ask(here)
    assert (message.type, message.role, message.stop_reason) == ("message", "assistant", "end_turn")
    assert text_of(message) == "Hello back."
    assert (message.usage.input_tokens, message.usage.output_tokens) == (10, 5)
    assert message.model == f"{here.place.provider}/m"
    assert message._request_id
    assert (message.model_extra or {})["omnipost"]["cost_usd"] == "0.000020"
    assert here.asked["messages"] == [{"role": "user", "content": "Hi"}]


@case
async def a_plain_question_of_the_blocking_client(here: Here) -> None:
    def in_thread() -> types.Message:
        return blocking(here).messages.create(model=here.place.alias, max_tokens=50, messages=[USER])

    assert text_of(await asyncio.to_thread(in_thread)) == "Hello back."


@case
async def the_token_as_bearer(here: Here) -> None:
    bearer = client(here, auth_token=here.place.token, api_key=None)
    assert text_of(await bearer.messages.create(model=here.place.alias, max_tokens=5, messages=[USER])) == "Hello back."


@case
async def provider_and_model_in_place_of_an_alias(here: Here) -> None:
    assert text_of(await ask(here, model=f"{here.place.provider}/m")) == "Hello back."


@case
async def the_beta_client(here: Here) -> None:
    message = await client(here).beta.messages.create(
        model=here.place.alias, max_tokens=5, messages=[{"role": "user", "content": "Hi"}]
    )
    assert message.content[0].type == "text"


@case
async def options_arrive(here: Here) -> None:
    system: list[types.TextBlockParam] = [
        {"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}},
        {"type": "text", "text": "Be kind."},
    ]
    # The newest SDK has no parameters for the first two any more; its API, and other SDKs, have.
    older = {"temperature": 0.5, "top_p": 0.9}
    await ask(here, system=system, stop_sequences=["END"], metadata={"user_id": "u"}, extra_body=older)
    asked = here.asked
    assert asked["messages"][0] == {"role": "system", "content": "Be brief.\n\nBe kind."}
    assert (asked["temperature"], asked["top_p"], asked["stop"]) == (0.5, 0.9, ["END"])


@case
async def a_limit_is_a_stop_reason(here: Here) -> None:
    answer = chat_answer()
    here.place.answers(type(answer)(headers=answer.headers, body=answer.body.replace(b'"stop"', b'"length"')))
    assert (await ask(here)).stop_reason == "max_tokens"


@case
async def a_picture(here: Here) -> None:
    source: types.Base64ImageSourceParam = {"type": "base64", "media_type": "image/png", "data": PNG}
    await ask(here, {"role": "user", "content": [{"type": "image", "source": source}, {"type": "text", "text": "?"}]})
    image, text = here.asked["messages"][0]["content"]
    assert image["image_url"]["url"] == f"data:image/png;base64,{PNG}"
    assert text["text"] == "?"


@case
async def a_picture_by_its_url(here: Here) -> None:
    source: types.URLImageSourceParam = {"type": "url", "url": "https://example.org/a.png"}
    await ask(here, {"role": "user", "content": [{"type": "image", "source": source}]})
    assert here.asked["messages"][0]["content"][0]["image_url"]["url"] == "https://example.org/a.png"


@case
async def a_tool_is_called_and_its_result_understood(here: Here) -> None:
    here.place.answers(called(WEATHER, text="I look."))
    first = await ask(here, tools=[TOOL], tool_choice={"type": "any", "disable_parallel_tool_use": True})
    assert first.stop_reason == "tool_use"
    assert (here.asked["tool_choice"], here.asked["parallel_tool_calls"]) == ("required", False)
    said, use = first.content
    assert said.type == "text"
    assert use.type == "tool_use"
    assert (use.id, use.name, use.input) == ("call_0", "weather", {"city": "Köln"})
    result: types.ToolResultBlockParam = {"type": "tool_result", "tool_use_id": use.id, "content": "Rain."}
    turn: types.MessageParam = {"role": "assistant", "content": first.content}
    await ask(here, USER, turn, {"role": "user", "content": [result, {"type": "text", "text": "So?"}]}, tools=[TOOL])
    _, assistant, tool, user = here.asked["messages"]
    assert assistant["tool_calls"][0]["function"]["name"] == "weather"
    assert (tool["role"], tool["tool_call_id"], tool["content"]) == ("tool", "call_0", "Rain.")
    assert user["content"] == "So?"


@case
async def a_named_tool(here: Here) -> None:
    here.place.answers(called(WEATHER))
    await ask(here, tools=[TOOL], tool_choice={"type": "tool", "name": "weather"})
    assert here.asked["tool_choice"] == {"type": "function", "function": {"name": "weather"}}


class City(BaseModel):
    """A place."""

    city: str


@case
async def an_answer_is_parsed(here: Here) -> None:
    here.place.answers(chat_answer('{"city": "Köln"}'))
    message = await client(here).messages.parse(
        model=here.place.alias, max_tokens=50, messages=[USER], output_format=City
    )
    assert message.parsed_output == City(city="Köln")
    assert here.asked["response_format"]["type"] == "json_schema"


@case
async def events_of_a_stream(here: Here) -> None:
    here.place.answers(streamed("Hel", "lo."))
    events = await client(here).messages.create(model=here.place.alias, max_tokens=50, messages=[USER], stream=True)
    kinds = [event.type async for event in events]
    assert kinds == [
        "message_start", "content_block_start", "content_block_delta", "content_block_delta", "content_block_stop",
        "message_delta", "message_stop",
    ]  # fmt: skip


@case
async def the_stream_helper(here: Here) -> None:
    here.place.answers(streamed("Hel", "lo."))
    async with client(here).messages.stream(model=here.place.alias, max_tokens=50, messages=[USER]) as stream:
        text = [piece async for piece in stream.text_stream]
        final = await stream.get_final_message()
    assert text == ["Hel", "lo."]
    assert (text_of(final), final.stop_reason) == ("Hello.", "end_turn")
    assert (final.usage.input_tokens, final.usage.output_tokens) == (10, 5)


@case
async def the_stream_helper_of_the_blocking_client(here: Here) -> None:
    here.place.answers(streamed("Hel", "lo."))

    def in_thread() -> types.Message:
        with blocking(here).messages.stream(model=here.place.alias, max_tokens=50, messages=[USER]) as stream:
            final: types.Message = stream.get_final_message()
            return final

    assert text_of(await asyncio.to_thread(in_thread)) == "Hello."


@case
async def a_streamed_tool_call(here: Here) -> None:
    here.place.answers(called_in_pieces(WEATHER, "I look."))
    asked: dict[str, Any] = {"model": here.place.alias, "max_tokens": 50, "messages": [USER], "tools": [TOOL]}
    async with client(here).messages.stream(**asked) as stream:
        kinds = [event.type async for event in stream]
        final = await stream.get_final_message()
    assert "input_json" in kinds
    said, use = final.content
    assert said.type == "text"
    assert use.type == "tool_use"
    assert (use.name, use.input, final.stop_reason) == ("weather", {"city": "Köln"}, "tool_use")


@case
async def who_leaves_a_stream_ends_the_call(here: Here) -> None:
    here.place.answers(streamed("Hel", last=b"", hang=True))
    events = await client(here).messages.create(model=here.place.alias, max_tokens=50, messages=[USER], stream=True)
    async for event in events:
        if event.type == "content_block_delta":
            break
    await events.close()
    await here.place.upstream.left(1)


@case
async def headers_say_who_answered_and_what_it_cost(here: Here) -> None:
    raw = await client(here).messages.with_raw_response.create(model=here.place.alias, max_tokens=50, messages=[USER])
    assert raw.headers["x-omnipost-provider"] == here.place.provider
    assert raw.headers["x-omnipost-cost-usd"] == "0.000020"
    assert raw.headers["x-omnipost-call-id"].replace("-", "") in (await raw.parse()).id


@case
async def tokens_are_counted(here: Here) -> None:
    raw = await client(here).messages.with_raw_response.count_tokens(
        model=here.place.alias,
        system="Be brief.",
        messages=[USER, {"role": "assistant", "content": "Yes?"}],
        tools=[TOOL],
    )
    counted = (await raw.parse()).input_tokens
    assert counted >= int(raw.headers["x-omnipost-expected-input-tokens"]) > 5
    short = await client(here).messages.count_tokens(model=f"{here.place.provider}/m", messages=[USER])
    assert short.input_tokens < counted
    assert here.asked_times == 0
