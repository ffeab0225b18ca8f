"""Places and queues: fair between callers, short, and never lost."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.api.domain.pace import FIRST, LEAST, MOST, SLOW_S, Pace
from services.api.turnstile import Turnstile
from shared.errors import OmniError
from shared.shares import Shares


@given(st.integers(1, 50), st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=200))
def test_nobody_below_a_share_is_kept_out_and_no_more_than_twice_the_places_are_held(
    most: int, steps: list[tuple[str, bool]]
) -> None:
    shares: Shares[str] = Shares(most)
    for who, comes in steps:
        if not comes and shares.held(who):
            shares.give_back(who)
        elif comes:
            room, before = shares.has_room(who), shares.held(who)
            assert room or (shares.total >= most and before >= most // 3)
            if room:
                shares.take(who)
        assert shares.total == sum(map(shares.held, "abc")) <= 2 * most


@asynccontextmanager
async def crowd(turnstile: Turnstile, who: str, count: int, leave: asyncio.Event) -> AsyncIterator[list[str]]:
    """So many who come in and stay until ``leave``; the list says who came in or was refused."""
    log: list[str] = []

    async def one() -> None:
        try:
            async with turnstile.place(who):
                log.append("in")
                await leave.wait()
        except OmniError as error:
            log.append(error.code)

    tasks = [asyncio.create_task(one()) for _ in range(count)]
    await asyncio.sleep(0)
    yield log
    leave.set()
    await asyncio.gather(*tasks)


async def test_a_flood_waits_behind_itself_and_others_walk_past() -> None:
    turnstile, leave = Turnstile(8, queue=16, wait_s=60), asyncio.Event()
    async with crowd(turnstile, "flood", 100, leave) as flood:
        assert (turnstile.taken, turnstile.waiting, flood.count("unavailable")) == (8, 16, 76)
        with pytest.raises(OmniError):
            turnstile.check("flood")
        turnstile.check("quiet")
        async with turnstile.place("quiet"):
            assert turnstile.taken == 9
    assert (turnstile.taken, turnstile.waiting, flood.count("in")) == (0, 0, 24)


async def test_who_holds_least_comes_next() -> None:
    turnstile, stay, order = Turnstile(2, queue=16, wait_s=60), asyncio.Event(), list[str]()

    async def one(who: str) -> None:
        async with turnstile.place(who):
            order.append(who)
            await stay.wait()

    async with turnstile.place("a"):
        async with turnstile.place("b"):
            tasks = [asyncio.create_task(one(who)) for who in ("a", "a", "c")]
            await asyncio.sleep(0)
            assert (order, turnstile.waiting) == ([], 3)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert order == ["c"], "it has come last, and holds nothing yet"
    stay.set()
    await asyncio.gather(*tasks)
    assert turnstile.taken == 0


async def test_who_gives_up_leaves_nothing_behind() -> None:
    turnstile = Turnstile(1, queue=4, wait_s=0.01)
    async with turnstile.place("a"):
        with pytest.raises(OmniError, match="unavailable"):
            async with turnstile.place("a"):
                pytest.fail("there is no place")
        waiting = asyncio.create_task(turnstile.place("a").__aenter__())
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
    assert (turnstile.taken, turnstile.waiting) == (0, 0)


async def test_more_places_let_more_in() -> None:
    turnstile, leave = Turnstile(1, queue=16, wait_s=60), asyncio.Event()
    async with crowd(turnstile, "a", 5, leave) as log:
        assert log == ["in"]
        turnstile.resize(4)
        await asyncio.sleep(0)
        assert turnstile.taken == 4


def test_places_follow_how_quickly_our_own_parts_answer() -> None:
    pace = Pace()
    while pace.heard(SLOW_S / 2, pace.places) < MOST:
        pass
    for _ in range(200):
        if pace.heard(SLOW_S * (1.01 + pace.places / 64), pace.places) == LEAST:
            break
    assert pace.places == LEAST
    assert pace.heard(SLOW_S / 2, 3) == LEAST, "nobody needs more"
    assert LEAST < pace.heard(SLOW_S / 2, LEAST) < FIRST, "it has been too many before: slowly"


def test_what_is_slow_whatever_is_let_in_does_not_shut_everybody_out() -> None:
    pace = Pace()
    while pace.heard(SLOW_S / 2, pace.places) < 1000:
        pass
    fewest = min(pace.heard(SLOW_S * 2, pace.places) for _ in range(300))
    assert fewest > 400, "three tries"
    assert pace.places > 1000, "and then it goes on"
