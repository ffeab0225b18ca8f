"""What providers and callers do on their worse days, and what must come of it."""

import asyncio
import json
from typing import Any

import pytest

from shared.testing.upstream import Answer, Upstream, json_answer
from tests.e2e.world import CHAT, KEY, MODELS, World, accept_keys, chat_answer, ok, openai_error, problem


@pytest.mark.parametrize(
    ("bad_day", "reason", "billing"),
    [
        (chat_answer(cut_after=10, hang=True), "timeout", "unknown"),
        (chat_answer("hi \ud83d"), "bad_response", "cost"),
        (chat_answer("x" * 9_000_000), "bad_response", "unknown"),
        (chat_answer(drip_s=0.2), "timeout", "unknown"),
    ],
    ids=["silent after the headers", "half a surrogate pair", "nine megabytes", "a byte at a time"],
)
async def test_a_bad_answer_is_never_passed_on(world: World, bad_day: Answer, reason: str, billing: str) -> None:
    workspace = await world.workspace()
    async with Upstream() as bad, Upstream() as good:
        accept_keys(bad)
        accept_keys(good)
        bad.always("POST", CHAT, bad_day)
        good.always("POST", CHAT, chat_answer("Saved."))
        providers = [await world.provider(bad), await world.provider(good)]
        for provider in providers:
            await world.key(workspace, provider)
        limits = {"silence_s": 0.1}
        alias = await world.alias(workspace, *providers, time_limits=limits)
        answer = ok(await world.invoke(workspace, alias))
        assert (answer["output"]["text"], answer["fallback"]["reason"]) == ("Saved.", reason)
        [last, first] = await world.calls(workspace, 2)
        assert (first["outcome"], first["billing"], first["charged_usd"] > "0.000000") == (reason, billing, True)
        assert last["outcome"] == "success"


async def test_a_call_without_time_left_is_not_sent(world: World) -> None:
    workspace = await world.workspace()
    async with Upstream() as upstream:
        accept_keys(upstream)
        upstream.always("POST", CHAT, chat_answer())
        provider = await world.provider(upstream)
        await world.key(workspace, provider)
        alias = await world.alias(workspace, provider, time_limits={"total_s": 0.001})
        problem(await world.invoke(workspace, alias), 504, "timeout")
        assert not [request for request in upstream.requests if request.path == CHAT]


async def test_a_rate_limited_key_gives_way_to_the_next_and_its_wait_is_passed_on(world: World) -> None:
    workspace = await world.workspace()
    limited = json_answer({"error": {"code": "rate_limit_exceeded"}}, 429, headers={"retry-after": "37"})
    async with Upstream() as upstream:
        accept_keys(upstream)
        upstream.script("POST", CHAT, limited, chat_answer("From the second key."), limited, limited)
        provider = await world.provider(upstream)
        await world.key(workspace, provider)
        await world.key(workspace, provider, api_key="sk-test-second-key-0987654321")
        alias = await world.alias(workspace, provider)
        answer = ok(await world.invoke(workspace, alias))
        assert (answer["output"]["text"], answer["fallback"]["reason"]) == ("From the second key.", "rate_limited")
        refused = await world.invoke(workspace, alias)
        problem(refused, 429, "rate_limited")
        assert refused.headers["retry-after"] == "37"


async def test_slow_verification_is_waited_for(world: World) -> None:
    workspace = await world.workspace()
    async with Upstream() as upstream:
        upstream.always("GET", MODELS, json_answer({"data": []}, delay_s=8))
        provider = await world.provider(upstream)
        assert (await world.key(workspace, provider))["status"] == "active"


async def test_a_refused_change_moves_no_cap(world: World) -> None:
    workspace = await world.workspace()
    async with Upstream() as upstream:
        accept_keys(upstream)
        provider = await world.provider(upstream)
        key = await world.key(workspace, provider, monthly_budget_usd=1)
        change = {"monthly_budget_usd": 1000, "api_key": "short"}
        problem(await world.admin.put(f"/ai-keys/{key['id']}", **change), 422, "invalid_request")
        ok_key = ok(await world.admin.get(f"/ai-keys/{key['id']}"))
        assert ok_key["monthly_budget_usd"] == 1
        problem(
            await world.admin.post("/ai-keys", **{**change, "workspace_id": workspace, "provider": provider}),
            422,
            "invalid_request",
        )
        budgets = (await world.usage(workspace))["budgets"]
        assert {budget["key_id"] for budget in budgets if budget["key_id"]} == {key["id"]}


async def test_a_pasted_key_may_bring_white_space(world: World) -> None:
    workspace = await world.workspace()
    async with Upstream() as upstream:
        accept_keys(upstream)
        provider = await world.provider(upstream)
        await world.key(workspace, provider, api_key=f"  {KEY}\n")
        assert upstream.requests[-1].headers["authorization"] == f"Bearer {KEY}"


async def test_impossible_chains_are_refused_when_written(world: World) -> None:
    body = {"workspace_id": 1, "alias_name": "odd", "primary_provider": "openai", "primary_model": "dall-e-3"}
    refused = problem(await world.admin.post("/ai-aliases", **body, capability="chat"), 422, "invalid_request")
    assert "dall-e-3" in refused["detail"]


async def test_chosen_workspace_ids_are_skipped_by_drawn_ones(world: World) -> None:
    drawn = await world.workspace()
    ok(await world.admin.post("/ai-workspaces", id=drawn + 1, name="chosen"), 201)
    assert await world.workspace() == drawn + 2


async def test_many_changes_at_once_lose_none(world: World) -> None:
    workspace = await world.workspace()
    ok(await world.admin.get("/ai-aliases", workspace_id=workspace))
    aliases = ok(await world.admin.get("/ai-aliases", workspace_id=workspace))["items"]
    alias_id = aliases[0]["id"]
    changes: list[dict[str, Any]] = [
        {"display_name": "Changed"},
        {"routing_preference": "cost"},
        {"allow_aggregators": True},
    ]
    await asyncio.gather(*(world.admin.put(f"/ai-aliases/{alias_id}", **change) for change in changes))
    changed = ok(await world.admin.get(f"/ai-aliases/{alias_id}"))
    assert (changed["display_name"], changed["routing_preference"], changed["allow_aggregators"]) == (
        "Changed",
        "cost",
        True,
    )


async def test_the_export_is_the_call_log(world: World) -> None:
    workspace = await world.workspace()
    async with Upstream() as upstream:
        accept_keys(upstream)
        upstream.script("POST", CHAT, chat_answer(), openai_error(500, "server_error"), chat_answer(), chat_answer())
        provider = await world.provider(upstream)
        await world.key(workspace, provider)
        alias = await world.alias(workspace, provider)
        for _ in range(3):
            await world.invoke(workspace, alias)
        # The one that failed was tried again.
        rows = await world.calls(workspace, 4)
    exported = await world.admin.get("/ai-usage/export", workspace_id=workspace, format="ndjson")
    assert [json.loads(line) for line in exported.text.splitlines()] == rows
    table = (await world.admin.get("/ai-usage/export", workspace_id=workspace)).text.splitlines()
    assert len(table) == 5
    assert "cost_usd" in table[0]
