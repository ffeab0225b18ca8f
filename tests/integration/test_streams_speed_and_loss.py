"""Answers in parts over a real NATS server: how fast they are, and a server that is killed under them."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest

from shared.errors import OmniError
from shared.messages.base import Service
from shared.messages.chat import DeltaV1, ToolCallDeltaV1
from shared.messages.router import InvokedV1, InvokeV1
from shared.streams import Sink
from tests.integration.servers import Nats, bus
from tests.integration.streams_world import Script, Streams, hear, streams_world, whole


@pytest.fixture(scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Streams]:
    async with streams_world(tmp_path_factory.mktemp("stream-speed")) as made:
        yield made


@pytest.mark.parametrize("joins", [True, False], ids=["text", "tool calls"])
async def test_how_fast_parts_are(world: Streams, *, joins: bool) -> None:
    count = 20_000
    piece = DeltaV1(text="word ") if joins else DeltaV1(tool_calls=(ToolCallDeltaV1(index=0, arguments="word "),))

    async def script(request: InvokeV1, sink: Sink | None) -> InvokedV1:
        assert sink is not None
        for _ in range(count):
            await sink.send(piece)
        return whole(request)

    began, used = time.perf_counter(), time.process_time()
    async with world.ask(script) as answer:
        heard = sum([1 async for _ in answer])
    took, used = time.perf_counter() - began, time.process_time() - used
    assert await world.how_it_ended() is None
    print(f"\n{count:,} pieces in {heard:,} parts, both sides in one process:", end=" ")
    print(f"{count / took:,.0f} pieces a second, {used / count * 1e6:.0f} µs of CPU a piece")
    assert heard < count / 4 if joins else heard == count


async def test_a_bus_that_is_restarted_never_mixes_up_an_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.inbox.SILENCE_S", 1.0)
    monkeypatch.setattr("shared.answering.HEARTBEAT_S", 0.2)
    monkeypatch.setattr("shared.streams.GONE_AFTER_S", 1.0)
    server = Nats(tmp_path)
    server.start()
    world = Streams(server.url, bus(Service.API, server.url), bus(Service.ROUTER, server.url))
    world.router.answer_call(InvokeV1, world.answer)
    await world.router.start()
    await world.api.start()
    count, whole_ones = 2_000, 0
    for _ in range(5):
        heard: list[str] = []
        async with world.ask(_paced(count)) as answer:
            reading = asyncio.create_task(hear(answer, heard))
            while len(heard) < 50:  # noqa: ASYNC110 - it grows while the answer comes
                await asyncio.sleep(0)
            server.kill()
            server.start()
            with suppress(OmniError):
                await reading
                assert len("".join(heard).split()) == count
                whole_ones += 1
        assert "".join(f"{number} " for number in range(count)).startswith("".join(heard))
        await world.how_it_ended()
        await _connected(world)
    print(f"\n5 streams over a bus that is killed: {whole_ones} whole, {5 - whole_ones} given up, 0 with a gap")
    await world.api.stop(0)
    await world.router.stop(0)
    server.kill()


def _paced(count: int) -> Script:
    async def script(request: InvokeV1, sink: Sink | None) -> InvokedV1:
        assert sink is not None
        async with sink.listening():
            for number in range(count):
                await sink.send(DeltaV1(text=f"{number} "))
                await asyncio.sleep(0)
        return whole(request)

    return script


async def _connected(world: Streams) -> None:
    async with asyncio.timeout(10):
        while not (world.api.client.is_connected and world.router.client.is_connected):  # noqa: ASYNC110 - nats-py tells nobody
            await asyncio.sleep(0.02)
