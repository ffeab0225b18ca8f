"""Whatever arrives gets the right status and code, keeps its content to itself, and loses nothing."""

from typing import Any

import httpx2
import pytest

from shared.testing.upstream import Upstream
from tests.e2e.world import CHAT, KEY, World, accept_keys, chat_answer, ok, problem

CANARY = "canary-1n-the-body"
NOBODY = "0190a5c8-5f5e-7c3e-9f7b-0a4b5c6d7e8f"
KEY_BODY: dict[str, Any] = {"workspace_id": 1, "provider": "openai", "label": "x", "api_key": KEY}
ALIAS_BODY: dict[str, Any] = {
    "workspace_id": 1, "alias_name": "x", "capability": "chat", "primary_provider": "openai", "primary_model": "m",
}  # fmt: skip
CALL: dict[str, Any] = {"workspace_id": 1, "alias_name": "default-writer", "prompt": "x"}


@pytest.mark.parametrize(
    "path", ["/ai-invoke", "/ai-keys", "/ai-aliases", "/ai-providers", "/ai-tokens", "/ai-workspaces"]
)
@pytest.mark.parametrize(
    "content",
    [
        b"", b"{", b"[]", b"null", b'"canary-1n-the-body"', b"\xff\xfe\x00", b'{"a": NaN}', b"1e999",
        b'{"canary-1n-the-body": 1}', b'{"workspace_id": "canary-1n-the-body"}', b"[" * 100_000, b'{"a":' * 50_000,
        b'{"prompt": "\\ud800canary-1n-the-body"}',
    ],
)  # fmt: skip
async def test_malformed_bodies_are_invalid_requests(world: World, path: str, content: bytes) -> None:
    response = await world.admin.send("POST", path, content=content, headers={"content-type": "application/json"})
    problem(response, 422, "invalid_request")
    assert CANARY not in response.text


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/ai-keys", {**KEY_BODY, "workspace_id": "1"}),
        ("/ai-keys", {**KEY_BODY, "workspace_id": -1}),
        ("/ai-keys", {**KEY_BODY, "workspace_id": 2**70}),
        ("/ai-keys", {**KEY_BODY, "workspace_id": True}),
        ("/ai-keys", {**KEY_BODY, "api_key": "short"}),
        ("/ai-keys", {**KEY_BODY, "api_key": "has space in it 123456"}),
        ("/ai-keys", {**KEY_BODY, "api_key": "sk-line\nbreak-123456789"}),
        ("/ai-keys", {**KEY_BODY, "api_key": "sk-nul\u0000-123456789"}),
        ("/ai-keys", {**KEY_BODY, "api_key": "x" * 100_000}),
        ("/ai-keys", {**KEY_BODY, "api_key": 5}),
        ("/ai-keys", {**KEY_BODY, "label": "a\u0000b"}),
        ("/ai-keys", {**KEY_BODY, "label": ""}),
        ("/ai-keys", {**KEY_BODY, "label": "x" * 500}),
        ("/ai-keys", {**KEY_BODY, "scopes": {"smell": True}}),
        ("/ai-keys", {**KEY_BODY, "scopes": "text"}),
        ("/ai-keys", {**KEY_BODY, "monthly_budget_usd": -1}),
        ("/ai-keys", {**KEY_BODY, "monthly_budget_usd": "NaN"}),
        ("/ai-keys", {**KEY_BODY, "monthly_budget_usd": 0.0000001}),
        ("/ai-keys", {**KEY_BODY, "monthly_budget_usd": 1e30}),
        ("/ai-keys", {**KEY_BODY, "monthly_budget_tokens": 1.5}),
        ("/ai-keys", {**KEY_BODY, "provider": "nobody"}),
        ("/ai-keys", {**KEY_BODY, "provider": "../openai"}),
        ("/ai-keys", {**KEY_BODY, "unknown": 1}),
        ("/ai-aliases", {**ALIAS_BODY, "alias_name": "Not A Name"}),
        ("/ai-aliases", {**ALIAS_BODY, "capability": "telepathy"}),
        ("/ai-aliases", {**ALIAS_BODY, "modality": "video"}),
        ("/ai-aliases", {**ALIAS_BODY, "primary_provider": "nobody"}),
        ("/ai-aliases", {**ALIAS_BODY, "fallback_chain": [{"provider": "openai", "model": "m"}]}),
        ("/ai-aliases", {**ALIAS_BODY, "fallback_chain": [{"provider": "openai", "model": str(n)} for n in range(99)]}),
        ("/ai-aliases", {**ALIAS_BODY, "time_limits": {"total_s": 0}}),
        ("/ai-invoke", {**CALL, "prompt": ""}),
        ("/ai-invoke", {**CALL, "prompt": None}),
        ("/ai-invoke", {**CALL, "prompt": 7}),
        ("/ai-invoke", {**CALL, "messages": [{"role": "user", "content": "x"}]}),
        ("/ai-invoke", {**CALL, "prompt": None, "messages": []}),
        ("/ai-invoke", {**CALL, "prompt": None, "messages": [{"role": "tool", "content": "x"}]}),
        ("/ai-invoke", {**CALL, "options": {"max_tokens": 0}}),
        ("/ai-invoke", {**CALL, "options": {"max_tokens": "9"}}),
        ("/ai-invoke", {**CALL, "options": {"temperature": 9}}),
        ("/ai-invoke", {**CALL, "options": {"frequency": 1}}),
        ("/ai-invoke", {**CALL, "capability": "video_generation"}),
        ("/ai-invoke", {**CALL, "stream": 1}),
        ("/ai-invoke", {**CALL, "prompt": None, "input": ["x"], "stream": True}),
        ("/ai-invoke", {**CALL, "options": {"tools": [{"type": "function"}]}}),
        ("/ai-invoke", {**CALL, "options": {"response_format": {"type": CANARY}}}),
        ("/ai-providers", {"id": "Bad Id", "base_url": "https://a.example/v1"}),
        ("/ai-providers", {"id": "x", "base_url": "ftp://a.example"}),
        ("/ai-providers", {"id": "x", "base_url": "http://a.example/v1"}),
        ("/ai-providers", {"id": "x", "base_url": "https://10.0.0.1/v1"}),
        ("/ai-providers", {"id": "x", "base_url": "https://169.254.169.254/latest"}),
        ("/ai-providers", {"id": "x", "base_url": "https://user:pw@a.example/v1"}),
        ("/ai-providers", {"id": "x", "base_url": "https://a.example", "models": [{"id": "", "capabilities": []}]}),
        ("/ai-tokens", {"workspace_id": 1, "role": "platform_admin"}),
    ],
)  # fmt: skip
async def test_wrong_values_are_invalid_requests(world: World, path: str, body: dict[str, Any]) -> None:
    response = await world.admin.post(path, **body)
    problem(response, 422, "invalid_request")
    assert KEY not in response.text
    assert CANARY not in response.text


