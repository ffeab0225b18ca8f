"""Requests of the chat-completions family: what each host is sent, and what is not sent at all."""

import json
from decimal import Decimal
from typing import Any

import pytest

from services.router.providers import OPENAI_COMPATIBLE, PROVIDERS
from services.router.providers.base import Adapter, Ceiling, ChatRequest, Unfit
from services.router.providers.mistral import nine
from shared.messages.chat import (
    ChatMessageV1,
    ChatOptionsV1,
    ImagePartV1,
    NamedToolV1,
    ResponseFormatV1,
    TextPartV1,
    ToolCallV1,
    ToolV1,
)
from tests.providers.dialects import SYSTEM, USER, request, sent

FAMILY: dict[str, Adapter] = {
    "compatible": OPENAI_COMPATIBLE,
    **{
        name: adapter
        for name in ("openai", "mistral", "groq", "zhipu", "openrouter")
        if (adapter := PROVIDERS[name].adapter)
    },
}
PICTURE = "data:image/png;base64,iVBORw0KGgo="
PICTURED = ChatMessageV1(role="user", content=(TextPartV1(text="What?"), ImagePartV1(url=PICTURE)))
CALLED = ChatMessageV1(role="assistant", tool_calls=(ToolCallV1(id="call_Xc4Aiih37", name="f", arguments='{"a":1}'),))
RESULT = ChatMessageV1(role="tool", content="42", tool_call_id="call_Xc4Aiih37")
TOOL = ToolV1(name="f", description="Does f.", parameters={"type": "object", "properties": {"a": {"type": "integer"}}})
FORMAT = ResponseFormatV1(type="json_schema", name="city", schema_={"type": "object"}, strict=True)
HELLO = [{"role": "user", "content": "Hi"}]


def test_every_option_of_every_host() -> None:
    common = {"max_tokens": 9, "temperature": 0.5, "top_p": 0.9, "stop": ("a",), "seed": 3, "reasoning_effort": "high"}
    more = {"frequency_penalty": 0.25, "presence_penalty": -0.5, "parallel_tool_calls": False}
    plain = {"model": "glm-5.2", "messages": HELLO, "temperature": 0.5, "top_p": 0.9, "stop": ["a"]} | {
        "reasoning_effort": "high"
    }
    expected = {
        "compatible": plain | more | {"max_tokens": 9, "seed": 3},
        "openai": plain | more | {"max_completion_tokens": 9, "seed": 3},
        "openrouter": plain | more | {"max_completion_tokens": 9, "seed": 3},
        "mistral": plain | more | {"max_tokens": 9, "random_seed": 3},
        "groq": plain | {"max_completion_tokens": 9, "seed": 3, "parallel_tool_calls": False},
        "zhipu": plain | {"max_tokens": 9},
    }
    for name, adapter in FAMILY.items():
        given = {key: value for key, value in (common | more).items() if key in adapter.chat.options}
        assert sent(adapter, request(model="glm-5.2", **given)) == expected[name], name


@pytest.mark.parametrize("name", FAMILY)
def test_streams_ask_for_usage_only_where_it_is_not_told_unasked(name: str) -> None:
    whole = request()
    body = sent(FAMILY[name], ChatRequest(whole.model, whole.messages, whole.options, stream=True))
    asked = {"stream_options": {"include_usage": True}} if name not in {"mistral", "groq"} else {}
    assert {key: value for key, value in body.items() if key.startswith("stream")} == {"stream": True} | asked
    assert "stream" not in sent(FAMILY[name], whole)


