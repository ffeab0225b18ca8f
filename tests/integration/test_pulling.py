"""Reading a stream in large batches, several at a time: nothing lost, nothing twice, and a dead stream is noticed."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from uuid import uuid4

import pytest
from nats.errors import Error as NatsError

from deploy import streams
from shared.bus import Bus
from shared.messages.base import Service
from shared.messages.router import CallFinishedV1
from shared.permissions import next_of
from shared.pulling import Pull
from shared.records import Delivery, RecordConsumer
from tests.integration.metering_world import finished
from tests.integration.servers import bus, make_streams, nats_server


@pytest.fixture
async def url(tmp_path: Path) -> AsyncIterator[str]:
    with nats_server(tmp_path) as url:
        await make_streams(url)
        yield url


@pytest.fixture
async def sides(url: str) -> AsyncIterator[tuple[Bus, Bus]]:
    both = bus(Service.ROUTER, url), bus(Service.METERING, url)
    await asyncio.gather(*(one.start() for one in both))
    yield both
    await asyncio.gather(*(one.stop() for one in both))


async def _record(router: Bus, number: int) -> list[str]:
    attempts = [str(uuid4()) for _ in range(number)]
    await asyncio.gather(*(router.record(finished(attempt, 1, str(uuid4())), timeout=10) for attempt in attempts))
    return attempts


async def test_a_fetch_takes_what_is_there_and_waits_when_nothing_is(url: str, sides: tuple[Bus, Bus]) -> None:
    router, metering = sides
    pull = Pull(metering.client, next_of(CallFinishedV1))
    await pull.open()
    attempts = await _record(router, 25)
    sizes, got = [], []
    for _ in range(3):
        messages = await pull.fetch(10, 5)
        sizes.append(len(messages))
        got += [CallFinishedV1.model_validate_json(message.data).attempt_id for message in messages]
    assert sizes == [10, 10, 5]
    assert sorted(got) == sorted(attempts)
    assert await pull.fetch(10, 0.2) == []
    waiting = asyncio.create_task(pull.fetch(10, 5))
    (late,) = await _record(router, 1)
    (message,) = await waiting
    assert CallFinishedV1.model_validate_json(message.data).attempt_id == late
    operator = await streams.connected(url, None)
    await operator.jetstream().delete_stream("CALLS")
    await operator.close()
    with pytest.raises(NatsError):
        await pull.fetch(10, 0.2)
    await pull.close()


async def test_handlers_work_side_by_side_and_each_record_goes_to_one(sides: tuple[Bus, Bus]) -> None:
    router, metering = sides
    attempts = set(await _record(router, 20))
    taken: list[str] = []
    inside: list[int] = []
    met, done = asyncio.Event(), asyncio.Event()

    async def handle(batch: Sequence[Delivery]) -> None:
        inside.append(len(batch))
        if len(inside) == 2:
            met.set()
        await met.wait()  # the first does not end before the second has begun
        taken.extend(CallFinishedV1.model_validate_json(one.body).attempt_id for one in batch)
        if len(taken) >= len(attempts):
            done.set()

    async def other(batch: Sequence[Delivery]) -> None:
        await handle(batch)

    consumer = RecordConsumer(metering, CallFinishedV1, handle, other, batch=10)
    await consumer.start()
    await asyncio.wait_for(done.wait(), 15)
    await consumer.stop(5)
    assert max(inside) <= 10
    assert len(taken) == len(attempts)
    assert set(taken) == attempts
