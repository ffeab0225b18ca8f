"""Telling metering how attempts ended, while the bus or the router itself goes away."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

from services.router.settlements import Settlements
from shared.messages.base import Service
from shared.messages.router import CallFinishedV1
from shared.records import Delivery, RecordConsumer
from tests.integration.servers import Nats, bus, make_streams


async def test_an_end_whose_call_is_cancelled_meanwhile_is_told_all_the_same(tmp_path: Path) -> None:
    server, news = Nats(tmp_path), asyncio.Event()
    told: list[CallFinishedV1] = []
    server.start()
    router, metering = bus(Service.ROUTER, server.url), bus(Service.METERING, server.url)

    async def settle(batch: Sequence[Delivery]) -> None:
        told.extend(CallFinishedV1.model_validate_json(one.body) for one in batch)
        news.set()

    consumer = RecordConsumer(metering, CallFinishedV1, settle)
    await make_streams(server.url)
    await router.start()
    await metering.start()
    await consumer.start()
    settlements, event = Settlements(router), CallFinishedV1.model_validate(CallFinishedV1.example)

    server.kill()
    call = asyncio.create_task(settlements.publish(event))
    await asyncio.wait([call], timeout=0.2)
    assert not call.done(), "it is being told while the bus is away"
    call.cancel()
    await asyncio.wait([call])
    assert call.cancelled()
    server.start()
    await settlements.flush(20)
    await asyncio.wait_for(news.wait(), 10)
    assert [one.attempt_id for one in told] == [event.attempt_id]

    await consumer.stop(1)
    await metering.stop(1)
    await router.stop(1)
    server.kill()
