"""Answers in parts over a real NATS server: order, backpressure, gaps, and an asker that leaves."""

import asyncio
import time
import tracemalloc
from collections.abc import AsyncIterator

import pytest
from nats.aio.msg import Msg

from shared.answering import HEARTBEAT_S
from shared.arriving import RENEW_EVERY
from shared.bus import Bus
from shared.deltas import JOINED_AT_MOST
from shared.errors import Code, OmniError, invalid
from shared.messages.chat import DeltaV1
from shared.messages.router import InvokedV1, InvokeV1, StreamCreditV1
from shared.streams import PART, PARTS, STREAM, WINDOW, AskerGoneError, Sink
from tests.integration.servers import bus
from tests.integration.streams_world import Script, Streams, hear, pieces, question, streams_world, text_of, whole


@pytest.fixture(scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Streams]:
    async with streams_world(tmp_path_factory.mktemp("streams")) as made:
        yield made


@pytest.fixture(scope="module")
async def lonely(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Streams]:
    """An asker, and nobody yet who answers."""
    async with streams_world(tmp_path_factory.mktemp("lonely"), answered=False) as made:
        yield made


async def test_pieces_arrive_in_order_and_then_the_whole(world: Streams) -> None:
    async with world.ask(pieces(500)) as answer:
        with pytest.raises(OmniError):
            _ = answer.final
        assert await text_of(answer) == "".join(f"{number} " for number in range(500))
        assert answer.final.provider == "p"
    assert await world.how_it_ended() is None


async def test_an_answer_that_is_wanted_whole_has_no_sink(world: Streams) -> None:
    sinks: list[Sink | None] = []

    async def script(request: InvokeV1, sink: Sink | None) -> InvokedV1:
        sinks.append(sink)
        return whole(request, "all")

    world.script = script
    assert (await world.api.request(question(stream=False), InvokedV1)).text == "all"
    assert sinks == [None]
    assert await world.how_it_ended() is None


async def test_whoever_leaves_a_whole_answer_is_missed_at_the_next_heartbeat(world: Streams) -> None:
    begun = asyncio.Event()

    async def script(_: InvokeV1, __: Sink | None) -> InvokedV1:
        async with world.askers[-1].listening():
            begun.set()
            await asyncio.Event().wait()
        raise AssertionError

    world.script = script
    asking = asyncio.create_task(world.api.request(question(stream=False), InvokedV1, timeout=60))
    await begun.wait()
    asking.cancel()
    began = time.monotonic()
    assert isinstance(await world.how_it_ended(), AskerGoneError)
    assert time.monotonic() - began < HEARTBEAT_S + 1


async def test_a_problem_comes_after_the_pieces_before_it(world: Streams) -> None:
    async def script(request: InvokeV1, sink: Sink | None) -> InvokedV1:
        await pieces(3)(request, sink)
        raise invalid("no more")

    heard: list[str] = []
    async with world.ask(script) as answer:
        with pytest.raises(OmniError, match="no more"):
            await hear(answer, heard)
    assert heard == ["0 ", "1 ", "2 "]
    await world.how_it_ended()


async def test_a_piece_that_is_too_large_is_split(world: Streams) -> None:
    text, vectors = "ä\n" * 600_000, ("QUJD" * 2000,) * 200

    async def script(request: InvokeV1, sink: Sink | None) -> InvokedV1:
        assert sink is not None
        await sink.send(DeltaV1(text=text))
        await sink.send(DeltaV1(vectors=vectors))
        return whole(request)

    async with world.ask(script) as answer:
        deltas = [delta async for delta in answer]
    assert "".join(delta.text for delta in deltas) == text
    assert tuple(vector for delta in deltas for vector in delta.vectors) == vectors
    assert await world.how_it_ended() is None
    print(f"\n{len(text.encode()):,} bytes of text and {len(vectors)} vectors came in {len(deltas)} parts")


def _forever(sent: list[int], full: asyncio.Event) -> Script:
    async def script(_: InvokeV1, sink: Sink | None) -> InvokedV1:
        assert sink is not None
        async with sink.listening():
            while True:
                waiting = asyncio.ensure_future(sink.send(DeltaV1(text="x" * 1000)))
                done, _pending = await asyncio.wait({waiting}, timeout=0.2)
                if not done:
                    full.set()
                await waiting
                sent.append(sink.sent)

    return script


async def test_a_stalled_reader_stops_the_answer(world: Streams) -> None:
    sent: list[int] = []
    full = asyncio.Event()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    async with world.ask(_forever(sent, full)) as answer:
        await anext(answer)
        await full.wait()
        held = tracemalloc.get_traced_memory()[0] - before
        tracemalloc.stop()
        assert sent[-1] == WINDOW
        gathered = len(sent) - WINDOW
        assert (gathered - 1) * 1000 < JOINED_AT_MOST < (gathered + 2) * 1000
        full.clear()
        for _ in range(RENEW_EVERY + 1):
            await anext(answer)
        await full.wait()
        assert sent[-1] == WINDOW + RENEW_EVERY
    assert isinstance(await world.how_it_ended(), AskerGoneError)
    print(f"\nstalled reader: {WINDOW} parts under way, {gathered} pieces gathered, {held:,} bytes held on both sides")
    assert held < 1024 * 1024


