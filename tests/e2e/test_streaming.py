"""Streams from a provider's socket to a client's: every piece, the end, and what happens when either side goes."""

import asyncio
import base64
import json
import socket
import struct
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import httpx2

from shared.testing.stack import Stack
from shared.testing.upstream import Answer, Upstream, json_answer
from tests.e2e.world import CHAT, World, accept_keys, chat_answer, ok, openai_error, problem

EMBEDDINGS = "/v1/embeddings"
Events = list[tuple[str, dict[str, Any]]]


def chunk(**choice: Any) -> bytes:
    """One event of a streamed completion in OpenAI's shape."""
    choices = [{"index": 0, "delta": {}, "finish_reason": None, **choice}]
    body = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 0, "model": "m", "choices": choices}
    return b"data: " + json.dumps(body).encode() + b"\n\n"


USAGE = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
LAST = chunk(finish_reason="stop") + b"data: " + json.dumps(
    {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 0, "model": "m", "choices": [], "usage": USAGE}
).encode() + b"\n\ndata: [DONE]\n\n"  # fmt: skip


def streamed(*words: str, last: bytes = LAST, **how: Any) -> Answer:
    """A streamed completion, one chunk a word; without ``last`` it ends in the middle."""
    parts = tuple(chunk(delta={"content": word}) for word in words)
    return Answer(headers={"content-type": "text/event-stream"}, parts=(*parts, last) if last else parts, **how)


