from typing import Any

import pytest

from services.router.domain.offer import Way
from services.router.domain.wish import Wish, lacking, options_for, wish_of
from shared.messages.catalogue import ModelV1
from shared.messages.chat import ChatMessageV1, ChatOptionsV1, EmbeddingV1, ImagePartV1, ToolCallV1
from shared.messages.vocabulary import Feature

TOOL = {"name": "clock"}
EVERYTHING = Way(frozenset(ChatOptionsV1.model_fields) | {"dimensions"}, frozenset({"user"}))


def say(**fields: Any) -> ChatMessageV1:
    return ChatMessageV1(**{"role": "user", "content": "Hi", **fields})


PICTURE = say(content=(ImagePartV1(url="https://pictures.example/1.png"),))


@pytest.mark.parametrize(
    ("message", "options", "needed"),
    [
        (say(), {}, set()),
        (say(), {"temperature": 0.5, "response_format": {"type": "text"}}, set()),
        (say(), {"tools": (TOOL,)}, {Feature.TOOLS}),
        (say(role="assistant", tool_calls=(ToolCallV1(id="1", name="clock", arguments="{}"),)), {}, {Feature.TOOLS}),
        (say(role="tool", tool_call_id="1"), {}, {Feature.TOOLS}),
        (PICTURE, {"reasoning_effort": "low"}, {Feature.VISION, Feature.REASONING}),
        (say(), {"response_format": {"type": "json_object"}}, {Feature.JSON_OBJECT}),
        (say(), {"response_format": {"type": "json_schema", "schema_": {}}}, {Feature.JSON_SCHEMA}),
    ],
)
def test_what_the_model_must_be_able_to_do_follows_from_the_request(
    message: ChatMessageV1, options: dict[str, Any], needed: set[Feature]
) -> None:
    asked = ChatOptionsV1.model_validate(options)
    wish = wish_of((message,), asked)
    assert wish == Wish(frozenset(options), frozenset(needed))
    able = ModelV1(id="m", features=tuple(needed))
    assert lacking(wish, "a", EVERYTHING, able) is None
    assert lacking(wish, "a", EVERYTHING, ModelV1(id="m")) is None, "features nobody knows are tried"
    assert lacking(wish, "a", EVERYTHING, None) is None
    missing = lacking(wish, "a", EVERYTHING, ModelV1(id="m", features=()))
    assert missing == (min(needed).value if needed else None)


def test_options_and_dimensions_are_refused_by_name() -> None:
    wish = wish_of((say(),), ChatOptionsV1(seed=1, stop=("x",)))
    assert lacking(wish, "a", Way(frozenset({"stop"})), None) == "seed"
    wish = wish_of((), ChatOptionsV1(), EmbeddingV1(inputs=("x",), dimensions=8))
    assert lacking(wish, "a", Way(frozenset({"dimensions"})), None) is None
    assert lacking(wish, "a", Way(frozenset()), None) == "dimensions"


def test_a_field_of_a_providers_own_concerns_that_provider_alone() -> None:
    asked = ChatOptionsV1(provider_options={"a": {"user": "x", "n": 2}, "b": {"user": "x"}, "c": {"my secret": 1}})
    wish = wish_of((say(),), asked)
    assert lacking(wish, "a", EVERYTHING, None) == "provider_options.n"
    assert lacking(wish, "b", EVERYTHING, None) is None
    assert lacking(wish, "c", EVERYTHING, None) == "provider_options", "what is no plain name is not repeated"
    assert lacking(wish, "d", Way(frozenset()), None) is None


def test_a_model_is_always_given_a_limit_and_only_what_is_meant_for_its_provider() -> None:
    asked = ChatOptionsV1(temperature=1, provider_options={"a": {"user": "x"}, "b": {"user": "y"}})
    given = options_for(asked, "a", ModelV1(id="m", max_output_tokens=500))
    assert (given.max_tokens, given.temperature, given.provider_options) == (500, 1, {"a": {"user": "x"}})
    assert options_for(asked, "c", ModelV1(id="m", default_max_tokens=9)).provider_options is None
    assert options_for(asked, "c", ModelV1(id="m", default_max_tokens=9)).max_tokens == 9
    plain = ChatOptionsV1(max_tokens=7)
    assert options_for(plain, "a", ModelV1(id="m")) is plain