async def test_leaving_ends_the_answer_at_once(world: Streams) -> None:
    async def script(_: InvokeV1, sink: Sink | None) -> InvokedV1:
        assert sink is not None
        await sink.send(DeltaV1(text="x"))
        async with sink.listening():
            await asyncio.Event().wait()
        raise AssertionError

    slowest = 0.0
    for _ in range(100):
        async with world.ask(script) as answer:
            await anext(answer)
            left = time.perf_counter()
        assert isinstance(await world.how_it_ended(), AskerGoneError)
        slowest = max(slowest, time.perf_counter() - left)
    print(f"\nleft 100 times: the answer ended within {slowest * 1000:.1f} ms")
    assert slowest < 1


async def test_leaving_before_anything_has_arrived(world: Streams) -> None:
    begin = asyncio.Event()

    async def script(_: InvokeV1, sink: Sink | None) -> InvokedV1:
        assert sink is not None
        begin.set()
        async with sink.listening():
            await asyncio.Event().wait()
        raise AssertionError

    async with world.ask(script):
        pass
    assert isinstance(await world.how_it_ended(), AskerGoneError)
    assert begin.is_set()


async def test_a_cancelled_asker_leaves_too(world: Streams) -> None:
    async def read() -> None:
        async with world.ask(_forever([], asyncio.Event())) as answer:
            async for _ in answer:
                reading.set()

    reading = asyncio.Event()
    task = asyncio.create_task(read())
    await reading.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert isinstance(await world.how_it_ended(), AskerGoneError)


async def test_a_cancellation_from_elsewhere_stays_one(world: Streams) -> None:
    async def script(_: InvokeV1, sink: Sink | None) -> InvokedV1:
        assert sink is not None
        async with sink.listening():
            raise asyncio.CancelledError

    with pytest.raises(OmniError) as raised:
        async with world.ask(script) as answer:
            await text_of(answer)
    assert raised.value.code is Code.UNAVAILABLE
    assert isinstance(await world.how_it_ended(), asyncio.CancelledError)


async def test_a_dead_asker_is_noticed_by_its_silence(world: Streams, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.streams.GONE_AFTER_S", 0.5)
    dying: Bus = bus(world.api._service, world.url)
    await dying.start()
    world.script = _forever([], asyncio.Event())
    async with dying.stream(question(), InvokedV1, timeout=20) as answer:
        await anext(answer)
        await dying.stop(0)
        assert isinstance(await world.how_it_ended(), AskerGoneError)


async def test_signs_of_life_keep_a_slow_reader_alive(world: Streams, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.streams.GONE_AFTER_S", 0.5)
    monkeypatch.setattr("shared.arriving.ALIVE_EVERY_S", 0.1)
    go_on = asyncio.Event()

    async def script(request: InvokeV1, sink: Sink | None) -> InvokedV1:
        assert sink is not None
        async with sink.listening():
            asyncio.get_running_loop().call_later(1.5, go_on.set)
            await go_on.wait()
        return whole(request)

    async with world.ask(script) as answer:
        assert await text_of(answer) == ""
    assert await world.how_it_ended() is None


@pytest.mark.parametrize("numbers", [(1, 3), (2,), (1, 1), (1, 2, 2), (3, 2, 1)])
async def test_parts_out_of_order_are_given_up(lonely: Streams, numbers: tuple[int, ...]) -> None:
    assert await _broken(lonely, numbers, None) == numbers[: _good(numbers)]


@pytest.mark.parametrize("told", ["3", "1", "0"])
async def test_a_lost_last_part_is_noticed(lonely: Streams, told: str) -> None:
    assert await _broken(lonely, (1, 2), told) == (1, 2)


def _good(numbers: tuple[int, ...]) -> int:
    return next((place for place, number in enumerate(numbers) if number != place + 1), len(numbers))


async def _broken(world: Streams, numbers: tuple[int, ...], told: str | None) -> tuple[int, ...]:
    """What is heard of a stream with these part numbers; it must fail, and its owner must learn of it."""
    owner = world.router.client
    gone: asyncio.Future[StreamCreditV1] = asyncio.get_running_loop().create_future()

    async def credit(message: Msg) -> None:
        if not gone.done():
            gone.set_result(StreamCreditV1.model_validate_json(message.data))

    async def answer(message: Msg) -> None:
        await owner.publish(message.reply, b"", headers={PART: "0", STREAM: "me/one"})
        for number in numbers:
            await owner.publish(message.reply, f'{{"text":"{number}"}}'.encode(), headers={PART: str(number)})
        if told is not None:
            final = whole(question()).model_dump_json().encode()
            await owner.publish(message.reply, final, headers={PARTS: told})

    mine = [
        await owner.subscribe("ai.router.streams.me.v1", cb=credit),
        await owner.subscribe("ai.invoke.1", cb=answer),
    ]
    for _ in range(2):
        await owner.flush()  # one could overtake the subscriptions
    heard: list[str] = []
    async with asyncio.timeout(5), world.api.stream(question(), InvokedV1, timeout=20) as stream:
        with pytest.raises(OmniError, match="A part of the answer was lost") as raised:
            await hear(stream, heard)
    assert raised.value.code is Code.UNAVAILABLE
    if told is None:
        assert (await asyncio.wait_for(gone, 5)).gone
    for subscription in mine:
        await subscription.unsubscribe()
    return tuple(map(int, heard))
