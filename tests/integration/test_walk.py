"""The walk along a chain: what is tried again, what is passed over, what rests, and what ends a call."""

import asyncio
import base64
import struct
from collections.abc import AsyncIterator
from contextlib import suppress
from time import perf_counter
from typing import Any
from uuid import uuid4

import pytest

from services.router.domain.breaker import REST_S
from shared.errors import Code, OmniError
from shared.messages.catalogue import ModelV1
from shared.messages.chat import EmbeddingV1
from shared.messages.router import InvokedV1
from shared.messages.vocabulary import Billing, Capability, Outcome
from shared.testing.upstream import Answer, Upstream, json_answer, stream_answer
from tests.integration.router_world import World, router_world
from tests.integration.test_streamed_calls import WHOLE

CHAT, EMBED = "/v1/chat/completions", "/v1/embeddings"
GOOD = json_answer(
    {
        "choices": [{"finish_reason": "stop", "message": {"content": "hi"}}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1},
    }
)


def error(status: int, code: str | None = None, **headers: str) -> Answer:
    return json_answer({"error": {"message": "no", "code": code}}, status, headers=headers)


@pytest.fixture(scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with router_world(tmp_path_factory.mktemp("router")) as made:
        yield made


async def alias_over(world: World, workspace: int, *upstreams: Upstream, **fields: Any) -> str:
    """An alias over one model ``m`` at each of these hosts."""
    providers = [await world.provider(upstream, models=(ModelV1(id="m"),)) for upstream in upstreams]
    for provider in providers:
        world.key(workspace, provider)
    return await world.alias(workspace, *((provider, "m") for provider in providers), **fields)


def outcomes(answer: InvokedV1) -> list[Outcome]:
    return [attempt.outcome for attempt in answer.attempts]


async def test_the_only_target_is_tried_again(world: World, first: Upstream, workspace: int) -> None:
    alias = await alias_over(world, workspace, first)
    first.always("POST", CHAT, GOOD)
    first.script("POST", CHAT, error(503), error(500))
    answer = await world.call(workspace, alias)
    assert outcomes(answer) == [Outcome.PROVIDER_ERROR, Outcome.PROVIDER_ERROR, Outcome.SUCCESS]
    assert answer.fallback_reason is None, "the first choice has answered"
    assert answer.warnings == ()


async def test_retry_after_is_honoured(world: World, first: Upstream, workspace: int) -> None:
    alias = await alias_over(world, workspace, first)
    first.always("POST", CHAT, GOOD)
    first.script("POST", CHAT, error(429, "rate_limit_exceeded", **{"retry-after": "1"}))
    began = perf_counter()
    answer = await world.call(workspace, alias)
    assert perf_counter() - began >= 1
    assert outcomes(answer) == [Outcome.RATE_LIMITED, Outcome.SUCCESS]


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (error(429, "insufficient_quota"), Code.PROVIDER_ERROR),
        (error(400, "content_filter"), Code.CONTENT_POLICY),
        (error(400, "context_length_exceeded"), Code.CONTEXT_LENGTH_EXCEEDED),
        (Answer(body=b'{"choices": [', headers={"content-type": "application/json"}), Code.PROVIDER_ERROR),
    ],
)
async def test_what_would_not_pass_is_not_tried_again(
    world: World, first: Upstream, workspace: int, answer: Answer, code: Code
) -> None:
    alias = await alias_over(world, workspace, first)
    first.always("POST", CHAT, answer)
    with pytest.raises(OmniError) as raised:
        await world.call(workspace, alias)
    assert raised.value.code is code
    assert len(first.requests) == 1


async def test_while_another_target_remains_nothing_is_asked_twice(
    world: World, first: Upstream, second: Upstream, workspace: int
) -> None:
    alias = await alias_over(world, workspace, first, second)
    first.always("POST", CHAT, error(503, **{"retry-after": "1"}))
    second.always("POST", CHAT, GOOD)
    answer = await world.call(workspace, alias)
    assert outcomes(answer) == [Outcome.PROVIDER_ERROR, Outcome.SUCCESS]
    assert answer.fallback_reason is Outcome.PROVIDER_ERROR
    assert len(first.requests) == 1


