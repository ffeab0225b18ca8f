"""Telling metering how attempts ended, although the stream is lost with what it had taken, or takes nothing."""

import asyncio
import shutil
from pathlib import Path

import pytest
from nats.js.errors import NotFoundError

from deploy import streams
from services.router.settlements import UNREADY_AFTER_S, Settlements
from shared.clock import SystemClock
from shared.errors import Code, OmniError
from shared.messages.base import Service
from shared.messages.router import CallFinishedV1
from tests.integration.servers import Nats, bus, make_streams

EVENT = CallFinishedV1.model_validate(CallFinishedV1.example)


class FastClock(SystemClock):
    """Ahead by what a test has let pass."""

    ahead = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead


async def stored(url: str) -> int | None:
    """How many facts the stream holds; None without a stream."""
    client = await streams.connected(url, None)
    try:
        return (await client.jetstream().stream_info(CallFinishedV1.stream)).state.messages
    except NotFoundError:
        return None
    finally:
        await client.close()


async def test_what_a_lost_stream_had_taken_is_told_again(tmp_path: Path) -> None:
    server = Nats(tmp_path)
    server.start()
    await make_streams(server.url)
    router = bus(Service.ROUTER, server.url)
    settlements = Settlements(router)
    await router.start()
    await settlements.publish(EVENT)
    assert await stored(server.url) == 1
    server.kill()
    shutil.rmtree(tmp_path / "js")
    server.start()
    assert await stored(server.url) is None
    await make_streams(server.url)
    # A stream says nothing when it is given something; what the router does in the background is over when it has.
    async with asyncio.timeout(20):
        while await stored(server.url) != 1:
            await settlements.flush(20)
    await settlements.flush(5)
    await router.stop(1)
    server.kill()


async def test_a_restart_that_loses_nothing_stores_nothing_twice(tmp_path: Path) -> None:
    server = Nats(tmp_path)
    server.start()
    await make_streams(server.url)
    router, again = bus(Service.ROUTER, server.url), asyncio.Event()
    settlements = Settlements(router)
    router.on_reconnected(again.set)
    await router.start()
    await settlements.publish(EVENT)
    server.kill()
    server.start()
    await asyncio.wait_for(again.wait(), 20)
    await settlements.flush(10)
    assert await stored(server.url) == 1
    await router.stop(1)
    server.kill()


async def test_a_stream_that_takes_nothing_is_told_to_whoever_asks_for_health(tmp_path: Path) -> None:
    server, clock = Nats(tmp_path), FastClock()
    server.start()
    router = bus(Service.ROUTER, server.url)
    settlements = Settlements(router, clock)
    await router.start()
    settlements.check()
    await settlements.publish(EVENT)
    settlements.check()
    clock.ahead = UNREADY_AFTER_S + 1
    with pytest.raises(OmniError) as caught:
        settlements.check()
    assert caught.value.code is Code.UNAVAILABLE
    await make_streams(server.url)
    await settlements.flush(10)
    settlements.check()
    assert await stored(server.url) == 1
    await router.stop(1)
    server.kill()