async def test_an_unknown_option_is_refused_by_name(world: World) -> None:
    body = problem(await world.admin.post("/ai-invoke", **CALL, options={"top_k": 3}), 422, "invalid_request")
    assert body["errors"][0]["field"] == "options.top_k"


async def test_large_bodies_are_refused_before_they_are_read(world: World) -> None:
    ten_mb = "x" * 10_000_000
    for path, body in (("/ai-invoke", {**CALL, "prompt": ten_mb}), ("/ai-keys", {**KEY_BODY, "label": ten_mb})):
        problem(await world.admin.post(path, **body), 413, "invalid_request")

    async def chunks() -> Any:
        for _ in range(10):
            yield b"x" * 1_000_000

    response = await world.admin.send("POST", "/ai-invoke", content=chunks())
    problem(response, 413, "invalid_request")


async def test_unknown_things_are_not_found(world: World) -> None:
    admin = world.admin
    problem(await admin.post("/ai-invoke", **{**CALL, "alias_name": "nobody-made-this"}), 404, "not_found")
    problem(await admin.post("/ai-invoke", **{**CALL, "workspace_id": 999_999}), 404, "not_found")
    problem(await admin.get("/ai-keys", workspace_id=999_999), 404, "not_found")
    problem(await admin.post("/ai-keys", **{**KEY_BODY, "workspace_id": 999_999}), 404, "not_found")
    problem(await admin.put("/ai-providers/nobody", base_url="https://a.example/v1"), 404, "not_found")
    for thing in (NOBODY, "not-an-id", "0", "%00", "a" * 3000):
        problem(await admin.get(f"/ai-keys/{thing}"), 404, "not_found")
        problem(await admin.put(f"/ai-aliases/{thing}", display_name="x"), 404, "not_found")
        problem(await admin.delete(f"/ai-aliases/{thing}"), 404, "not_found")
        problem(await admin.delete(f"/ai-keys/{thing}"), 404, "not_found")
        problem(await admin.post(f"/ai-keys/{thing}/verify"), 404, "not_found")
    problem(await admin.get("/nowhere"), 404, "not_found")
    assert (await admin.send("PATCH", "/ai-keys")).status_code == 405