async def test_content_policy_stops_with_the_providers_reason(
    world: World, first: Upstream, second: Upstream, workspace: int
) -> None:
    alias = await alias_over(world, workspace, first, second)
    first.always("POST", CHAT, error(400, "content_filter"))
    with pytest.raises(OmniError) as raised:
        await world.call(workspace, alias)
    assert (raised.value.code, raised.value.extra["reason"]) == (Code.CONTENT_POLICY, "content_filter")
    assert second.requests == []


async def test_too_long_goes_to_a_larger_window_only(
    world: World, first: Upstream, second: Upstream, workspace: int
) -> None:
    sizes = {"big": 100_000, "small": 1_000, "same": 10_000, "mid": 10_000}
    models = tuple(ModelV1(id=name, context_window=window) for name, window in sizes.items())
    providers = [await world.provider(upstream, models=models) for upstream in (first, second)]
    for provider in providers:
        world.key(workspace, provider)
    chain = [(providers[0], "mid"), (providers[1], "small"), (providers[1], "same"), (providers[1], "big")]
    alias = await world.alias(workspace, *chain)
    first.always("POST", CHAT, error(400, "context_length_exceeded"))
    second.always("POST", CHAT, GOOD)
    answer = await world.call(workspace, alias)
    assert [(attempt.model, attempt.outcome) for attempt in answer.attempts] == [
        ("mid", Outcome.CONTEXT_LENGTH_EXCEEDED), ("big", Outcome.SUCCESS),
    ]  # fmt: skip


async def test_too_much_for_a_minute_says_nothing_of_windows(
    world: World, first: Upstream, second: Upstream, workspace: int
) -> None:
    sized = [(first, 10_000), (second, 8_000)]
    providers = [await world.provider(one, models=(ModelV1(id="m", context_window=window),)) for one, window in sized]
    for provider in providers:
        world.key(workspace, provider)
    alias = await world.alias(workspace, *((provider, "m") for provider in providers))
    first.always("POST", CHAT, error(413, "tokens_per_minute"))
    second.always("POST", CHAT, GOOD)
    answer = await world.call(workspace, alias)
    assert outcomes(answer) == [Outcome.CONTEXT_LENGTH_EXCEEDED, Outcome.SUCCESS]


async def test_a_bad_key_is_marked_and_the_next_target_taken(
    world: World, first: Upstream, second: Upstream, workspace: int
) -> None:
    alias = await alias_over(world, workspace, first, second)
    first.always("POST", CHAT, error(401, "invalid_api_key"))
    second.always("POST", CHAT, GOOD)
    before = len(world.vault.verdicts)
    answer = await world.call(workspace, alias)
    assert outcomes(answer) == [Outcome.INVALID_KEY, Outcome.SUCCESS]
    assert len(world.vault.verdicts) == before + 1


async def test_a_failing_primary_rests_and_comes_back_soon_after_it_recovers(
    world: World, first: Upstream, second: Upstream, workspace: int
) -> None:
    alias = await alias_over(world, workspace, first, second)
    first.always("POST", CHAT, error(500))
    second.always("POST", CHAT, GOOD)
    for _ in range(30):
        answer = await world.call(workspace, alias)
    assert len(first.requests) <= 6, "it rests"
    assert answer.fallback_reason is Outcome.PROVIDER_ERROR
    assert (answer.attempts[0].detail, answer.attempts[0].status) == ("resting", None)
    first.always("POST", CHAT, GOOD)
    recovered = perf_counter()
    while answer.provider != answer.attempts[0].provider or answer.fallback_reason is not None:
        answer = await world.call(workspace, alias)
        assert perf_counter() - recovered < REST_S + 2
    print(f"breaker: calls_to_the_failing_primary=5 of 30, back after {perf_counter() - recovered:.1f} s")


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("at_once", [1, 32])
@pytest.mark.parametrize("length", [1, 2])
async def test_under_a_target_that_fails_half_the_time_attempts_stay_few(
    world: World, first: Upstream, second: Upstream, workspace: int, length: int, at_once: int, *, streamed: bool
) -> None:
    calls, answered, room = 200, 0, asyncio.Semaphore(at_once)
    alias = await alias_over(world, workspace, *(first, second)[:length])
    good = stream_answer(*WHOLE) if streamed else GOOD
    first.script("POST", CHAT, *([error(500), good] * calls))
    second.always("POST", CHAT, good)

    async def call() -> None:
        nonlocal answered
        async with room:
            with suppress(OmniError):
                if not streamed:
                    await world.call(workspace, alias)
                elif isinstance(final := (await world.stream(workspace, alias))[1], OmniError):
                    raise final
                answered += 1

    await asyncio.gather(*(call() for _ in range(calls)))
    attempts = len(first.requests) + len(second.requests)
    print(f"half failing: {length=} {at_once=} {streamed=} {calls=} {answered=} ratio={attempts / calls:.3f}")
    assert calls <= attempts <= 1.2 * calls
    assert answered >= (calls if length > 1 else 0.5 * calls)


