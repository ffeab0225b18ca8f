"""Rate limits over HTTP: set, kept, told in headers, corrected by what a call took."""

from collections.abc import AsyncIterator

import pytest

from shared.testing.upstream import Upstream
from tests.e2e.world import CHAT, Caller, World, accept_keys, chat_answer, ok, problem

QUESTION = {"messages": [{"role": "user", "content": "Hello!"}], "max_tokens": 16}


@pytest.fixture(scope="module")
async def upstream() -> AsyncIterator[Upstream]:
    async with Upstream() as serving:
        accept_keys(serving)
        serving.always("POST", CHAT, chat_answer(input_tokens=100, output_tokens=50))
        yield serving


@pytest.fixture
async def workspace(world: World, upstream: Upstream) -> tuple[int, str]:
    """A workspace and an alias that works."""
    made = await world.workspace()
    provider = await world.provider(upstream)
    await world.key(made, provider)
    return made, await world.alias(made, provider)


async def bearer(world: World, workspace: int, **limits: int) -> tuple[Caller, str]:
    body = {"workspace_id": workspace, "role": "owner", **limits}
    made = ok(await world.admin.post("/ai-tokens", **body), 201)
    return world.caller(made["token"]), made["id"]


async def test_a_token_is_held_to_its_requests_and_told_when_to_come_again(
    world: World, workspace: tuple[int, str]
) -> None:
    number, alias = workspace
    caller, token_id = await bearer(world, number, requests_per_minute=2)
    for left in (1, 0):
        answer = await caller.post("/ai-invoke", alias_name=alias, prompt="Hello!")
        ok(answer)
        assert answer.headers["x-ratelimit-limit-requests"] == "2"
        assert answer.headers["x-ratelimit-remaining-requests"] == str(left)
    refused = await caller.post("/ai-invoke", alias_name=alias, prompt="Hello!")
    body = problem(refused, 429, "rate_limited")
    assert (body["scope"], body["unit"], body["limit"]) == ("token", "requests", 2)
    assert 50 < int(refused.headers["retry-after"]) <= 61
    assert 0 <= int(refused.headers["retry-after"]) * 1000 - int(refused.headers["retry-after-ms"]) < 1000
    ok(await caller.put(f"/ai-tokens/{token_id}", requests_per_minute=None, name="freed"))
    answer = await caller.post("/ai-invoke", alias_name=alias, prompt="Hello!")
    ok(answer)
    assert "x-ratelimit-limit-requests" not in answer.headers


async def test_tokens_are_estimated_before_and_counted_after(world: World, workspace: tuple[int, str]) -> None:
    number, alias = workspace
    ok(await world.admin.put(f"/ai-workspaces/{number}/limits", tokens_per_minute=2000))
    caller, _ = await bearer(world, number)
    assert ok(await caller.get(f"/ai-workspaces/{number}/limits"))["tokens_per_minute"] == 2000
    first = await caller.post("/ai-invoke", alias_name=alias, prompt="Hello!", options={"max_tokens": 1800})
    ok(first)
    assert 100 <= int(first.headers["x-ratelimit-remaining-tokens"]) <= 200
    # It took 150, not 1,801: there is room again.
    second = await caller.post("/ai-invoke", alias_name=alias, prompt="Hello!", options={"max_tokens": 1000})
    ok(second)
    assert int(second.headers["x-ratelimit-remaining-tokens"]) == 2000 - 150 - 1001
    third = await caller.post("/ai-invoke", alias_name=alias, prompt="Hello!", options={"max_tokens": 1900})
    assert problem(third, 429, "rate_limited")["scope"] == "workspace"


async def test_both_dialects_are_told_in_their_own_words(world: World, workspace: tuple[int, str]) -> None:
    number, alias = workspace
    caller, _ = await bearer(world, number, requests_per_minute=2, tokens_per_minute=100_000)
    openai = await caller.post("/v1/chat/completions", model=alias, **QUESTION)
    ok(openai)
    assert openai.headers["x-ratelimit-remaining-requests"] == "1"
    anthropic = await caller.post("/v1/messages", model=alias, **QUESTION)
    ok(anthropic)
    assert anthropic.headers["anthropic-ratelimit-requests-remaining"] == "0"
    assert anthropic.headers["anthropic-ratelimit-tokens-reset"].endswith("Z")
    refused = await caller.post("/v1/messages", model=alias, **QUESTION)
    assert (refused.status_code, refused.json()["error"]["type"]) == (429, "rate_limit_error")
    assert "retry-after" in refused.headers
    refused = await caller.post("/v1/chat/completions", model=alias, **QUESTION)
    assert (refused.status_code, refused.json()["error"]["code"]) == (429, "rate_limit_exceeded")


async def test_limits_are_set_by_those_who_may(world: World) -> None:
    number = await world.workspace()
    owner, _ = await bearer(world, number)
    problem(await owner.put(f"/ai-workspaces/{number}/limits", requests_per_minute=9), 403, "forbidden")
    for wrong in (0, -1, 1.5, "9", True, 10**13):
        problem(
            await world.admin.put(f"/ai-workspaces/{number}/limits", requests_per_minute=wrong), 422, "invalid_request"
        )
    limits = ok(await world.admin.put(f"/ai-workspaces/{number}/limits", requests_per_minute=9))
    assert limits == {"workspace_id": number, "requests_per_minute": 9, "tokens_per_minute": None}
    assert ok(await world.admin.put(f"/ai-workspaces/{number}/limits", tokens_per_minute=5))["requests_per_minute"] == 9
