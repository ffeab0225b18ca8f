"""A call whose budget is taken up by calls under way waits at the router: asked again, given up in time, left early."""

import asyncio
from collections.abc import AsyncIterator
from time import monotonic
from uuid import uuid4

import pytest

from shared.errors import Code, OmniError
from shared.messages.router import InvokedV1
from shared.messages.vocabulary import START_WITHIN_S
from shared.testing.upstream import Upstream, json_answer
from tests.integration.router_world import World, asked, router_world

CHAT = "/v1/chat/completions"
FULL = {"refusal": "budget_exceeded", "unit": "usd_micros", "fits_later": True}
ANSWER = {
    "choices": [{"message": {"content": "Hello."}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 1, "completion_tokens": 1},
}


@pytest.fixture(scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with router_world(tmp_path_factory.mktemp("router")) as made:
        yield made


@pytest.fixture
async def upstream(world: World) -> AsyncIterator[Upstream]:
    world.metering.asked.clear()
    world.metering.answers.clear()
    async with Upstream() as serving:
        serving.always("POST", CHAT, json_answer(ANSWER))
        yield serving


async def alias(world: World, upstream: Upstream, workspace: int, total_s: float = 30.0) -> str:
    provider = await world.provider(upstream)
    world.key(workspace, provider)
    return await world.alias(workspace, (provider, "m"), time_limits={"total_s": total_s})


async def test_it_asks_again_and_keeps_its_place(world: World, upstream: Upstream) -> None:
    workspace = uuid4().int % 2**40 + 1
    name = await alias(world, upstream, workspace)
    world.metering.answers = [FULL] * 4
    answered = await world.call(workspace, name)
    questions = world.metering.asked
    print(f"{len(questions)} questions, the last after {questions[-1].waited_s:.2f} s")
    assert answered.text == "Hello."
    assert len({question.attempt_id for question in questions}) == 1
    assert [question.wait_s for question in questions] == [2.0] * 5
    waited = [question.waited_s for question in questions]
    assert waited == sorted(waited)
    assert waited[-1] > 0.3, "an answer that comes at once is not asked for again at once"
    assert max(question.wait_s for question in questions) < START_WITHIN_S / 2 + 0.01


async def test_it_waits_no_longer_than_the_call_may_take(world: World, upstream: Upstream) -> None:
    workspace = uuid4().int % 2**40 + 1
    name = await alias(world, upstream, workspace, total_s=1.0)
    world.metering.answers = [FULL] * 100
    before = monotonic()
    with pytest.raises(OmniError) as refused:
        await world.call(workspace, name)
    print(f"given up after {monotonic() - before:.2f} s of 1 s")
    assert refused.value.code is Code.BUDGET_EXCEEDED
    assert 0.8 < monotonic() - before < 1.5
    assert not upstream.requests


async def test_an_asker_of_a_stream_that_leaves_ends_the_waiting(world: World, upstream: Upstream) -> None:
    workspace, call_id = uuid4().int % 2**40 + 1, str(uuid4())
    name = await alias(world, upstream, workspace)
    world.metering.answers = [FULL] * 1000
    world.metering.reserving.clear()

    async def listen() -> None:
        async with world.api.stream(asked(workspace, name, call_id, stream=True), InvokedV1, timeout=30) as answer:
            async for _ in answer:
                raise AssertionError

    listening = asyncio.ensure_future(listen())
    await world.metering.reserving.wait()
    listening.cancel()
    left = monotonic()
    [end] = await world.metering.end_of(call_id)
    print(f"asker gone: the attempt was given up after {1000 * (monotonic() - left):.0f} ms")
    assert not end.sent
    assert monotonic() - left < 1
    assert not upstream.requests


async def test_a_halted_budget_says_what_to_do(world: World, upstream: Upstream) -> None:
    workspace = uuid4().int % 2**40 + 1
    name = await alias(world, upstream, workspace)
    world.metering.answers = [{"refusal": "halted"}]
    with pytest.raises(OmniError, match="resume the budget") as refused:
        await world.call(workspace, name)
    assert (refused.value.code, refused.value.extra["reason"]) == (Code.BUDGET_EXCEEDED, "halted")
    assert not upstream.requests
