"""Streamed calls through the router and real NATS: told piece by piece, gone on with, held, or ended with an error."""

import asyncio
import json
from collections.abc import AsyncIterator
from time import perf_counter
from typing import Any
from uuid import uuid4

import pytest

from services.router.resuming import INSTRUCTION
from shared.errors import Code, OmniError
from shared.messages.chat import ChatOptionsV1, DeltaV1, ToolV1
from shared.messages.router import InvokedV1
from shared.messages.vocabulary import Billing, Outcome
from shared.testing.upstream import Upstream, json_answer, stream_answer
from tests.integration.router_world import World, asked, router_world

CHAT = "/v1/chat/completions"
DONE = b"data: [DONE]\n\n"
WORDS = ("The quick ", "brown fox ", "jumps over ", "the lazy dog.")


def chunk(finish: str | None = None, **delta: Any) -> bytes:
    return event({"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})


def event(payload: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(payload).encode() + b"\n\n"


USAGE = event({"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 9}})


def texts(*words: str) -> tuple[bytes, ...]:
    return tuple(chunk(content=word) for word in words)


WHOLE = (*texts(*WORDS), chunk("stop"), USAGE, DONE)


def text_of(pieces: list[DeltaV1]) -> str:
    return "".join(piece.text for piece in pieces)


@pytest.fixture(scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with router_world(tmp_path_factory.mktemp("router")) as made:
        yield made


class Chain:
    """Two targets at two hosts, and an alias over them."""

    def __init__(self, world: World, first: Upstream, second: Upstream) -> None:
        self.world, self.first, self.second = world, first, second
        self.workspace, self.alias = uuid4().int % 2**40 + 1, ""

    async def make(self, **fields: Any) -> "Chain":
        providers = [await self.world.provider(self.first), await self.world.provider(self.second)]
        for provider in providers:
            self.world.key(self.workspace, provider)
        self.alias = await self.world.alias(self.workspace, *((provider, "m") for provider in providers), **fields)
        return self

    async def stream(self, **fields: Any) -> tuple[list[DeltaV1], InvokedV1 | OmniError]:
        return await self.world.stream(self.workspace, self.alias, **fields)


@pytest.fixture
def chain(world: World, first: Upstream, second: Upstream) -> Chain:
    return Chain(world, first, second)


async def test_a_stream_is_told_piece_by_piece_and_whole_in_the_end(chain: Chain) -> None:
    await chain.make()
    chain.first.always("POST", CHAT, stream_answer(*WHOLE))
    pieces, final = await chain.stream()
    assert [piece.text for piece in pieces] == list(WORDS)
    assert isinstance(final, InvokedV1)
    assert (final.text, final.finish_reason) == ("".join(WORDS), "stop")
    assert (final.tokens.input_tokens, final.tokens.output_tokens) == (7, 9)
    assert final.fallback_reason is None
    assert final.continued == ()
    assert chain.first.requests[0].json["stream"] is True


async def test_before_the_first_token_the_caller_never_notices(chain: Chain) -> None:
    await chain.make()
    chain.first.always("POST", CHAT, stream_answer(b": working on it\n\n", cut_after=10))
    chain.second.always("POST", CHAT, stream_answer(*WHOLE))
    pieces, final = await chain.stream()
    assert isinstance(final, InvokedV1)
    assert text_of(pieces) == "".join(WORDS)
    assert not any(piece.continued for piece in pieces)
    assert final.fallback_reason is Outcome.BAD_RESPONSE
    assert [attempt.outcome for attempt in final.attempts] == [Outcome.BAD_RESPONSE, Outcome.SUCCESS]


async def test_a_cut_stream_is_gone_on_with_and_marked(chain: Chain) -> None:
    await chain.make()
    cut = b"".join(texts(*WORDS[:2]))
    chain.first.always("POST", CHAT, stream_answer(cut, *texts("never"), cut_after=len(cut) + 12))
    chain.second.always(
        "POST", CHAT, stream_answer(*texts("quick brown ", "fox ", *WORDS[2:]), chunk("stop"), USAGE, DONE)
    )
    pieces, final = await chain.stream()
    assert isinstance(final, InvokedV1)
    assert text_of(pieces) == final.text == "".join(WORDS), "what the second model repeats is taken out"
    marks = [piece.continued for piece in pieces if piece.continued]
    assert [(mark.model, mark.reason) for mark in marks] == [("m", "bad_response")]
    assert [target.provider for target in final.continued] == [final.attempts[0].provider]
    asked_again = chain.second.requests[0].json["messages"]
    assert asked_again[-2:] == [
        {"role": "assistant", "content": "".join(WORDS[:2])}, {"role": "user", "content": INSTRUCTION},
    ]  # fmt: skip
    assert final.tokens.output_tokens is None, "what the first target used is unknown, so the sum is"
    ends = await chain.world.metering.ends_of(final.call_id, 2)
    assert {end.billing for end in ends} == {Billing.UNKNOWN, Billing.COST}


async def test_a_silent_stream_is_given_up_and_gone_on_with(chain: Chain) -> None:
    await chain.make(time_limits={"silence_s": 0.3})
    never = asyncio.Event()
    chain.first.always("POST", CHAT, stream_answer(*texts(*WORDS[:2]), never))
    chain.second.always("POST", CHAT, stream_answer(*texts(*WORDS[2:]), chunk("stop"), USAGE, DONE))
    pieces, final = await chain.stream()
    assert isinstance(final, InvokedV1)
    assert text_of(pieces) == "".join(WORDS)
    assert final.attempts[0].outcome is Outcome.TIMEOUT


@pytest.mark.parametrize("policy", ["continue", "hold", "error"])
async def test_what_is_no_plain_text_is_never_gone_on_with(chain: Chain, policy: str) -> None:
    await chain.make(on_stream_cut=policy)
    call = {"index": 0, "id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a"'}}
    broken = b"".join((chunk(tool_calls=[call]), *texts("x")))
    chain.first.always("POST", CHAT, stream_answer(broken, b"data: {", cut_after=len(broken) + 12))
    rest = {"index": 0, "function": {"arguments": ":1}"}}
    chain.second.always(
        "POST", CHAT,
        stream_answer(chunk(tool_calls=[call]), chunk(tool_calls=[rest]), chunk("tool_calls"), USAGE, DONE),
    )  # fmt: skip
    options = ChatOptionsV1(tools=(ToolV1(name="f"),))
    pieces, final = await chain.stream(options=options)
    if policy == "hold":
        assert isinstance(final, InvokedV1)
        assert [(call.name, call.arguments) for call in final.tool_calls] == [("f", '{"a":1}')]
        assert len(pieces) == 1
        assert final.finish_reason == "tool_calls"
        return
    assert isinstance(final, OmniError)
    assert final.code is Code.PROVIDER_ERROR
    assert final.extra["incomplete"] is True
    assert len(chain.second.requests) == 0
    assert pieces, "what had come before was delivered"


async def test_hold_delivers_nothing_before_the_answer_is_complete(chain: Chain) -> None:
    await chain.make(on_stream_cut="hold")
    cut = b"".join(texts(*WORDS[:3]))
    chain.first.always("POST", CHAT, stream_answer(cut, b"data: {", cut_after=len(cut) + 12))
    chain.second.always("POST", CHAT, stream_answer(*WHOLE))
    pieces, final = await chain.stream()
    assert isinstance(final, InvokedV1)
    assert [piece.text for piece in pieces] == ["".join(WORDS)]
    assert final.continued == ()
    assert final.fallback_reason is Outcome.BAD_RESPONSE


async def test_error_ends_a_cut_stream(chain: Chain) -> None:
    await chain.make(on_stream_cut="error")
    cut = b"".join(texts(*WORDS[:3]))
    chain.first.always("POST", CHAT, stream_answer(cut, b"data: {", cut_after=len(cut) + 12))
    pieces, final = await chain.stream()
    assert text_of(pieces) == "".join(WORDS[:3])
    assert isinstance(final, OmniError)
    assert (final.code, final.extra["incomplete"]) == (Code.PROVIDER_ERROR, True)
    assert chain.second.requests == []


async def test_nobody_can_go_on(chain: Chain) -> None:
    await chain.make()
    cut = b"".join(texts(*WORDS[:3]))
    chain.first.always("POST", CHAT, stream_answer(cut, b"data: {", cut_after=len(cut) + 12))
    chain.second.always("POST", CHAT, json_answer({"error": {"code": "unknown_parameter"}}, 400))
    pieces, final = await chain.stream()
    assert text_of(pieces) == "".join(WORDS[:3])
    assert isinstance(final, OmniError)
    assert (final.code, final.extra["reason"]) == (Code.PROVIDER_ERROR, "cut_answer"), (
        "the real error, not the last one"
    )


async def test_an_asker_that_leaves_closes_the_upstream_and_is_accounted_for(chain: Chain) -> None:
    await chain.make()
    never, call_id = asyncio.Event(), str(uuid4())
    chain.first.always("POST", CHAT, stream_answer(*texts(*WORDS[:2]), never))
    request = asked(chain.workspace, chain.alias, call_id, stream=True)
    async with chain.world.api.stream(request, InvokedV1, timeout=30) as answer:
        await anext(answer)
        left = perf_counter()
    await asyncio.wait_for(chain.first.left(1), 5)
    print(f"asker gone: upstream closed after {1000 * (perf_counter() - left):.0f} ms")
    assert perf_counter() - left < 1
    (end,) = await chain.world.metering.ends_of(call_id, 1)
    assert (end.outcome, end.billing, end.sent) == (Outcome.CANCELLED, Billing.UNKNOWN, True)
    assert chain.second.requests == []


async def test_an_asker_that_leaves_before_anything_is_sent_owes_nothing(chain: Chain) -> None:
    await chain.make()
    call_id, metering = str(uuid4()), chain.world.metering
    metering.reserving.clear()
    metering.delay_s = 0.3
    request = asked(chain.workspace, chain.alias, call_id, stream=True)
    async with chain.world.api.stream(request, InvokedV1, timeout=30):
        await metering.reserving.wait()
    (end,) = await metering.ends_of(call_id, 1)
    metering.delay_s = 0.0
    assert (end.outcome, end.billing, end.sent) == (Outcome.CANCELLED, Billing.NOTHING, False)
    assert chain.first.requests == chain.second.requests == []


async def test_a_host_that_answers_whole_is_told_whole(chain: Chain) -> None:
    await chain.make()
    body = {
        "choices": [{"finish_reason": "stop", "message": {"content": "all at once"}}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 3},
    }
    chain.first.always("POST", CHAT, json_answer(body))
    pieces, final = await chain.stream()
    assert isinstance(final, InvokedV1)
    assert [piece.text for piece in pieces] == [final.text] == ["all at once"]


async def test_a_revoked_key_cuts_its_streams_and_another_key_goes_on(chain: Chain) -> None:
    await chain.make()
    dying = next(key for key in chain.world.vault.keys.values() if key.workspace_id == chain.workspace)
    never, pieces, cut_ms = asyncio.Event(), [], 0.0
    chain.first.always("POST", CHAT, stream_answer(*texts(*WORDS[:2]), never))
    chain.second.always("POST", CHAT, stream_answer(*texts(*WORDS[2:]), chunk("stop"), USAGE, DONE))
    request = asked(chain.workspace, chain.alias, stream=True)
    async with chain.world.api.stream(request, InvokedV1, timeout=30) as answer:
        pieces += [await anext(answer), await anext(answer)]
        revoked = perf_counter()
        await chain.world.vault.revoke(dying)
        await asyncio.wait_for(chain.first.left(1), 5)
        cut_ms = 1000 * (perf_counter() - revoked)
        async for piece in answer:
            pieces.append(piece)
        final = answer.final
    print(f"revoked: stream cut after {cut_ms:.0f} ms")
    assert cut_ms < 250
    assert text_of(pieces) == "".join(WORDS)
    assert [attempt.outcome for attempt in final.attempts] == [Outcome.KEY_REVOKED, Outcome.SUCCESS]
