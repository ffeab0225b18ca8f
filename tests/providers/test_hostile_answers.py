"""Answers and options made to hurt: every adapter reads or refuses them, quickly, and none is a success."""

import json
from collections.abc import Iterator
from dataclasses import replace
from time import process_time
from typing import Any

import pytest

from services.router.careful import UNREADABLE, Careful
from services.router.domain.sse import ServerEvent
from services.router.providers import PROVIDERS
from services.router.providers.assembly import Assembly
from services.router.providers.base import Adapter, ChatAnswer, ChatRequest, Failure, HttpAnswer, Unfit
from services.router.providers.events import Broken, Text
from services.router.providers.tool_calls import MOST_CALLS
from shared.messages.chat import ChatMessageV1, ChatOptionsV1

KEY = "sk-proj-Zq7aBcDeFgHiJkLmNoPq+rStUv"
VALUES: list[Any] = [None, True, 7, 1e308, "x", [], {}, [[]], {"type": []}, {"type": {}}, {"ttl": {}}, {"effort": [{}]}]
ADAPTERS = {name: provider.adapter for name, provider in PROVIDERS.items() if provider.adapter is not None}


def whole(name: str, calls: int, size: int = 0) -> bytes:
    """An answer of ``calls`` tool calls without ids."""
    text = "y" * size
    if name == "google":
        parts = [{"functionCall": {"name": "f", "args": {"x": text}}}] * calls
        return json.dumps({"candidates": [{"finishReason": "STOP", "content": {"parts": parts}}]}).encode()
    made = [{"function": {"name": "f", "arguments": json.dumps({"x": text})}}] * calls
    return json.dumps({"choices": [{"finish_reason": "tool_calls", "message": {"tool_calls": made}}]}).encode()


@pytest.mark.parametrize("name", ["openai", "mistral", "google"])
def test_many_calls_cost_little_and_too_many_are_no_answer(name: str) -> None:
    adapter = ADAPTERS[name]
    largest, flood = whole(name, MOST_CALLS, 30_000), whole(name, 40_000)
    began = process_time()
    taken, refused = (adapter.chat.decode(HttpAnswer(200, {}, body)) for body in (largest, flood))
    spent = process_time() - began
    print(f"{name}: {len(largest)} bytes of {MOST_CALLS} calls and {len(flood)} bytes of 40000 read in {spent:.2f} s")
    assert isinstance(taken, ChatAnswer)
    assert len({call.id for call in taken.tool_calls}) == MOST_CALLS
    assert isinstance(refused, Failure)
    assert refused.detail == "bad_tool_call"
    assert spent < 2


def test_a_flood_of_streamed_calls_ends_the_stream() -> None:
    assembly, chat, count = Assembly(), ADAPTERS["openai"].chat, 20_000
    began = process_time()
    for number in range(count):
        call = {"index": number, "id": f"c{number}", "function": {"name": "f", "arguments": ""}}
        chunk = {"choices": [{"delta": {"tool_calls": [call]}, "finish_reason": "stop"}]}
        for event in chat.events(ServerEvent(json.dumps(chunk))):
            assembly.add(event)
        assert assembly.is_over == (number >= MOST_CALLS)
    ended = assembly.end(clean=True)
    print(f"{count} calls heard in {process_time() - began:.2f} s")
    assert isinstance(ended, Failure)
    assert ended.detail == "bad_tool_call"


def _deep(levels: int) -> Iterator[tuple[str, str]]:
    nest = "[" * levels + "]" * levels
    call = f'{{"functionCall":{{"name":"f","args":{{"a":{nest}}}}}}}'
    yield "google", f'{{"candidates":[{{"finishReason":"STOP","content":{{"parts":[{call}]}}}}]}}'
    yield "openai", f'{{"choices":[{{"finish_reason":{nest}}}]}}'
    block = f'{{"type":"tool_use","id":"a","name":"b","input":{{"a":{nest}}}}}'
    yield "anthropic", f'{{"stop_reason":"tool_use","content":[{block}]}}'
    yield "replicate", f'{{"status":"succeeded","output":{nest}}}'