@pytest.mark.parametrize("name", FAMILY)
def test_a_conversation_with_tools_and_a_picture(name: str) -> None:
    body = sent(FAMILY[name], request(SYSTEM, PICTURED, CALLED, RESULT, tools=(TOOL,), tool_choice="auto"))
    id_ = nine("call_Xc4Aiih37") if name == "mistral" else "call_Xc4Aiih37"
    assert body["messages"] == [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": [
            {"type": "text", "text": "What?"}, {"type": "image_url", "image_url": {"url": PICTURE}}]},
        {"role": "assistant", "content": "", "tool_calls": [
            {"id": id_, "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}]},
        {"role": "tool", "content": "42", "tool_call_id": id_},
    ]  # fmt: skip
    function = {"name": "f", "description": "Does f.", "parameters": TOOL.parameters}
    assert body["tools"] == [{"type": "function", "function": function}]
    assert body["tool_choice"] == "auto"


def test_tools_without_parameters_where_they_must_have_some() -> None:
    made = request(tools=(ToolV1(name="f"),))
    empty = {"type": "object", "properties": {}}
    functions = {name: sent(adapter, made)["tools"][0]["function"] for name, adapter in FAMILY.items()}
    assert functions.pop("mistral") == {"name": "f", "parameters": empty}
    assert functions.pop("zhipu") == {"name": "f", "description": "", "parameters": empty}
    assert set(map(str, functions.values())) == {"{'name': 'f'}"}


def test_tool_choices_and_formats() -> None:
    named = request(tools=(TOOL,), tool_choice=NamedToolV1(name="f"), response_format=FORMAT)
    schema = {"name": "city", "schema": {"type": "object"}, "strict": True}
    for name in FAMILY.keys() - {"zhipu"}:
        body = sent(FAMILY[name], named)
        assert body["tool_choice"] == {"type": "function", "function": {"name": "f"}}
        assert body["response_format"] == {"type": "json_schema", "json_schema": schema}
    required = {name: sent(FAMILY[name], request(tool_choice="required"))["tool_choice"] for name in ("openai", "groq")}
    assert required == {"openai": "required", "groq": "required"}
    assert sent(FAMILY["mistral"], request(tool_choice="required"))["tool_choice"] == "any"
    for kind in ("text", "json_object"):
        formatted = request(response_format=ResponseFormatV1(type=kind))
        assert sent(FAMILY["zhipu"], formatted)["response_format"] == {"type": kind}


@pytest.mark.parametrize("id_", ["toolu_bdrk_01FnJwNhnbF7UbXLQGHJ5dda", "x" * 500, "", "g6fVbXS8K", "a b/c"])
def test_ids_of_tool_calls_made_elsewhere_are_taken_everywhere(id_: str) -> None:
    call = ChatMessageV1(role="assistant", tool_calls=(ToolCallV1(id=id_, name="f", arguments="{}"),))
    result = ChatMessageV1(role="tool", content="1", tool_call_id=id_)
    for name, adapter in FAMILY.items():
        first, second = sent(adapter, request(call, result))["messages"]
        assert first["tool_calls"][0]["id"] == second["tool_call_id"]
        assert 1 <= len(second["tool_call_id"]) <= (9 if name == "mistral" else 40)
    assert nine("g6fVbXS8K") == "g6fVbXS8K"


def test_prefill_where_there_is_one() -> None:
    begun = (USER, ChatMessageV1(role="assistant", content="Once upon"))
    made = ChatRequest("m", begun, ChatOptionsV1(max_tokens=9), continues=True)
    last = {"role": "assistant", "content": "Once upon"}
    for name, adapter in FAMILY.items():
        assert adapter.chat.prefill == (name in {"mistral", "groq", "openrouter"})
        if adapter.chat.prefill:
            assert sent(adapter, made)["messages"][-1] == last | ({"prefix": True} if name == "mistral" else {})
            continue
        with pytest.raises(Unfit, match="prefill"):
            adapter.chat.encode(made)


@pytest.mark.parametrize(
    ("name", "made", "reason"),
    [
        ("openai", request(ChatMessageV1(role="system", content=(ImagePartV1(url=PICTURE),))),
         "image_outside_user_message"),
        ("mistral", request(temperature=1.6), "temperature_above_1.5"),
        ("mistral", request(seed=-1), "seed_below_0"),
        ("mistral", request(reasoning_effort="low"), "reasoning_effort"),
        ("groq", request(reasoning_effort="minimal"), "reasoning_effort"),
        ("zhipu", request(temperature=1.1), "temperature_above_1"),
        ("zhipu", request(top_p=0.001), "top_p_below_0.01"),
        ("zhipu", request(stop=("a", "b")), "stop_more_than_one"),
        ("zhipu", request(tool_choice="required"), "tool_choice"),
        ("zhipu", request(tool_choice=NamedToolV1(name="f")), "tool_choice"),
        ("zhipu", request(response_format=FORMAT), "json_schema"),
        ("zhipu", request(tools=(ToolV1(name="f", strict=True),)), "strict_tool"),
        ("zhipu", request(ChatMessageV1(role="user", content=(ImagePartV1(url=PICTURE, detail="low"),))),
         "image_detail"),
        ("zhipu", request(model="glm-4.7", reasoning_effort="high"), "reasoning_effort"),
    ],
)  # fmt: skip
def test_what_a_host_cannot_take_is_known_before_sending(name: str, made: ChatRequest, reason: str) -> None:
    with pytest.raises(Unfit) as raised:
        FAMILY[name].chat.encode(made)
    assert raised.value.reason == reason


@pytest.mark.parametrize(
    ("model", "effort", "expected"),
    [
        ("glm-4.6", "none", {"thinking": {"type": "disabled"}}),
        ("glm-5", "none", {"thinking": {"type": "disabled"}}),
        ("glm-5.2", "none", {"reasoning_effort": "none"}),
        ("glm-5.3-flash", "low", {"reasoning_effort": "low"}),
    ],
)
def test_efforts_of_zhipu(model: str, effort: str, expected: dict[str, Any]) -> None:
    body = sent(FAMILY["zhipu"], request(model=model, reasoning_effort=effort))
    assert {key: value for key, value in body.items() if key in {"thinking", "reasoning_effort"}} == expected


def test_own_fields_are_sent_on_and_others_are_not() -> None:
    passing: dict[str, dict[str, Any]] = {
        "openai": {"store": False}, "openrouter": {"provider": {"sort": "price"}}, "mistral": {"safe_prompt": True},
        "groq": {"reasoning_format": "parsed"}, "zhipu": {"thinking": {"type": "enabled"}}, "compatible": {"top_k": 5},
    }  # fmt: skip
    priced = (
        "n", "service_tier", "web_search_options", "audio", "modalities", "prediction", "best_of", "models", "route",
        "plugins", "max_tokens", "max_completion_tokens", "model", "messages", "stream", "tools",
    )  # fmt: skip
    refused = 0
    for name, adapter in FAMILY.items():
        body = sent(adapter, request(provider_options={name: passing[name]}))
        assert passing[name].items() <= body.items()
        for field in priced:
            assert field not in adapter.chat.passes
            with pytest.raises(Unfit, match="provider_options"):
                adapter.chat.encode(request(provider_options={name: {field: 2}}))
            refused += 1
    print(f"\nown fields: {len(FAMILY)} hosts; that multiply, re-price or replace refused: {refused} of {refused}")


def test_completions_of_a_prompt() -> None:
    dialect = FAMILY["openai"].completion
    assert dialect is not None
    options = ChatOptionsV1(max_tokens=25, temperature=0.4, top_p=0.9, provider_options={"openai": {"suffix": "}"}})
    made = dialect.encode(
        ChatRequest("babbage-002", (ChatMessageV1(role="user", content="def"),), options, stream=True)
    )
    assert made.path == "/completions"
    assert json.loads(made.body) == {
        "model": "babbage-002", "prompt": "def", "max_tokens": 25, "temperature": 0.4, "top_p": 0.9, "suffix": "}",
        "stream": True, "stream_options": {"include_usage": True},
    }  # fmt: skip
    for messages, reason in (((SYSTEM, USER), "messages_besides_a_prompt"), ((CALLED,), "messages_besides_a_prompt"),
                             ((PICTURED,), "image"), ((), "messages_besides_a_prompt")):  # fmt: skip
        with pytest.raises(Unfit) as raised:
            dialect.encode(ChatRequest("m", messages, ChatOptionsV1(max_tokens=1)))
        assert raised.value.reason == reason
    assert {name for name, adapter in FAMILY.items() if adapter.completion is not None} == {"openai", "compatible"}


@pytest.mark.parametrize(
    ("asked", "sent"),
    [
        (None, {"prompt": "2.5", "completion": "10"}),
        ({"max_price": {"prompt": "1"}}, {"prompt": "1", "completion": "10"}),
        ({"max_price": {"prompt": 99, "completion": "NaN", "request": 1}, "sort": "price"}, None),
        ({"max_price": "nonsense"}, {"prompt": "2.5", "completion": "10"}),
    ],
)
def test_openrouter_is_never_let_above_the_price_that_was_reserved(asked: Any, sent: dict[str, str] | None) -> None:
    adapter = PROVIDERS["openrouter"].adapter
    assert adapter is not None
    own = {"openrouter": {"provider": asked}} if asked is not None else None
    made = ChatRequest(
        "openai/gpt-4o",
        (ChatMessageV1(role="user", content="Hi"),),
        ChatOptionsV1(max_tokens=8, provider_options=own),
        ceiling=Ceiling(Decimal("2.50"), Decimal("10.0")),
    )
    provider = json.loads(adapter.chat.encode(made).body)["provider"]
    if sent is None:
        assert provider == {"sort": "price", "max_price": {"prompt": "2.5", "completion": "10", "request": 1}}
    else:
        assert provider == {"max_price": sent}