async def test_bad_queries_are_invalid_requests(world: World) -> None:
    for query in (
        {"group_by": "colour"}, {"from": "yesterday"}, {"to": "2026-13-01"}, {"workspace_id": "one"}, {"to": "x" * 99},
    ):  # fmt: skip
        problem(await world.admin.get("/ai-usage", **{"workspace_id": 1, **query}), 422, "invalid_request")
    filters: list[dict[str, Any]] = [
        {"cursor": "AAAA"}, {"cursor": "\u0000"}, {"limit": 0}, {"limit": 10**9}, {"outcome": "odd"}, {"nope": 1},
    ]  # fmt: skip
    for one in filters:
        problem(await world.admin.get("/ai-usage/calls", **{"workspace_id": 1, **one}), 422, "invalid_request")
    problem(await world.admin.get("/ai-usage"), 422, "invalid_request")


async def test_names_that_are_taken_are_conflicts(world: World) -> None:
    workspace = await world.workspace()
    body = {**ALIAS_BODY, "workspace_id": workspace, "alias_name": "twice"}
    ok(await world.admin.post("/ai-aliases", **body), 201)
    problem(await world.admin.post("/ai-aliases", **body), 409, "conflict")
    problem(await world.admin.post("/ai-workspaces", id=workspace, name="again"), 409, "conflict")
    problem(await world.admin.post("/ai-providers", id="openai", base_url="https://a.example/v1"), 409, "conflict")


async def test_a_provider_that_moves_needs_its_keys_again(world: World) -> None:
    workspace = await world.workspace()
    async with Upstream() as old, Upstream() as new:
        for upstream in (old, new):
            accept_keys(upstream)
            upstream.always("POST", CHAT, chat_answer())
        provider = await world.provider(old)
        key = await world.key(workspace, provider)
        alias = await world.alias(workspace, provider)
        ok(await world.admin.put(f"/ai-providers/{provider}", base_url=f"{new.base_url}/v1"))
        refused = problem(await world.invoke(workspace, alias), 402, "missing_key")
        assert (refused["key_id"], refused["reason"]) == (key["id"], "provider_address_changed")
        assert new.requests == []
        assert ok(await world.admin.put(f"/ai-keys/{key['id']}", api_key=KEY))["status"] == "active"
        assert ok(await world.invoke(workspace, alias))["provider"] == provider


async def test_a_client_that_leaves_is_still_accounted_for(world: World) -> None:
    workspace = await world.workspace()
    async with Upstream() as upstream:
        accept_keys(upstream)
        upstream.always("POST", CHAT, chat_answer(delay_s=0.3, output_tokens=9))
        provider = await world.provider(upstream)
        await world.key(workspace, provider)
        alias = await world.alias(workspace, provider)
        body = {"workspace_id": workspace, "alias_name": alias, "prompt": "x"}
        with pytest.raises(httpx2.ReadTimeout):
            await world.admin.send("POST", "/ai-invoke", json=body, timeout=httpx2.Timeout(5, read=0.1))
        [row] = await world.calls(workspace, 1)
        assert (row["outcome"], row["output_tokens"]) == ("success", 9)
