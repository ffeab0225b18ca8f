"""How many tokens a request can be at most: whatever it holds, and however a provider writes it into its prompt."""

import json
from decimal import Decimal
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from services.router.domain.pricing import (
    MOST_IMAGE_TOKENS,
    Price,
    Rate,
    bound,
    cost,
    embedding_bound_tokens,
    embedding_forecast,
    expected_tokens,
    forecast,
    upper_bound_tokens,
)
from shared.messages.catalogue import ModelV1
from shared.messages.chat import (
    ChatMessageV1,
    ChatOptionsV1,
    ImagePartV1,
    ResponseFormatV1,
    TextPartV1,
    ToolCallV1,
    ToolV1,
)
from shared.messages.router import TokensV1

MODEL = ModelV1(id="m", max_image_tokens=1_000)
PRICE = Price(Rate(Decimal(3)), Rate(Decimal(15)), Rate(Decimal("0.3")), Rate(Decimal("3.75")), "own")
WEATHER = ToolV1(name="weather", description="What is it like?", parameters={"type": "object", "properties": {}})

texts = st.text(max_size=200)
pictures = st.builds(
    ImagePartV1, url=st.just("https://example.com/p.png"), detail=st.sampled_from([None, "low", "high"])
)
calls = st.builds(ToolCallV1, id=st.text(max_size=20), name=st.just("weather"), arguments=texts)
messages = st.one_of(
    st.builds(ChatMessageV1, role=st.sampled_from(["system", "user"]), content=texts),
    st.builds(
        ChatMessageV1,
        role=st.just("user"),
        content=st.lists(st.builds(TextPartV1, text=texts) | pictures, max_size=4).map(tuple),
    ),
    st.builds(
        ChatMessageV1, role=st.just("assistant"), content=texts, tool_calls=st.lists(calls, max_size=3).map(tuple)
    ),
    st.builds(ChatMessageV1, role=st.just("tool"), content=texts, tool_call_id=st.text(max_size=20)),
)
schemas = st.dictionaries(st.text(max_size=10), st.text(max_size=20) | st.integers() | st.none(), max_size=5)
options = st.builds(
    ChatOptionsV1,
    max_tokens=st.integers(1, 100_000),
    tools=st.none()
    | st.lists(st.builds(ToolV1, name=st.just("t"), parameters=schemas), min_size=1, max_size=3).map(tuple),
    response_format=st.none() | st.builds(ResponseFormatV1, type=st.just("json_schema"), schema_=schemas),
    provider_options=st.none() | st.fixed_dictionaries({"openai": schemas}),
)
seen = {"cases": 0, "pictures": 0, "tools": 0, "schemas": 0}


def _written_out(turns: list[ChatMessageV1], asked: ChatOptionsV1) -> str:
    """A template of the wordiest kind: roles by name, JSON indented and escaped, results as JSON strings."""
    lines: list[str] = []
    for turn in turns:
        lines += [f"<|{turn.role}|>", json.dumps(turn.text) if turn.role == "tool" else turn.text]
        lines += [f"{call.id}{call.name}{json.dumps(call.arguments)}" for call in turn.tool_calls]
    for tool in asked.tools or ():
        lines.append(json.dumps({"name": tool.name, "parameters": tool.parameters}, indent=4))
    if asked.response_format is not None:
        lines.append(json.dumps(asked.response_format.schema_, indent=4))
    return "".join(lines)


@settings(max_examples=500, deadline=None)
@given(st.lists(messages, max_size=6), options)
def test_the_bound_is_above_every_byte_of_the_wordiest_template(
    turns: list[ChatMessageV1], asked: ChatOptionsV1
) -> None:
    images = sum(len(turn.images) for turn in turns)
    written = len(_written_out(turns, asked).encode(errors="surrogatepass")) + 1_000 * images
    at_most = upper_bound_tokens(turns, asked, MODEL)
    assert at_most >= written
    assert expected_tokens(turns, asked, MODEL) <= at_most
    seen["cases"] += 1
    seen["pictures"] += bool(images)
    seen["tools"] += bool(asked.tools)
    seen["schemas"] += bool(asked.response_format)


@settings(max_examples=500, deadline=None)
@given(st.lists(messages, max_size=6), options)
def test_the_forecast_is_not_above_what_is_reserved(turns: list[ChatMessageV1], asked: ChatOptionsV1) -> None:
    told = forecast(PRICE, turns, asked, MODEL)
    assert told.expected_usd_micros is not None
    assert told.at_most_usd_micros == bound(PRICE, upper_bound_tokens(turns, asked, MODEL), asked.max_tokens or 0)
    assert 0 < told.expected_usd_micros <= (told.at_most_usd_micros or 0)
    assert told.price_version == "own"


def test_the_cases_were_of_every_kind() -> None:
    print(f"\nupper bound of input: {seen}")
    assert seen["cases"] >= 500
    assert min(seen.values()) >= 50


def _grows(before: dict[str, Any], after: dict[str, Any], by: int) -> None:
    assert upper_bound_tokens(**after) - upper_bound_tokens(**before) >= by


def test_everything_in_a_request_counts() -> None:
    plain: dict[str, Any] = {"messages": [ChatMessageV1(role="user", content="Hi")], "options": ChatOptionsV1()}
    picture = ImagePartV1(url="https://example.com/p.png", detail="low")
    seen_by = {**plain, "messages": [ChatMessageV1(role="user", content=(TextPartV1(text="Hi"), picture))]}
    _grows(plain, seen_by, MOST_IMAGE_TOKENS)
    _grows(plain | {"model": MODEL}, seen_by | {"model": MODEL}, 1_000)
    _grows(plain, plain | {"options": ChatOptionsV1(tools=(WEATHER,))}, 1_024 + len(WEATHER.model_dump_json()))
    schema = ResponseFormatV1(type="json_schema", schema_={"type": "object"})
    _grows(plain, plain | {"options": ChatOptionsV1(response_format=schema)}, 1_024)
    _grows(plain, plain | {"options": ChatOptionsV1(provider_options={"openai": {"x": "y" * 100}})}, 1_124)


def test_embedding_is_bounded_by_its_bytes_and_needs_no_price_of_output() -> None:
    inputs = ("Grüße", "世界" * 50)
    price = Price(Rate(Decimal("0.069")), None, version="own 2026-11-23")
    at_most = embedding_bound_tokens(inputs)
    assert at_most >= sum(len(text.encode()) for text in inputs)
    told = embedding_forecast(price, inputs)
    assert told.at_most_usd_micros == bound(price, at_most, 0)
    assert (cost(price, TokensV1(input_tokens=at_most, output_tokens=0)) or 0) <= (told.at_most_usd_micros or 0)
    assert embedding_forecast(None, inputs).at_most_usd_micros is None


def test_a_forecast_by_hand() -> None:
    turns = [ChatMessageV1(role="user", content="x" * 4_000)]
    told = forecast(PRICE, turns, ChatOptionsV1(max_tokens=500), MODEL)
    assert told.expected_usd_micros == 1_000 * 3 + 500 * 15
    assert forecast(None, turns, ChatOptionsV1(max_tokens=500), MODEL).expected_usd_micros is None
