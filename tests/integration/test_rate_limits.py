"""Rate limits over several edges on a real message bus: how far off, and what one that comes later knows."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from services.api.domain.rates import Rates
from services.api.rates import RateLimitedError, RateLimits
from shared.clock import SystemClock
from shared.messages.base import Service
from tests.integration.servers import bus, close_queues, nats_server

LIMIT = 600
EDGES = 4


@pytest.fixture(scope="module")
def nats_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with nats_server(tmp_path_factory.mktemp("nats")) as url:
        yield url


@asynccontextmanager
async def edge(nats_url: str) -> AsyncIterator[RateLimits]:
    """An edge's rate limits on a connection of its own."""
    connected = bus(Service.API, nats_url)
    limits = RateLimits(connected, SystemClock())
    await connected.start()
    limits.start()
    yield limits
    await limits.stop()
    await connected.stop()
    await close_queues(connected)


def ask(limits: RateLimits, workspace: int) -> float:
    """Seconds to wait; 0: let in."""
    try:
        limits.admit(("1", Rates()), (workspace, Rates(requests=LIMIT)), 1)
    except RateLimitedError as refused:
        return refused.retry_after_ms / 1000
    return 0.0


async def test_four_edges_keep_one_limit(nats_url: str) -> None:
    async with AsyncExitStack() as stack:
        edges = [await stack.enter_async_context(edge(nats_url)) for _ in range(EDGES)]
        let_in = tries = 0
        # Three times what is allowed in a minute within 3 s, over all edges alike.
        for _ in range(3 * LIMIT // EDGES):
            tries += EDGES
            let_in += sum(ask(one, workspace=1) == 0 for one in edges)
            await asyncio.sleep(3 / (3 * LIMIT // EDGES))
    over = (let_in - LIMIT) / LIMIT
    print(f"rate limit: {LIMIT} a minute, {EDGES} edges, {tries} asked in 3 s, {let_in} let in: {over:.1%} too many")
    assert let_in >= LIMIT
    assert over <= 0.2


async def test_who_comes_later_and_who_was_away_know_what_the_others_admitted(nats_url: str) -> None:
    async with edge(nats_url) as first:
        for _ in range(LIMIT):
            assert ask(first, workspace=2) == 0
        assert 59 < ask(first, workspace=2) <= 60.25
        async with edge(nats_url) as second, asyncio.timeout(5):
            while ask(second, workspace=2) == 0:  # noqa: ASYNC110 - nobody tells when it has been told
                await asyncio.sleep(0.01)
            assert 58 < ask(second, workspace=2) <= 60.25


async def test_what_a_call_took_corrects_what_it_was_counted_for(nats_url: str) -> None:
    limited = (3, Rates(tokens=1000))
    async with edge(nats_url) as limits:
        allowance = limits.admit(("1", Rates()), limited, 900)
        with pytest.raises(RateLimitedError) as refused:
            limits.admit(("1", Rates()), limited, 200)
        assert refused.value.extra["unit"] == "tokens"
        limits.settle(allowance, 10)
        assert dict(limits.admit(("1", Rates()), limited, 200).standings)["tokens"].remaining == 790


async def test_a_token_is_limited_beside_its_workspace(nats_url: str) -> None:
    async with edge(nats_url) as limits:
        limits.admit(("a1", Rates(requests=1)), (4, Rates(requests=9)), 1)
        with pytest.raises(RateLimitedError) as refused:
            limits.admit(("a1", Rates(requests=1)), (4, Rates(requests=9)), 1)
        assert (refused.value.extra["scope"], refused.value.extra["limit"]) == ("token", 1)
        standings = dict(limits.admit(("a2", Rates()), (4, Rates(requests=9)), 1).standings)
        assert standings["requests"].remaining == 7
