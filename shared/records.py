"""Consuming a JetStream stream of facts: at least once, in batches, acknowledged only after the handler has committed.

The stream and this service's place in it are made by the deployment (``deploy/streams.py``): whoever may say how a
stream is delivered may have it delivered to others. A service waits for them, and says so when asked for its health.

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

from shared import failpoints, logs
from shared.bus import REPEATED, Bus
from shared.clock import Clock, SystemClock
from shared.errors import unavailable
from shared.messages.base import Record
from shared.permissions import next_of
from shared.pulling import Pull
from shared.telemetry import TRACEPARENT

# No messages; and as many unacknowledged as may be.
_NOTHING_NEW = ("404", "409")
# Of the address of an acknowledgement, in its shorter form.
_TOKENS = 9
BATCH, LEAST = 256, 32
# A batch costs one transaction however small it is: waiting a little makes fewer and larger ones.
LINGER_S = 0.025
READ_AGAIN_S = 2.0
CURRENT_LAG_S = 10.0
# What was handed to a connection that died comes again after this; no batch may take longer.
ACK_WAIT_S = 12.0
CURRENT_AFTER_S = 2.5 * ACK_WAIT_S
PROBE_S = 2.0
FETCH_S = 5.0
# A restart of the server or of a connection is over by then.
UNREADY_AFTER_S = 3.0


@dataclass(frozen=True)
class Delivery:
    """One message of a stream: its raw body, the trace it belongs to, and how often it has been delivered (from 1).

    ``subject`` says which contract the body is of, where a stream holds several.
    """

    body: bytes
    traceparent: str | None
    deliveries: int
    subject: str = ""


Handler = Callable[[Sequence[Delivery]], Awaitable[None]]


class RecordConsumer:
    """Feeds every record of ``record``'s stream, of whatever contract, to ``handlers`` until ``stop``.

    A handler gets up to ``batch`` records at once. It commits and returns, or raises: then the whole batch comes again
    after a growing delay. Judging a malformed or poisonous message, and burying it, is the handler's work. Several work
    side by side, as those of replicas do. After a failure batches are smaller for a while. A stream that is not
    there, or has been deleted, is waited for.
    """

    def __init__(self, bus: Bus, record: type[Record], *handlers: Handler, batch: int = BATCH) -> None:
        self._bus, self._record, self._free, self._batch = bus, record, list(handlers), batch
        self._size = batch
        self._again_until = float("-inf")
        self._taking: set[asyncio.Task[None]] = set()
        self._durable = record.durable()
        self._clock: Clock = SystemClock()
        self._log = logs.get()
        self._task: asyncio.Task[None] | None = None
        self._idle = asyncio.Event()
        self._idle.set()
        self._stopping = False
        self._behind_s: float | None = None
        self._reads_since: float | None = None
        self._troubled_since: float | None = float("-inf")

    @property
    def is_current(self) -> bool:
        """Whether facts can be taken for complete: connected for a while, and nothing old is waiting to be read.

        Publishers that could not reach the server retry within seconds of its return, and what was handed to a dead
        connection comes again after ``ACK_WAIT_S``: what is missing after ``CURRENT_AFTER_S`` was never published.
        What a handler could not take is not read either, until it has come again.
        """
        if self._clock.monotonic() < self._again_until:
            return False
        if self._behind_s is None or self._behind_s >= CURRENT_LAG_S or self._reads_since is None:
            return False
        steady_s = min(self._bus.connected_for_s, self._clock.monotonic() - self._reads_since)
        return steady_s >= CURRENT_AFTER_S

    def check(self) -> None:
        """Raises OmniError ``unavailable`` when the stream has not been there, or not been readable, for seconds."""
        since = self._troubled_since
        if since is not None and self._clock.monotonic() - since > UNREADY_AFTER_S:
            stream = self._record.stream
            raise unavailable(
                f"The stream {stream} cannot be read; `python -m deploy.streams` makes it if it is missing."
            )

    async def start(self) -> None:
        """Begin, in the background, as soon as stream and consumer are there."""
        self._task = asyncio.create_task(self._run())
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
        ending = [self._task, *self._taking]
        for task in ending:
            task.cancel()
        await asyncio.gather(*ending, return_exceptions=True)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        if not self._stopping and not task.cancelled():
            self._log.error("nobody reads the stream any more", stream=self._record.stream, exc=task.exception())
            self._bus.give_up()

    async def _run(self) -> None:
        pull: Pull | None = None
        connection, trouble = self._bus.connections, 0
        while not self._stopping:
            try:
                if pull is None or trouble or connection != self._bus.connections:
                    # One that has lived through an outage may hear nothing and say nothing.
                    connection, messages = self._bus.connections, await self._probe()
                    pull = await self._anew(pull)
                else:
                    messages = await self._fetch(pull)
                self._read(messages)
            except Exception as error:  # noqa: BLE001 - whatever it is, this loop must go on
                trouble += 1
                self._failed()
                self._log.warning("stream cannot be read; trying again", stream=self._record.stream, exc=error)
                await asyncio.sleep(min(READ_AGAIN_S, _delay_s(trouble)))
                continue
            trouble = 0
            if messages:
                await self._begin(messages)
            if 0 < len(messages) < BATCH // 2:
                await asyncio.sleep(LINGER_S)

    async def _begin(self, messages: list[Msg]) -> None:
        """Have ``messages`` taken, and return as soon as a handler is free for the next."""
        self._idle.clear()
        handler = self._free.pop()
        task = asyncio.create_task(self._take(messages, handler))
        self._taking.add(task)
        task.add_done_callback(lambda task: self._taken(task, handler))
        while not self._free:
            await asyncio.wait(self._taking, return_when=asyncio.FIRST_COMPLETED)

    def _taken(self, task: "asyncio.Task[None]", handler: Handler) -> None:
        self._taking.discard(task)
        self._free.append(handler)
        if not self._taking:
            self._idle.set()

    def _failed(self) -> None:
        self._behind_s = self._reads_since = None
        if self._troubled_since is None:
            self._troubled_since = self._clock.monotonic()

    async def _fetch(self, pull: Pull) -> list[Msg]:
        try:
            messages = await pull.fetch(self._size, FETCH_S)
        except TimeoutError:
            messages = []
        return messages or await self._probe()

    def _read(self, messages: list[Msg]) -> None:
        waited = self._clock.now() - messages[0].metadata.timestamp if messages else timedelta()
        self._behind_s, self._troubled_since = waited.total_seconds(), None
        if self._reads_since is None:
            self._reads_since = self._clock.monotonic()

    async def _probe(self) -> list[Msg]:
        """What is waiting, if anything: to hear nothing from a stream that is gone is no news.

        Raises NatsError when it is gone.
        """
        question = b'{"batch": 1, "no_wait": true}'
        # On a subscription of its own: a record arrives under its own subject and not under that of the inbox.
        message = await self._bus.client.request(next_of(self._record), question, timeout=PROBE_S, old_style=True)
        status = (message.headers or {}).get("Status")
        if status is None:
            return [message]
        if status not in _NOTHING_NEW:
            raise NatsError(f"the stream cannot be read: status {status}")
        return []

    async def _anew(self, old: Pull | None) -> Pull:
        fresh = Pull(self._bus.client, next_of(self._record))
        await fresh.open()
        self._log.info("reading anew", stream=self._record.stream)
        if old is not None:
            # The fresh one is what counts: an old one that cannot be given up properly is deaf all the same.
            with suppress(NatsError, OSError, ValueError):
                await old.close()
        return fresh

    async def _take(self, messages: list[Msg], handler: Handler) -> None:
        try:
            messages = await self._own(messages)
            if messages:
                await handler([_delivery(message) for message in messages])
        except Exception as error:  # noqa: BLE001 - whatever it is, the batch must come again and the loop go on
            self._log.error("batch failed; it comes again", stream=self._record.stream, count=len(messages), exc=error)
            await self._have_again(messages)
        else:
            self._size = min(self._batch, 2 * self._size)
            for message in messages:
                await self._settle(message.ack())
            failpoints.passing(f"{self._durable}.acknowledged")

    async def _have_again(self, messages: list[Msg]) -> None:
        # One too slow for the database is too slow again unless it is smaller.
        self._size = max(LEAST, self._size // 2)
        for message in messages:
            delay_s = _delay_s(message.metadata.num_delivered)
            self._again_until = max(self._again_until, self._clock.monotonic() + delay_s + ACK_WAIT_S)
            await self._settle(message.nak(delay=delay_s))

    async def _own(self, messages: list[Msg]) -> list[Msg]:
        """Those that their owner has said; what somebody had JetStream repeat into the stream is dropped."""
        own = [message for message in messages if REPEATED not in (message.headers or {})]
        if len(own) < len(messages):
            self._log.error(
                "not said by its owner; dropped", stream=self._record.stream, count=len(messages) - len(own)
            )
            for message in messages:
                if message not in own:
                    await self._settle(message.term())
        return own

    async def _settle(self, verdict: Awaitable[None]) -> None:
        # A lost acknowledgement brings the message again, and the handler is idempotent.
        try:
            await verdict
        except (NatsError, OSError) as error:
            self._log.warning("acknowledgement failed", stream=self._record.stream, exc=error)


def _delay_s(tries: int) -> float:
    return float(min(60, 2 ** min(tries, 6) / 2)) + random.random() / 2  # noqa: S311 - jitter


def _delivery(message: Msg) -> Delivery:
    headers = message.headers or {}
    return Delivery(message.data, headers.get(TRACEPARENT), _times_delivered(message.reply), message.subject)


def _times_delivered(reply: str) -> int:
    # ``message.metadata`` reads it too, with six other things at five times the price. The longer form has a domain
    # and an account before, and a token behind.
    tokens = reply.split(".")
    return int(tokens[4] if len(tokens) == _TOKENS else tokens[6])
