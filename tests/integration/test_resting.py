"""What rests on a walk: named where it stands in the chain, and tried by one call of many once its rest is over."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from shared.errors import OmniError
from shared.messages.catalogue import ModelV1
from shared.messages.vocabulary import Outcome
from shared.testing.upstream import Upstream
from tests.integration.router_world import World, router_world
from tests.integration.test_walk import CHAT, GOOD, alias_over, error, outcomes


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with router_world(tmp_path) as made:
        yield made


async def test_what_rests_is_named_at_its_place(
    world: World, first: Upstream, second: Upstream, workspace: int
) -> None:
    keyless = await world.provider(first, models=(ModelV1(id="m"),))
    providers = [await world.provider(upstream, models=(ModelV1(id="m"),)) for upstream in (first, second)]
    for provider in providers:
        world.key(workspace, provider)
    resting = await world.alias(workspace, (providers[0], "m"))
    first.always("POST", CHAT, error(403))
    second.always("POST", CHAT, GOOD)
    with pytest.raises(OmniError):
        await world.call(workspace, resting)
    alias = await world.alias(workspace, *((provider, "m") for provider in (keyless, *providers)))
    answer = await world.call(workspace, alias)
    assert outcomes(answer) == [Outcome.MISSING_KEY, Outcome.INVALID_KEY, Outcome.SUCCESS]
    assert answer.attempts[1].detail == "resting"
    assert answer.fallback_reason is Outcome.MISSING_KEY, "that of the first choice"


async def test_of_calls_that_come_together_one_tries_what_has_rested(
    world: World, first: Upstream, second: Upstream, workspace: int
) -> None:
    alias = await alias_over(world, workspace, first, second)
    first.always("POST", CHAT, error(429, "rate_limit_exceeded", **{"retry-after": "1"}))
    second.always("POST", CHAT, GOOD)
    bursts = 0
    await world.call(workspace, alias)
    while len(first.requests) == 1:
        await asyncio.gather(*(world.call(workspace, alias) for _ in range(32)))
        bursts += 1
    print(f"half-open: concurrency=32 bursts={bursts} calls_to_the_resting_target={len(first.requests) - 1}")
    assert len(first.requests) == 2
