"""Consuming a JetStream stream of facts: at least once, in batches, acknowledged only after the handler has committed.

Why not FastStream's pull subscriber: it waits for a whole batch before it fetches again, its failed messages come
back without a delay, and it spins once the connection is gone (``docs/decisions/0002-bus.md``).
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta

from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.js.api import AckPolicy, ConsumerConfig, RetentionPolicy, StorageType, StreamConfig
from nats.js.client import JetStreamContext
from nats.js.errors import BadRequestError

from shared import logs
from shared.bus import Bus
from shared.clock import Clock, SystemClock
from shared.messages.base import Record
from shared.telemetry import TRACEPARENT

_OTHER_CONFIGURATION = 10058  # JetStream: the stream's name is in use with a different configuration
BATCH = 256
# A batch costs one transaction however small it is: waiting a little makes fewer and larger ones.
LINGER_S = 0.025
READ_AGAIN_S = 2.0
CURRENT_LAG_S = 10.0
# What was handed to a connection that died comes again after this; no batch may take longer.
ACK_WAIT_S = 12.0
CURRENT_AFTER_S = 2.5 * ACK_WAIT_S
MAX_AGE_S = 14 * 24 * 3600
DUPLICATE_WINDOW_S = 120.0


@dataclass(frozen=True)
class Delivery:
    """One message of a stream: its raw body, the trace it belongs to, and how often it has been delivered (from 1)."""

    body: bytes
    traceparent: str | None
    deliveries: int


Handler = Callable[[Sequence[Delivery]], Awaitable[None]]


class RecordConsumer:
    """Feeds every record of ``record``'s stream to ``handler`` until ``stop``.

    ``handler`` commits and returns, or raises: then the whole batch comes again after a growing delay. Judging a
    malformed or poisonous message, and burying it, is the handler's work. A stream or consumer that has been
    deleted is created again without a restart.
    """

    def __init__(self, bus: Bus, record: type[Record], durable: str, handler: Handler) -> None:
        self._bus, self._record, self._durable, self._handler = bus, record, durable, handler
        self._clock: Clock = SystemClock()
        self._log = logs.get()
        self._task: asyncio.Task[None] | None = None
        self._idle = asyncio.Event()
        self._idle.set()
        self._stopping = False
        self._behind_s: float | None = None

    @property
    def is_current(self) -> bool:
        """Whether facts can be taken for complete: connected for a while, and nothing old is waiting to be read.

        Publishers that could not reach the server retry within seconds of its return, and what was handed to a dead
        connection comes again after ``ACK_WAIT_S``: what is missing after ``CURRENT_AFTER_S`` was never published.
        """
        caught_up = self._behind_s is not None and self._behind_s < CURRENT_LAG_S
        return caught_up and self._bus.connected_for_s >= CURRENT_AFTER_S

    async def start(self) -> None:
        """Create stream and consumer if need be and begin."""
        subscription = await self._subscribe()
        self._task = asyncio.create_task(self._run(subscription))
        self._task.add_done_callback(self._ended)

    async def stop(self, grace_s: float) -> None:
        """Finish the batch at hand within ``grace_s`` seconds, then end."""
        self._stopping = True
        if self._task is None:
            return
        try:
            await asyncio.wait_for(self._idle.wait(), grace_s)
        except TimeoutError:
            self._log.warning("a batch was cut off; it will be delivered again", stream=self._record.stream)
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        if not self._stopping and not task.cancelled():
            self._log.error("nobody reads the stream any more", stream=self._record.stream, exc=task.exception())
            self._bus.give_up()

    async def _subscribe(self) -> JetStreamContext.PullSubscription:
        stream = self._bus.client.jetstream(timeout=5)
        config = StreamConfig(
            name=self._record.stream,
            subjects=[self._record.subject],
            retention=RetentionPolicy.WORK_QUEUE,
            storage=StorageType.FILE,
            max_age=MAX_AGE_S,
            duplicate_window=DUPLICATE_WINDOW_S,
        )
        await _ensure(stream, config)
        consumer = ConsumerConfig(
            durable_name=self._durable,
            name=self._durable,
            filter_subject=self._record.subject,
            ack_policy=AckPolicy.EXPLICIT,
            ack_wait=ACK_WAIT_S,
            max_deliver=-1,
            max_ack_pending=4 * BATCH,
        )
        await stream.add_consumer(self._record.stream, consumer)
        return await stream.pull_subscribe_bind(self._durable, self._record.stream)

    async def _run(self, subscription: JetStreamContext.PullSubscription | None) -> None:
        connection, trouble = self._bus.connections, 0
        while not self._stopping:
            try:
                if subscription is None or connection != self._bus.connections:
                    # One that has lived through an outage may hear nothing and say nothing.
                    connection, old, subscription = self._bus.connections, subscription, None
                    subscription = await self._anew(old)
                messages = await self._fetch(subscription)
            except Exception as error:  # noqa: BLE001 - whatever it is, this loop must go on
                subscription, trouble, self._behind_s = None, trouble + 1, None
                self._log.warning("stream cannot be read; trying again", stream=self._record.stream, exc=error)
                await asyncio.sleep(min(READ_AGAIN_S, _delay_s(trouble)))
                continue
            trouble = 0
            if messages:
                await self._take(messages)
            if 0 < len(messages) < BATCH // 2:
                await asyncio.sleep(LINGER_S)

    async def _fetch(self, subscription: JetStreamContext.PullSubscription) -> list[Msg]:
        try:
            messages = await subscription.fetch(BATCH, timeout=5)
        except TimeoutError:
            messages = []
        # What a request that is over brings is an empty list as well.
        waited = self._clock.now() - messages[0].metadata.timestamp if messages else timedelta()
        self._behind_s = waited.total_seconds()
        return messages

    async def _anew(self, old: JetStreamContext.PullSubscription | None) -> JetStreamContext.PullSubscription:
        fresh = await self._subscribe()
        self._log.info("reading anew", stream=self._record.stream)
        if old is not None:
            # The fresh one is what counts: an old one that cannot be given up properly is deaf all the same.
            with suppress(NatsError, OSError, ValueError):
                await old.unsubscribe()
        return fresh

    async def _take(self, messages: list[Msg]) -> None:
        self._idle.clear()
        try:
            await self._handler([_delivery(message) for message in messages])
        except Exception as error:  # noqa: BLE001 - whatever it is, the batch must come again and the loop go on
            self._log.error("batch failed; it comes again", stream=self._record.stream, count=len(messages), exc=error)
            for message in messages:
                await self._settle(message.nak(delay=_delay_s(message.metadata.num_delivered)))
        else:
            for message in messages:
                await self._settle(message.ack())
        finally:
            self._idle.set()

    async def _settle(self, verdict: Awaitable[None]) -> None:
        # A lost acknowledgement brings the message again, and the handler is idempotent.
        try:
            await verdict
        except (NatsError, OSError) as error:
            self._log.warning("acknowledgement failed", stream=self._record.stream, exc=error)


async def _ensure(stream: JetStreamContext, config: StreamConfig) -> None:
    """Create the stream, or bring an existing one to ``config``; its replicas are its operator's choice."""
    try:
        await stream.add_stream(config)
    except BadRequestError as error:
        if error.err_code != _OTHER_CONFIGURATION:
            raise
        existing = (await stream.stream_info(str(config.name))).config
        config.num_replicas, config.placement = existing.num_replicas, existing.placement
        await stream.update_stream(config)


def _delay_s(tries: int) -> float:
    return float(min(60, 2 ** min(tries, 6) / 2)) + random.random() / 2  # noqa: S311 - jitter


def _delivery(message: Msg) -> Delivery:
    headers = message.headers or {}
    return Delivery(message.data, headers.get(TRACEPARENT), message.metadata.num_delivered)
