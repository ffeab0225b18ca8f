"""Who pays for a call: what the router asks of vault and metering, when it goes on to credits, and what it says."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import pytest

from shared.errors import Code, OmniError
from shared.messages.metering import Refusal
from shared.messages.router import CallFinishedV1, InvokedV1, VerdictV1, VerifyKeyV1
from shared.messages.vault import RestrictionsV1
from shared.messages.vocabulary import Funds, KeyStatus, Outcome
from shared.testing.upstream import Answer, Upstream, json_answer
from tests.integration.router_world import World, router_world
from tests.integration.test_router import CHAT, GOOD

BOTH: dict[str, Any] = {"funds": "own_then_platform"}
OWN, PLATFORM = Funds.OWN, Funds.PLATFORM


@pytest.fixture(scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with router_world(tmp_path_factory.mktemp("credits")) as made:
        yield made


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    async with Upstream() as serving:
        serving.always("POST", CHAT, GOOD)
        yield serving


@pytest.fixture
def workspace() -> int:
    return uuid4().int % 2**40 + 1


async def called(world: World, workspace: int, alias: str) -> tuple[InvokedV1 | OmniError, list[CallFinishedV1]]:
    """The answer of a call or its error, and how its attempts ended that were reserved."""
    call_id, asked = str(uuid4()), len(world.metering.asked)
    try:
        answer = await world.call(workspace, alias, call_id)
    except OmniError as error:
        return error, []
    assert {one.funds for one in world.metering.asked[asked:]} >= {answer.funds}
    return answer, await world.metering.end_of(call_id)


async def test_credits_are_asked_for_by_name_at_every_neighbour(
    world: World, upstream: Upstream, workspace: int
) -> None:
    provider = await world.provider(upstream)
    world.key(workspace, provider)
    key = await world.platform_key(provider)
    alias = await world.alias(workspace, (provider, "m"), funds="platform")
    answer, ends = await called(world, workspace, alias)
    assert isinstance(answer, InvokedV1)
    assert (answer.funds, [one.funds for one in answer.attempts], answer.warnings) == (PLATFORM, [PLATFORM], ())
    reserved, leased = world.metering.asked[-1], world.vault.asked[-1]
    assert (reserved.workspace_id, reserved.key_id, reserved.funds) == (workspace, key.id, PLATFORM)
    assert (leased.workspace_id, leased.key_id, leased.funds) == (workspace, key.id, PLATFORM)
    assert [(one.workspace_id, one.key_id, one.funds) for one in ends] == [(workspace, key.id, PLATFORM)]
    assert upstream.requests[-1].headers["authorization"] == f"Bearer sk-{key.id}"


async def test_an_own_alias_never_uses_credits(world: World, upstream: Upstream, workspace: int) -> None:
    provider = await world.provider(upstream)
    await world.platform_key(provider)
    error, _ = await called(world, workspace, await world.alias(workspace, (provider, "m")))
    assert isinstance(error, OmniError)
    assert (error.code, upstream.requests) == (Code.MISSING_KEY, [])


@pytest.mark.parametrize("lack", ["no key", "refused before", "refused now", "budget", "revoked"])
async def test_what_lacks_leads_to_credits_and_it_is_said(
    world: World, upstream: Upstream, workspace: int, lack: str
) -> None:
    provider = await world.provider(upstream)
    platform = await world.platform_key(provider)
    if lack != "no key":
        status = {"status": KeyStatus.INVALID} if lack == "refused before" else {}
        own = world.key(workspace, provider)
        world.vault.keys[own.id] = own.model_copy(update=status)
    if lack == "refused now":
        upstream.script("POST", CHAT, json_answer({"error": {"code": "invalid_api_key"}}, status=401))
    if lack in ("budget", "revoked"):
        refusal = Refusal.BUDGET_EXCEEDED if lack == "budget" else Refusal.KEY_BLOCKED
        world.metering.answers.append({"refusal": refusal})
    answer, ends = await called(world, workspace, await world.alias(workspace, (provider, "m"), **BOTH))
    assert isinstance(answer, InvokedV1)
    first, second = answer.attempts
    assert ([first.funds, second.funds], second.outcome, second.key_id) == (
        [OWN, PLATFORM], Outcome.SUCCESS, platform.id,
    )  # fmt: skip
    assert answer.fallback_reason is first.outcome
    assert [one.code for one in answer.warnings][1:] == ["platform_credits_used"]
    paid = [one for one in ends if one.funds is PLATFORM] or await world.metering.ends_of(answer.call_id, 2)
    assert {one.fallback_reason for one in paid if one.funds is PLATFORM} == {first.outcome}


@pytest.mark.parametrize("status", [400, 402, 408, 429, 500, 503])
async def test_a_provider_that_fails_leads_to_no_credits(
    world: World, upstream: Upstream, workspace: int, status: int
) -> None:
    failing, keyless = await world.provider(upstream), await world.provider(upstream)
    world.key(workspace, failing)
    for provider in (failing, keyless):
        await world.platform_key(provider)
    upstream.always("POST", CHAT, json_answer({"error": {}}, status=status))
    alias = await world.alias(workspace, (keyless, "m"), (failing, "m"), **BOTH)
    asked = len(world.metering.asked)
    error, _ = await called(world, workspace, alias)
    assert isinstance(error, OmniError)
    assert {one.funds for one in world.metering.asked[asked:]} == {OWN}
    assert {one["funds"] for one in error.extra["attempts"]} == {"own"}


async def test_what_own_keys_exclude_is_not_sent_on_credits(world: World, upstream: Upstream, workspace: int) -> None:
    provider = await world.provider(upstream, region="us")
    await world.platform_key(provider)
    world.key(workspace, provider, restrictions=RestrictionsV1(regions=frozenset({"eu"})))
    error, _ = await called(world, workspace, await world.alias(workspace, (provider, "m"), **BOTH))
    assert isinstance(error, OmniError)
    assert (error.code, upstream.requests) == (Code.UNSUPPORTED_SCOPE, [])


async def test_restrictions_of_a_platform_key_hold(world: World, upstream: Upstream, workspace: int) -> None:
    provider = await world.provider(upstream)
    await world.platform_key(provider, restrictions=RestrictionsV1(models=frozenset({"n"})))
    refused, allowed = [await world.alias(workspace, (provider, model), funds="platform") for model in ("m", "n")]
    error, _ = await called(world, workspace, refused)
    assert isinstance(error, OmniError)
    assert error.code is Code.UNSUPPORTED_SCOPE
    answer, _ = await called(world, workspace, allowed)
    assert isinstance(answer, InvokedV1)
    assert (world.vault.asked[-1].model, world.vault.asked[-1].funds) == ("n", PLATFORM)


@pytest.mark.parametrize("refusal", [Refusal.NO_CREDITS, Refusal.CREDITS_OFF])
async def test_credits_that_are_refused_say_why(
    world: World, upstream: Upstream, workspace: int, refusal: Refusal
) -> None:
    provider = await world.provider(upstream)
    await world.platform_key(provider)
    alias = await world.alias(workspace, (provider, "m"), funds="platform")
    world.metering.answers.append({"refusal": refusal})
    error, _ = await called(world, workspace, alias)
    assert isinstance(error, OmniError)
    assert (error.code, error.extra["reason"], error.extra["funds"]) == (
        Code.BUDGET_EXCEEDED, refusal.value, "platform",
    )  # fmt: skip
    assert upstream.requests == []


async def test_a_provider_without_a_platform_key_is_passed_over(
    world: World, upstream: Upstream, workspace: int
) -> None:
    provider = await world.provider(upstream)
    world.key(workspace, provider)
    error, _ = await called(world, workspace, await world.alias(workspace, (provider, "m"), funds="platform"))
    assert isinstance(error, OmniError)
    assert (error.code, error.extra["funds"], upstream.requests) == (Code.MISSING_KEY, "platform", [])


async def test_a_revoked_platform_key_is_cut_in_every_workspace(world: World, upstream: Upstream) -> None:
    provider = await world.provider(upstream)
    key = await world.platform_key(provider)
    upstream.always("POST", CHAT, Answer(hang=True))
    workspaces = [uuid4().int % 2**40 + 1 for _ in range(3)]
    aliases = [await world.alias(one, (provider, "m"), funds="platform") for one in workspaces]
    calls = [asyncio.create_task(called(world, *one)) for one in zip(workspaces, aliases, strict=True)]
    await upstream.arrival(3)
    await world.vault.revoke(key)
    errors = [error for error, _ in await asyncio.wait_for(asyncio.gather(*calls), 10)]
    for error in errors:
        assert isinstance(error, OmniError)
        assert error.extra["attempts"][0]["outcome"] == "key_revoked"
    assert await called(world, workspaces[0], aliases[0])
    assert len(upstream.requests) == 3, "none begins with it"


async def test_a_platform_key_that_is_at_its_limit_rests_for_everybody(world: World, upstream: Upstream) -> None:
    async with Upstream() as other:
        other.always("POST", CHAT, GOOD)
        limited, spare = await world.provider(upstream), await world.provider(other)
        for provider in (limited, spare):
            await world.platform_key(provider)
        upstream.always("POST", CHAT, json_answer({"error": {}}, status=429, headers={"retry-after": "30"}))
        for place, told in enumerate((None, "resting")):
            workspace = uuid4().int % 2**40 + 1
            alias = await world.alias(workspace, (limited, "m"), (spare, "m"), funds="platform")
            answer, _ = await called(world, workspace, alias)
            assert isinstance(answer, InvokedV1)
            assert (answer.provider, answer.attempts[0].detail == told) == (spare.id, place == 1)
    assert len(upstream.requests) == 1


async def test_a_platform_key_that_is_refused_is_judged_as_the_platforms(
    world: World, upstream: Upstream, workspace: int
) -> None:
    provider = await world.provider(upstream)
    key = await world.platform_key(provider)
    alias = await world.alias(workspace, (provider, "m"), funds="platform")
    upstream.script("POST", CHAT, json_answer({"error": {"code": "invalid_api_key"}}, status=401))
    error, _ = await called(world, workspace, alias)
    assert isinstance(error, OmniError)
    assert (error.code, error.extra["funds"]) == (Code.MISSING_KEY, "platform")
    [verdict] = [one for one in world.vault.verdicts if one.key_id == key.id]
    assert (verdict.workspace_id, verdict.status) == (0, KeyStatus.INVALID)
    upstream.always("GET", "/v1/models", json_answer({"data": []}))
    found = await world.api.request(VerifyKeyV1(workspace_id=0, key_id=key.id), VerdictV1)
    assert found.status is KeyStatus.ACTIVE
    assert (world.vault.asked[-1].workspace_id, world.vault.asked[-1].funds) == (0, PLATFORM)
