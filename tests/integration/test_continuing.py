"""Who goes on with an answer that was cut is asked in its own way: by prefill, in words, or by a longer prompt."""

from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest

from services.router.resuming import INSTRUCTION
from shared.errors import OmniError
from shared.messages.catalogue import ModelV1, ProviderV1, UpdateProviderV1
from shared.messages.router import InvokedV1
from shared.messages.vocabulary import Capability, Outcome
from shared.testing.upstream import Answer, Upstream, json_answer, stream_answer
from tests.integration.router_world import World, router_world
from tests.integration.test_streamed_calls import CHAT, DONE, USAGE, WHOLE, WORDS, chunk, event, text_of, texts

BEGUN = "".join(WORDS[:2])
GOES_ON = stream_answer(*texts(*WORDS[2:]), chunk("stop"), USAGE, DONE)
REFUSED = json_answer({"error": {"message": "no", "type": "invalid_request_error"}}, 400)


def cut(*parts: bytes) -> Answer:
    """These events, and then the connection breaks."""
    said = b"".join(parts)
    return stream_answer(said, b"data: {", cut_after=len(said) + 12)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with router_world(tmp_path) as made:
        yield made


async def test_what_takes_a_prefill_goes_on_whatever_it_says_to_it(
    world: World, first: Upstream, second: Upstream
) -> None:
    moved = UpdateProviderV1(id="mistral", base_url=f"{second.base_url}/v1")
    providers = [await world.provider(first), await world.api.request(moved, ProviderV1)]
    right = 0
    for given, asked in (((GOES_ON,), 1), ((stream_answer(*WHOLE),), 1), ((REFUSED, GOES_ON), 2), ((REFUSED,) * 2, 2)):
        workspace = uuid4().int % 2**40 + 1
        for provider in providers:
            world.key(workspace, provider)
        alias = await world.alias(workspace, *((provider, "nobody-knows-it") for provider in providers))
        second.requests.clear()
        first.always("POST", CHAT, cut(*texts(*WORDS[:2])))
        second.script("POST", CHAT, *given)
        pieces, final = await world.stream(workspace, alias)
        last = [request.json["messages"][-1] for request in second.requests]
        assert last[0] == {"role": "assistant", "content": BEGUN, "prefix": True}
        assert last[1:] == [{"role": "user", "content": INSTRUCTION}] * (asked - 1)
        if isinstance(final, OmniError):
            assert given == (REFUSED, REFUSED)
            assert (text_of(pieces), final.extra["reason"]) == (BEGUN, "cut_answer"), "the real error, not the refusal"
            continue
        assert text_of(pieces) == final.text == "".join(WORDS)
        right += 1
    print(f"prefill: taken, echoed and refused: seamless={right} of 3; refused twice: the cut is told")


async def test_blanks_alone_are_begun_anew(world: World, first: Upstream, second: Upstream) -> None:
    workspace, providers = uuid4().int % 2**40 + 1, [await world.provider(one) for one in (first, second)]
    for provider in providers:
        world.key(workspace, provider)
    alias = await world.alias(workspace, *((provider, "m") for provider in providers))
    first.always("POST", CHAT, cut(*texts("\n")))
    second.always("POST", CHAT, stream_answer(*WHOLE))
    pieces, final = await world.stream(workspace, alias)
    assert isinstance(final, InvokedV1)
    assert text_of(pieces) == "\n" + "".join(WORDS)
    assert [message["role"] for message in second.requests[0].json["messages"]] == ["user"]
    assert [attempt.outcome for attempt in final.attempts] == [Outcome.BAD_RESPONSE, Outcome.SUCCESS]


async def test_a_completion_goes_on(world: World, first: Upstream, second: Upstream) -> None:
    def text(said: str, finish: str | None = None) -> bytes:
        return event({"choices": [{"index": 0, "text": said, "finish_reason": finish}]})

    models = (ModelV1(id="c", capabilities=(Capability.COMPLETION,)),)
    workspace, providers = (
        uuid4().int % 2**40 + 1,
        [await world.provider(one, models=models) for one in (first, second)],
    )
    for provider in providers:
        world.key(workspace, provider)
    chain = ((provider, "c") for provider in providers)
    alias = await world.alias(workspace, *chain, capability=Capability.COMPLETION)
    first.always("POST", "/v1/completions", cut(text(" there,"), text(" wor")))
    second.always("POST", "/v1/completions", stream_answer(text("ld"), text("", "stop"), USAGE, DONE))
    pieces, final = await world.stream(workspace, alias)
    assert isinstance(final, InvokedV1)
    assert text_of(pieces) == " there, world"
    assert second.requests[0].json["prompt"] == "Hi there, wor"
