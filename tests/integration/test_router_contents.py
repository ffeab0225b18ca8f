"""The router hands over what calls were about where that is wanted, and no call waits for it or fails by it."""

import asyncio
import random
import time
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest

from services.router import contents as kept_contents
from services.router.providers.base import UNTOLD, ChatAnswer
from shared.errors import OmniError
from shared.messages.chat import ChatMessageV1, ChatOptionsV1, EmbeddingV1, ImagePartV1, TextPartV1, ToolV1
from shared.messages.router import InvokedV1
from shared.messages.vocabulary import Capability
from shared.testing.upstream import Answer, Upstream, json_answer
from tests.e2e.test_streaming import LAST, chunk, streamed
from tests.e2e.world import CHAT, chat_answer, openai_error
from tests.integration.contents_world import Keepers, keepers_of
from tests.integration.router_world import World, asked, router_world

EMBEDDINGS = "/v1/embeddings"


@pytest.fixture(scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with router_world(tmp_path_factory.mktemp("contents")) as made:
        yield made


@pytest.fixture(scope="module")
async def keepers(world: World) -> AsyncIterator[Keepers]:
    async with keepers_of(world) as made:
        yield made


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    async with Upstream() as made:
        yield made


@pytest.fixture
async def workspace(keepers: Keepers) -> int:
    number = random.randrange(1, 2**40)  # noqa: S311 - only unlike the others
    await keepers.opt_in(number)
    return number


async def alias_at(world: World, workspace: int, *upstreams: Upstream, **fields: Any) -> str:
    targets = []
    for one in upstreams:
        provider = await world.provider(one)
        world.key(workspace, provider)
        targets.append((provider, "m"))
    return await world.alias(workspace, *targets, **fields)


async def test_question_and_answer_are_kept(world: World, keepers: Keepers, upstream: Upstream, workspace: int) -> None:
    call = {"id": "1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Linz"}'}}
    answer = {"choices": [{"finish_reason": "tool_calls", "message": {"content": "Let me see.", "tool_calls": [call]}}]}
    upstream.always("POST", CHAT, json_answer(answer | {"usage": {"prompt_tokens": 1, "completion_tokens": 1}}))
    alias, call_id = await alias_at(world, workspace, upstream), str(uuid4())
    picture = ImagePartV1(url="data:image/png;base64,AAAA")
    messages = (ChatMessageV1(role="user", content=(TextPartV1(text="Rain?"), picture)),)
    options = ChatOptionsV1(tools=(ToolV1(name="weather", description="looks", parameters={"type": "object"}),))
    await world.call(workspace, alias, call_id, messages=messages, options=options)
    [kept] = await keepers.of_call(call_id)
    assert (kept.messages, kept.options) == (messages, options)
    assert (kept.text, [one.arguments for one in kept.tool_calls]) == ("Let me see.", ['{"city": "Linz"}'])
    assert (kept.complete, kept.shortened) == (True, False)


async def test_every_attempt_has_its_own(world: World, keepers: Keepers, upstream: Upstream, workspace: int) -> None:
    async with Upstream() as second:
        upstream.always("POST", CHAT, openai_error(400, "billing_not_active"))
        second.always("POST", CHAT, chat_answer("From the second."))
        call_id = str(uuid4())
        await world.call(workspace, await alias_at(world, workspace, upstream, second), call_id)
        failed, answered = sorted(await keepers.of_call(call_id, 2), key=lambda one: one.complete)
    assert (failed.text, failed.complete, failed.messages[0].text) == ("", False, "Hi")
    assert (answered.text, answered.complete) == ("From the second.", True)


async def test_of_a_stream_that_is_continued_each_attempt_has_what_it_said(
    world: World, keepers: Keepers, upstream: Upstream, workspace: int
) -> None:
    async with Upstream() as second:
        upstream.always("POST", CHAT, streamed("One two ", "three", last=b""))
        second.always("POST", CHAT, streamed(" four", " five"))
        call_id = str(uuid4())
        await world.stream(workspace, await alias_at(world, workspace, upstream, second), call_id)
        began, ended = sorted(await keepers.of_call(call_id, 2), key=lambda one: one.complete)
    assert (began.text, began.continues, began.complete) == ("One two three", None, False)
    assert (ended.text, ended.continues, ended.complete) == (" four five", "One two three", True)


async def test_of_a_cancelled_stream_what_was_heard(
    world: World, keepers: Keepers, upstream: Upstream, workspace: int
) -> None:
    parts = (chunk(delta={"content": "Once "}), asyncio.Event(), LAST)
    upstream.always("POST", CHAT, Answer(headers={"content-type": "text/event-stream"}, parts=parts))
    alias, call_id = await alias_at(world, workspace, upstream), str(uuid4())
    async with world.api.stream(asked(workspace, alias, call_id, stream=True), InvokedV1, timeout=30) as answer:
        async for delta in answer:
            assert delta.text == "Once "
            break
    [kept] = await keepers.of_call(call_id)
    assert (kept.text, kept.complete) == ("Once ", False)


async def test_texts_to_embed_are_kept_and_vectors_are_not(
    world: World, keepers: Keepers, upstream: Upstream, workspace: int
) -> None:
    data = [{"index": index, "embedding": [0.5, 0.25]} for index in range(2)]
    upstream.always("POST", EMBEDDINGS, json_answer({"data": data, "usage": {"prompt_tokens": 2, "total_tokens": 2}}))
    alias = await alias_at(world, workspace, upstream, capability=Capability.EMBEDDING)
    call_id, embedding = str(uuid4()), EmbeddingV1(inputs=("a", "b"))
    await world.stream(workspace, alias, call_id, embedding=embedding)
    [kept] = await keepers.of_call(call_id)
    assert (kept.embedding, kept.text, kept.complete) == (embedding, "", True)


async def test_a_workspace_that_has_not_opted_in_is_asked_about_once(
    world: World, keepers: Keepers, upstream: Upstream, workspace: int
) -> None:
    stranger = workspace + 1
    upstream.always("POST", CHAT, chat_answer())
    mine, theirs = await alias_at(world, workspace, upstream), await alias_at(world, stranger, upstream)
    first = str(uuid4())
    await world.call(workspace, mine, first)
    await keepers.of_call(first)  # whether to keep it is asked beside the call
    before = keepers.asked_policies
    for _ in range(50):
        await world.call(stranger, theirs)
    call_id = str(uuid4())
    await world.call(workspace, mine, call_id)
    await keepers.of_call(call_id)  # whatever came before it has been looked at
    strange = [one for one in keepers.kept.values() if one.workspace_id == stranger]
    taking = _seconds_a_take(world, stranger)
    print(
        f"not opted in: calls=50 policies_asked={keepers.asked_policies - before} kept={len(strange)} "
        f"cost of a call={taking * 1e6:.1f} µs"
    )
    assert taking < 50e-6
    assert (keepers.asked_policies - before, strange) == (1, [])


def _seconds_a_take(world: World, workspace: int) -> float:
    """What an attempt of a workspace that is known to store nothing costs the router."""
    job = SimpleNamespace(request=asked(workspace, "a"), telling=None, resume=None)
    ticket, answer = SimpleNamespace(job=job, attempt_id="x"), ChatAnswer("Hi", "stop", UNTOLD)
    began = time.process_time()
    for _ in range(10_000):
        world.app._contents.take(ticket, answer)  # type: ignore[arg-type]
    assert world.app._contents._queue.empty()
    return (time.process_time() - began) / 10_000


async def test_a_change_of_mind_counts_from_the_next_call(
    world: World, keepers: Keepers, upstream: Upstream, workspace: int
) -> None:
    upstream.always("POST", CHAT, chat_answer())
    alias = await alias_at(world, workspace, upstream)
    first, second, third = (str(uuid4()) for _ in range(3))
    await keepers.opt_in(workspace, stores=False)
    await world.call(workspace, alias, first)
    await world.app._contents._queue.join()  # it is decided when it would be stored
    await keepers.opt_in(workspace)
    # The announcement is heard before a request that was sent after it.
    await world.call(workspace, alias, second)
    await keepers.of_call(second)
    await world.call(workspace, alias, third)
    await keepers.of_call(third)
    assert not [one for one in keepers.kept.values() if one.call_id == first]


async def test_no_call_waits_for_it_or_fails_by_it(
    world: World, keepers: Keepers, upstream: Upstream, workspace: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    upstream.always("POST", CHAT, chat_answer())
    alias = await alias_at(world, workspace, upstream)
    await world.call(workspace, alias)

    async def hundred() -> float:
        began = time.perf_counter()
        await asyncio.gather(*(world.call(workspace, alias) for _ in range(100)))
        return time.perf_counter() - began

    usual = await hundred()
    monkeypatch.setattr(kept_contents, "STORE_S", 0.5)
    keepers.may_store.clear()
    lost_before = world.app._contents.lost
    hanging = await hundred()
    large = "x" * 1_000_000
    messages = (ChatMessageV1(role="user", content=large),)
    refused = 0
    for _ in range(40):
        try:
            await world.call(workspace, alias, messages=messages)
        except OmniError:
            refused += 1
    waiting, lost = world.app._contents._chars, world.app._contents.lost - lost_before
    keepers.may_store.set()
    async with asyncio.timeout(30):
        await world.app._contents._queue.join()
    lost_in_all = world.app._contents.lost - lost_before
    print(
        f"metering silent: 100 calls took {hanging:.2f} s (usually {usual:.2f} s), failed={refused}, "
        f"waiting_chars={waiting} (at most {kept_contents.MOST_CHARS}), lost={lost_in_all}"
    )
    assert refused == 0
    assert hanging < 3 * usual + 0.5
    assert waiting <= kept_contents.MOST_CHARS
    assert lost > 0
    assert world.app._contents._chars == 0
