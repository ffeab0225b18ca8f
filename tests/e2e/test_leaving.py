"""A client that leaves before its whole answer is there: nobody is paid any longer for what nobody reads."""

import asyncio
import json
from typing import Any

import pytest

from shared.testing.stack import Stack
from shared.testing.upstream import Answer
from tests.e2e.test_streaming import upstreams
from tests.e2e.world import CHAT, World, chat_answer, eventually, ok

WITHIN_S = 5.0
"""Two seconds until the router's first heartbeat says where to give up, and what the way takes."""
PLACES = {
    "/ai-invoke": lambda alias: {"alias_name": alias, "prompt": "Hi"},
    "/v1/chat/completions": lambda alias: {"model": alias, "messages": [{"role": "user", "content": "Hi"}]},
}


@pytest.mark.parametrize("path", PLACES)
async def test_the_provider_is_let_go_when_the_client_leaves(world: World, stack: Stack, path: str) -> None:
    async with upstreams(world, 2) as (workspace, alias, (first, second)):
        first.always("POST", CHAT, Answer(hang=True))
        second.always("POST", CHAT, chat_answer())
        member = ok(await world.admin.post("/ai-tokens", workspace_id=workspace, role="member", name="m"), 201)
        writer = await _asking(stack, path, member["token"], PLACES[path](alias))
        await first.arrival(2)  # the first one checked the key
        began = asyncio.get_running_loop().time()
        writer.close()
        await asyncio.wait_for(first.left(1), WITHIN_S)
        print(f"{path}: the provider was let go after {asyncio.get_running_loop().time() - began:.2f} s")
        row = (await world.calls(workspace, 1))[0]
        assert row["outcome"] == "cancelled"
        assert len([request for request in second.requests if request.method == "POST"]) == 0, "nobody else is asked"


async def test_whoever_may_ask_again_by_its_key_finds_the_answer(world: World, stack: Stack) -> None:
    async with upstreams(world, 1) as (workspace, alias, (upstream,)):
        go = asyncio.Event()
        upstream.always("POST", CHAT, chat_answer("Kept."))
        upstream.script("POST", CHAT, _held(go))
        member = ok(await world.admin.post("/ai-tokens", workspace_id=workspace, role="member", name="m"), 201)
        body = PLACES["/ai-invoke"](alias)
        writer = await _asking(stack, "/ai-invoke", member["token"], body, "idempotency-key: once\r\n")
        await upstream.arrival(2)
        writer.close()
        go.set()
        await world.calls(workspace, 1)
        caller = world.caller(member["token"])
        asked: dict[str, Any] = {"content": _encoded(body), "headers": _JSON | {"idempotency-key": "once"}}

        async def repeated() -> dict[str, Any] | None:
            response = await caller.send("POST", "/ai-invoke", **asked)
            return None if response.status_code == 409 else ok(response)

        assert (await eventually(repeated))["output"]["text"] == "Held."
        assert sum(request.method == "POST" for request in upstream.requests) == 1


_JSON = {"content-type": "application/json"}


def _held(go: asyncio.Event) -> Answer:
    whole = chat_answer("Held.")
    return Answer(headers=whole.headers, parts=(go, whole.body))


def _encoded(body: dict[str, object]) -> bytes:
    return json.dumps(body).encode()


async def _asking(stack: Stack, path: str, token: str, body: dict[str, object], more: str = "") -> asyncio.StreamWriter:
    _, writer = await asyncio.open_connection("127.0.0.1", stack.port)
    sent = _encoded(body)
    head = f"POST {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n{more}"
    writer.write(f"{head}content-length: {len(sent)}\r\n\r\n".encode() + sent)
    await writer.drain()
    return writer