def events_of(response: httpx2.Response) -> Events:
    """What a streamed answer says."""
    assert response.status_code == 200, response.text[:2000]
    assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert response.headers["cache-control"] == "no-store"
    found: Events = []
    for block in response.text.removesuffix("\n\n").split("\n\n"):
        name, _, data = block.partition("\n")
        found.append((name.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
    return found


def text_of(events: Events) -> str:
    """The pieces, joined."""
    return "".join(data.get("text", "") for name, data in events if name == "delta")


@asynccontextmanager
async def upstreams(world: World, count: int, **fields: Any) -> AsyncIterator[tuple[int, str, list[Upstream]]]:
    """A workspace with an alias whose chain is ``count`` providers."""
    async with Upstream() as first, Upstream() as second:
        used = [first, second][:count]
        workspace = await world.workspace()
        providers = []
        for upstream in used:
            accept_keys(upstream)
            providers.append(await world.provider(upstream, **fields.pop("model", {})))
            await world.key(workspace, providers[-1])
        yield workspace, await world.alias(workspace, *providers, **fields), used


async def test_a_stream_ends_with_what_a_plain_call_gives(world: World) -> None:
    async with upstreams(world, 1) as (workspace, alias, (upstream,)):
        upstream.script("POST", CHAT, streamed("Hello", " ", "back."), chat_answer())
        events = events_of(await world.invoke(workspace, alias, stream=True))
        plain = ok(await world.invoke(workspace, alias))
        assert [name for name, _ in events[:-1]] == ["delta"] * (len(events) - 1)
        assert text_of(events) == "Hello back."
        name, done = events[-1]
        assert name == "done"
        own = {"call_id", "latency_ms", "attempts"}
        assert {key: value for key, value in done.items() if key not in own} == {
            key: value for key, value in plain.items() if key not in own
        }
        assert upstream.requests[-2].json["stream"] is True
        rows = await world.calls(workspace, 2)
        assert [row["outcome"] for row in rows] == ["success", "success"]
        assert rows[0]["cost_usd"] == rows[1]["cost_usd"] == "0.000020"


async def test_tool_calls_come_in_pieces_and_whole(world: World) -> None:
    function = {"name": "weather", "description": "d", "parameters": {"type": "object", "properties": {}}}
    calls = [
        {"index": 0, "id": "call_1", "type": "function", "function": {"name": "weather", "arguments": ""}},
        {"index": 0, "function": {"arguments": '{"city":'}},
        {"index": 0, "function": {"arguments": ' "Linz"}'}},
    ]
    parts = (*(chunk(delta={"tool_calls": [call]}) for call in calls), LAST.replace(b'"stop"', b'"tool_calls"'))
    async with upstreams(world, 1) as (workspace, alias, (upstream,)):
        upstream.script("POST", CHAT, Answer(headers={"content-type": "text/event-stream"}, parts=parts))
        tools = [{"type": "function", "function": function}]
        events = events_of(await world.invoke(workspace, alias, stream=True, options={"tools": tools}))
        assert upstream.requests[-1].json["tools"][0]["function"] == function
    pieces = [piece for name, data in events if name == "delta" for piece in data["tool_calls"]]
    assert "".join(piece["arguments"] for piece in pieces) == '{"city": "Linz"}'
    called = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Linz"}'}}
    assert events[-1][1]["output"] == {"text": "", "tool_calls": [called]}
    assert events[-1][1]["finish_reason"] == "tool_calls"


async def test_a_failure_before_the_first_piece_is_not_noticed(world: World) -> None:
    async with upstreams(world, 2) as (workspace, alias, (first, second)):
        first.always("POST", CHAT, openai_error(400, "billing_not_active"))
        second.always("POST", CHAT, streamed("Hello"))
        events = events_of(await world.invoke(workspace, alias, stream=True))
    assert [name for name, _ in events] == ["delta", "done"]
    assert events[-1][1]["fallback"]["used"] is True


async def test_without_an_answer_there_is_a_status(world: World) -> None:
    async with upstreams(world, 1) as (workspace, alias, (upstream,)):
        upstream.always("POST", CHAT, openai_error(400, "content_policy_violation"))
        problem(await world.invoke(workspace, alias, stream=True), 400, "content_policy")
    problem(await world.invoke(workspace, "nobody", stream=True), 404, "not_found")


async def test_a_cut_stream_is_continued_and_says_so(world: World) -> None:
    async with upstreams(world, 2) as (workspace, alias, (first, second)):
        first.always("POST", CHAT, streamed("One two ", "three", last=b""))
        second.always("POST", CHAT, streamed(" four", " five"))
        events = events_of(await world.invoke(workspace, alias, stream=True))
        rows = await world.calls(workspace, 2)
    assert text_of(events) == "One two three four five"
    done = events[-1][1]
    (mark,) = [data for name, data in events if name == "continued"]
    assert done["output"]["text"] == text_of(events)
    assert (mark["provider"], [one["provider"] for one in done["continued"]]) == (
        done["provider"],
        [rows[1]["provider"]],
    )
    assert rows[0]["outcome"] == "success"
    assert rows[1]["outcome"] != "success"


async def test_a_cut_stream_ends_with_an_error_event_where_the_alias_says_so(world: World) -> None:
    async with upstreams(world, 2, on_stream_cut="error") as (workspace, alias, (first, second)):
        first.always("POST", CHAT, streamed("One", last=b""))
        events = events_of(await world.invoke(workspace, alias, stream=True))
        assert not [one for one in second.requests if one.method == "POST"]
    assert text_of(events) == "One"
    assert events[-1][0] == "error"
    assert events[-1][1]["code"] == "provider_error"


async def test_a_client_that_leaves_closes_the_provider(world: World) -> None:
    async with upstreams(world, 1) as (workspace, alias, (upstream,)):
        upstream.always("POST", CHAT, streamed("One", last=b"", hang=True))
        body = {"workspace_id": workspace, "alias_name": alias, "prompt": "x", "stream": True}
        headers = world.admin._headers
        async with world.http.stream("POST", "/ai-invoke", json=body, headers=headers) as response:
            async for line in response.aiter_lines():
                if line.startswith("data:"):
                    break
            before, left = upstream.leavings, time.perf_counter()
        await asyncio.wait_for(upstream.left(before + 1), 5)
        took = time.perf_counter() - left
        (row,) = await world.calls(workspace, 1)
    print(f"\nthe provider's connection was closed {took * 1000:.0f} ms after the client had left: {row['outcome']}")
    assert took < 1
    assert row["outcome"] == "cancelled"


async def test_a_client_that_stops_reading_stops_the_provider(world: World, stack: Stack) -> None:
    words = ("x" * 16_000,) * 4_000
    async with upstreams(world, 1) as (workspace, alias, (upstream,)):
        upstream.always("POST", CHAT, streamed(*words))
        peer = _small_socket(urlsplit(stack.base_url).port or 0)
        body = json.dumps({"workspace_id": workspace, "alias_name": alias, "prompt": "x", "stream": True})
        lines = ["POST /ai-invoke HTTP/1.1", "host: x", f"authorization: Bearer {stack.admin_token}"]
        lines += ["content-type: application/json", f"content-length: {len(body)}", "", body]
        peer.sendall("\r\n".join(lines).encode())
        before = -1
        while before != upstream.body_bytes or not before:
            before = upstream.body_bytes
            await asyncio.sleep(0.5)
        print(f"\nstalled client: the provider has given {before:,} of {16_000 * 4_000:,} bytes, then waited")
        assert before < 16_000_000
        leaving = upstream.leavings
        peer.close()
        await asyncio.wait_for(upstream.left(leaving + 1), 5)
        assert (await world.calls(workspace, 1))[0]["outcome"] == "cancelled"


def _small_socket(port: int) -> socket.socket:
    peer = socket.socket()
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384)
    peer.connect(("127.0.0.1", port))
    return peer


async def test_embeddings_as_numbers_and_as_base64(world: World) -> None:
    vectors = [[0.5, -1.25, 3.0], [0.0, 2.5, 1e-3]]
    data = [{"object": "embedding", "index": place, "embedding": vector} for place, vector in enumerate(vectors)]
    answer = json_answer(
        {"object": "list", "data": data, "model": "m", "usage": {"prompt_tokens": 4, "total_tokens": 4}}
    )
    model = {"capabilities": ["embedding"]}
    async with upstreams(world, 1, model=model, capability="embedding") as (workspace, alias, (upstream,)):
        upstream.always("POST", EMBEDDINGS, answer)
        body = {"workspace_id": workspace, "alias_name": alias, "input": ["a", "b"]}
        plain = ok(await world.admin.post("/ai-invoke", **body))
        coded = ok(await world.admin.post("/ai-invoke", **body, options={"encoding_format": "base64"}))
        problem(await world.invoke(workspace, alias), 422, "invalid_request")
    assert [[round(number, 6) for number in vector] for vector in plain["output"]["embeddings"]] == vectors
    assert (plain["capability"], plain["usage"]["input_tokens"]) == ("embedding", 4)
    unpacked = [struct.unpack("<3f", base64.b64decode(vector)) for vector in coded["output"]["embeddings"]]
    assert unpacked == [struct.unpack("<3f", struct.pack("<3f", *vector)) for vector in vectors]


async def test_the_document_describes_it(world: World) -> None:
    document = ok(await world.admin.get("/openapi.json"))
    call = document["paths"]["/ai-invoke"]["post"]
    assert set(call["responses"]["200"]["content"]) == {"application/json", "text/event-stream"}
    schemas = document["components"]["schemas"]
    assert set(schemas["OptionsIn"]["properties"]) >= {"tools", "response_format", "dimensions", "provider_options"}
    assert "on_stream_cut" in schemas["AliasIn"]["properties"]
    references = {part.split('"')[0] for part in json.dumps(document).split('"#/components/schemas/')[1:]}
    assert references <= set(schemas)