async def test_embeddings_beyond_the_providers_own_limit(world: World, first: Upstream, workspace: int) -> None:
    model = ModelV1(id="e", capabilities=(Capability.EMBEDDING,))
    provider = await world.provider(first, models=(model,))
    world.key(workspace, provider)
    alias = await world.alias(workspace, (provider, "e"), capability=Capability.EMBEDDING)
    inputs = tuple(f"text {number}" for number in range(80))

    def vectors(start: int, end: int) -> Answer:
        data = [{"index": place, "embedding": [float(number), 0.5]} for place, number in enumerate(range(start, end))]
        return json_answer({"data": data, "usage": {"prompt_tokens": end - start, "total_tokens": end - start}})

    first.script("POST", EMBED, vectors(0, 32), error(503), vectors(32, 64), vectors(64, 80))
    pieces, final = await world.stream(workspace, alias, embedding=EmbeddingV1(inputs=inputs))
    assert isinstance(final, InvokedV1), final
    got = [struct.unpack("<2f", base64.b64decode(vector)) for piece in pieces for vector in piece.vectors]
    assert got == [(float(number), 0.5) for number in range(80)]
    assert [len(request.json["input"]) for request in first.requests] == [32, 32, 32, 16]
    assert final.tokens.input_tokens == 80
    assert outcomes(final) == [Outcome.SUCCESS, Outcome.PROVIDER_ERROR, Outcome.SUCCESS, Outcome.SUCCESS]
    assert final.fallback_reason is None


async def test_an_embedding_that_lacks_a_vector_is_no_answer(world: World, first: Upstream, workspace: int) -> None:
    provider = await world.provider(first, models=(ModelV1(id="e", capabilities=(Capability.EMBEDDING,)),))
    world.key(workspace, provider)
    alias = await world.alias(workspace, (provider, "e"), capability=Capability.EMBEDDING)
    one = json_answer({"data": [{"index": 0, "embedding": [1.0]}], "usage": {"prompt_tokens": 1, "total_tokens": 1}})
    first.always("POST", EMBED, one)
    _, final = await world.stream(workspace, alias, embedding=EmbeddingV1(inputs=("a", "b")))
    assert isinstance(final, OmniError)
    assert final.extra["attempts"][0]["detail"] == "missing_vectors"


async def test_an_asker_that_leaves_ends_its_embedding(world: World, first: Upstream, workspace: int) -> None:
    provider = await world.provider(first, models=(ModelV1(id="e", capabilities=(Capability.EMBEDDING,)),))
    world.key(workspace, provider)
    alias = await world.alias(workspace, (provider, "e"), capability=Capability.EMBEDDING)
    first.always("POST", EMBED, Answer(hang=True))
    call_id, texts = str(uuid4()), EmbeddingV1(inputs=("x",) * 80)
    asking = asyncio.create_task(world.stream(workspace, alias, call_id, embedding=texts))
    await first.arrival(1)
    asking.cancel()
    await asyncio.wait_for(first.left(1), 5)
    (end,) = await world.metering.ends_of(call_id, 1)
    assert (end.outcome, end.billing, end.sent) == (Outcome.CANCELLED, Billing.UNKNOWN, True)
    assert len(first.requests) == 1, "no batch is sent that nobody waits for"
