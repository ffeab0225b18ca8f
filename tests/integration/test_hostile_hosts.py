"""Hosts that repeat the key, in pieces or escaped, or send what cannot be read: neither gets past the router."""

import json
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import pytest

from services.router.careful import UNREADABLE
from shared.messages.router import InvokedV1
from shared.testing.upstream import Answer, Upstream, json_answer, stream_answer
from tests.integration.router_world import World, router_world

CHAT = "/v1/chat/completions"
USED = {"prompt_tokens": 1, "completion_tokens": 1}
GOOD = json_answer({"choices": [{"finish_reason": "stop", "message": {"content": "hi"}}], "usage": USED})


@pytest.fixture(scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with router_world(tmp_path_factory.mktemp("router")) as made:
        yield made


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    async with Upstream() as serving:
        yield serving


async def made(world: World, *upstreams: Upstream) -> tuple[int, str, str]:
    """A workspace, an alias over these hosts, and the key for the first."""
    workspace = uuid4().int % 2**40 + 1
    providers = [await world.provider(one) for one in upstreams]
    keys = [world.key(workspace, provider) for provider in providers]
    return workspace, await world.alias(workspace, *((one, "m") for one in providers)), f"sk-{keys[0].id}"


def event(payload: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(payload).encode() + b"\n\n"


def delta(finish: str | None = None, **said: Any) -> bytes:
    return event({"choices": [{"index": 0, "delta": said, "finish_reason": finish}]})


def parts_of(key: str, shown: str) -> list[str]:
    return [key[at : at + 8] for at in range(3, len(key) - 7) if key[at : at + 8] in shown]


@pytest.mark.parametrize("size", [1, 5, 7])
async def test_a_key_in_many_events_does_not_come_through(world: World, upstream: Upstream, size: int) -> None:
    workspace, alias, key = await made(world, upstream)
    cut = [key[at : at + size] for at in range(0, len(key), size)]
    call: list[dict[str, Any]] = [{"index": 0, "id": "c", "function": {"name": "f", "arguments": '{"a":"'}}]
    call += [{"index": 0, "function": {"arguments": piece}} for piece in (*cut, '"}')]
    said = [delta(content=piece) for piece in ("It is ", *cut, ".")] + [delta(tool_calls=[one]) for one in call]
    ended = [delta("tool_calls"), event({"choices": [], "usage": USED}), b"data: [DONE]\n\n"]
    upstream.always("POST", CHAT, stream_answer(*said, *ended))
    pieces, final = await world.stream(workspace, alias)
    assert isinstance(final, InvokedV1)
    text = "".join(piece.text for piece in pieces)
    arguments = "".join(call.arguments for piece in pieces for call in piece.tool_calls)
    print(f"{size} characters an event: {text} {arguments}")
    for shown in (text, arguments, final.text, final.tool_calls[0].arguments):
        assert not parts_of(key, shown)
    assert text.startswith("It is ")
    assert text.endswith("[removed].")


async def test_a_key_in_escapes_does_not_come_through(world: World, upstream: Upstream) -> None:
    workspace, alias, key = await made(world, upstream)
    escaped = "".join(f"\\u{ord(sign):04x}" for sign in key)
    body = f'{{"id":"{escaped}","choices":[{{"finish_reason":"stop","message":{{"content":"{escaped}"}}}}]}}'
    upstream.always("POST", CHAT, Answer(200, {"content-type": "application/json"}, body.encode()))
    call_id = str(uuid4())
    answer = await world.call(workspace, alias, call_id)
    [row] = await world.metering.end_of(call_id)
    assert (answer.text, row.provider_request_id) == ("[removed]", "[removed]")


async def reason(world: World, first: Upstream, second: Upstream, levels: int) -> str | None:
    """Why the first target's answer was not used, when one so deep is sent."""
    workspace, alias, _ = await made(world, first, second)  # a host that fails again and again would be let rest
    nest = "[" * levels + "]" * levels
    call = f'{{"function":{{"name":"f","arguments":{nest}}}}}'
    body = f'{{"choices":[{{"finish_reason":"tool_calls","message":{{"tool_calls":[{call}]}}}}]}}'
    first.always("POST", CHAT, Answer(200, {"content-type": "application/json"}, body.encode()))
    return (await world.call(workspace, alias)).attempts[0].detail


async def test_an_adapter_that_stumbles_costs_its_target_and_not_the_call(world: World, upstream: Upstream) -> None:
    async with Upstream() as second:
        second.always("POST", CHAT, GOOD)
        readable, too_deep = 100, 1000
        while too_deep - readable > 1:
            middle = (readable + too_deep) // 2
            is_too_deep = await reason(world, upstream, second, middle) == "not_json"
            readable, too_deep = (readable, middle) if is_too_deep else (middle, too_deep)
        # Just below what can be read is what can be read and not be written any more.
        details = [await reason(world, upstream, second, readable - down) for down in range(8)]
    print(f"deepest that can be read: {readable}; {details}")
    assert UNREADABLE in details
