import asyncio
from time import perf_counter

import pytest

from services.router.cuts import MAX_ENDED, Cuts, KeyEndedError


async def _work(cuts: Cuts, key_id: str, begun: asyncio.Event, for_s: float | None = None) -> str:
    async with cuts.using(1, key_id):
        begun.set()
        async with asyncio.timeout(for_s):
            await asyncio.Event().wait()
    return "never"


async def _begun(cuts: Cuts, key_id: str, for_s: float | None = None) -> "asyncio.Task[str]":
    begun = asyncio.Event()
    task = asyncio.create_task(_work(cuts, key_id, begun, for_s))
    await begun.wait()
    return task


async def test_the_end_of_a_key_ends_all_that_is_under_way_with_it_and_nothing_else() -> None:
    cuts = Cuts()
    mine = [await _begun(cuts, "mine") for _ in range(500)]
    other = await _begun(cuts, "other")
    began = perf_counter()
    cuts.end(1, "mine")
    cuts.end(1, "mine")
    ended = await asyncio.gather(*mine, return_exceptions=True)
    print(f"cut {len(mine)} in {1000 * (perf_counter() - began):.1f} ms")
    assert all(isinstance(one, KeyEndedError) for one in ended)
    assert cuts.under_way() == ((1, "other"),)
    assert not other.done()
    other.cancel()


async def test_nothing_begins_with_a_key_that_has_ended() -> None:
    cuts = Cuts()
    cuts.end(1, "k")
    with pytest.raises(KeyEndedError):
        await _work(cuts, "k", asyncio.Event())
    assert cuts.under_way() == ()


async def test_what_is_done_is_not_cut_afterwards() -> None:
    cuts = Cuts()
    async with cuts.using(1, "k"):
        pass
    cuts.end(1, "k")
    await asyncio.sleep(0)
    assert cuts.under_way() == ()


async def test_a_time_limit_and_a_cancellation_stay_what_they_are() -> None:
    cuts = Cuts()
    with pytest.raises(TimeoutError):
        await _work(cuts, "k", asyncio.Event(), for_s=0.01)
    task = await _begun(cuts, "k")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    both = await _begun(cuts, "k")
    cuts.end(1, "k")
    both.cancel()
    with pytest.raises(asyncio.CancelledError):
        await both


async def test_the_memory_of_ended_keys_is_bounded() -> None:
    cuts = Cuts()
    for number in range(MAX_ENDED + 10):
        cuts.end(1, str(number))
    assert len(cuts._ended) == MAX_ENDED
    with pytest.raises(KeyEndedError):
        await _work(cuts, str(MAX_ENDED + 9), asyncio.Event())