def test_no_depth_of_nesting_gets_past_the_reader() -> None:
    stumbled = 0
    for levels in range(850, 1000):
        for name, body in _deep(levels):
            chat = ADAPTERS[name].chat
            careful = Careful(chat.decode, chat, KEY)
            read = careful.decode(HttpAnswer(200, {}, body.encode()))
            assert isinstance(read, Failure | ChatAnswer)
            stumbled += isinstance(read, Failure) and read.detail == UNREADABLE
            assert isinstance(careful.events(ServerEvent(body)), tuple)
    print(f"bodies that an adapter stumbled over: {stumbled}")
    assert stumbled


def test_an_event_that_an_adapter_stumbles_over_ends_the_stream() -> None:
    chat = replace(ADAPTERS["openai"].chat, events=lambda event: (Text("x" * (1 // len(event.name))),))
    assert isinstance(Careful(chat.decode, chat, KEY).events(ServerEvent("x"))[0], Broken)


@pytest.mark.parametrize("exponent", ["1e99999999999999999999", "-1e99999999999999999999"])
def test_a_cost_beyond_all_bounds_is_unknown(exponent: str) -> None:
    body = f'{{"choices":[{{"finish_reason":"stop","message":{{"content":"x"}}}}],"usage":{{"cost":{exponent}}}}}'
    read = ADAPTERS["openrouter"].chat.decode(HttpAnswer(200, {}, body.encode()))
    assert isinstance(read, ChatAnswer)
    assert read.provider_cost_usd_micros is None


@pytest.mark.parametrize("values", ["[1, NaN]", "[1, 1e999]", "[1, -Infinity]", "[1e39, 1]", "[]", "[1]"])
def test_geminis_vectors_hold_numbers_and_are_of_one_length(values: str) -> None:
    embedding = ADAPTERS["google"].embedding
    assert embedding is not None
    body = f'{{"embeddings":[{{"values":[1,2]}},{{"values":{values}}}]}}'
    read = embedding.decode(HttpAnswer(200, {}, body.encode()))
    assert isinstance(read, Failure)
    assert read.detail == "bad_vector"


@pytest.mark.parametrize("name", ADAPTERS)
def test_whatever_stands_in_a_field_of_the_providers_own_it_replaces_none_of_ours(name: str) -> None:
    adapter, tried = ADAPTERS[name], 0
    for field in sorted(adapter.chat.passes):
        for value in VALUES:
            for continues in {False, adapter.chat.prefill}:
                plain = _encoded(adapter, name, {}, continues)
                changed = _encoded(adapter, name, {field: value}, continues)
                tried += 1
                if changed is not None and plain is not None:
                    assert plain.items() <= changed.items(), (field, value)
    print(f"{name}: {tried} requests")


def _encoded(adapter: Adapter, name: str, own: dict[str, Any], continues: bool) -> dict[str, str] | None:  # noqa: FBT001
    messages = [ChatMessageV1(role="user", content="x")]
    if continues:
        messages.append(ChatMessageV1(role="assistant", content="y"))
    options = ChatOptionsV1(max_tokens=7, temperature=0.5, provider_options={name: own})
    model = "owner/name" if name == "replicate" else "m"
    try:
        made = adapter.chat.encode(ChatRequest(model, tuple(messages), options, stream=True, continues=continues))
    except Unfit:
        return None
    return dict(_leaves("", json.loads(made.body)))


def _leaves(path: str, value: object) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _leaves(f"{path}.{name}", inner)
    else:
        yield path, json.dumps(value)


@pytest.mark.parametrize("written", [KEY, KEY.replace("+", "\\u002b"), "\\u0073" + KEY[1:], KEY[8:24]])
def test_a_key_is_cut_out_however_it_is_written(written: str) -> None:
    call = f'{{"id":"{written}","function":{{"name":"f","arguments":"{written}"}}}}'
    said = f'"message":{{"content":"is {written}","tool_calls":[{call}]}}'
    body = f'{{"id":"{written}","model":"{written}","choices":[{{"finish_reason":"stop",{said}}}]}}'
    chat = ADAPTERS["openai"].chat
    read = Careful(chat.decode, chat, KEY).decode(HttpAnswer(200, {}, body.encode()))
    assert isinstance(read, ChatAnswer)
    shown = "".join((read.text, str(read.tool_calls), str(read.response_model), str(read.provider_request_id)))
    shown += "".join(call.arguments for call in read.tool_calls)
    assert not [KEY[at : at + 8] for at in range(8, len(KEY) - 7) if KEY[at : at + 8] in shown]
