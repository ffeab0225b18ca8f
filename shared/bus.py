"""NATS for a service: answering requests, asking others, announcing events, recording facts.

Control requests and events run through FastStream; requests on the path of every call (``answer_call``) run
on the same connection without it, because a hop costs 41 µs of CPU there instead of 320 µs (``docs/decisions``).

A failed request is answered with a ``Problem`` and the header ``Omnipost-Problem``; the asker raises it again.
While an answer takes long, the answering side sends ``Omnipost-Working`` heartbeats, so that a dead service is
noticed within ``shared.inbox.SILENCE_S`` however long a call may rightfully take.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TypeVar

import pydantic
from faststream import StreamMessage
from faststream.nats import NatsBroker
from faststream.nats.security import NatsNKey
from nats.aio.msg import Msg
from nats.errors import Error as NatsError

from shared.answering import MAX_IN_FLIGHT, Answering, Handler
from shared.clock import SystemClock
from shared.invoking import Invoking
from shared.messages.base import Event, Request, Service
from shared.messages.router import StreamCreditV1
from shared.permissions import inbox_prefix
from shared.settings import ServiceSettings, read_secret
from shared.streams import Sinks
from shared.telemetry import Telemetry

DRAIN_S = 1.5
REPEATED = "Nats-Stream"
"""The header of a stored message that JetStream says again, to whatever subject somebody has named for its answer."""
CONTROL_WORKERS = 32

E = TypeVar("E", bound=Event)


class Bus(Invoking):
    """One NATS connection of one service process.

    Register handlers first, then ``start``. ``on_lost`` is called when the connection is gone for good; the
    process should exit and be restarted.
    """

    def __init__(
        self, service: Service, settings: ServiceSettings, telemetry: Telemetry, on_lost: Callable[[], None]
    ) -> None:
        super().__init__(service, telemetry, SystemClock())
        self._service = service
        self._on_lost = on_lost
        self._sinks = Sinks(self._publish)
        self._raw: list[tuple[type[Request], Handler]] = []
        self._heard_events: list[tuple[str, Callable[[Msg], Awaitable[None]]]] = []
        self._answering = Answering(telemetry, self._clock, self._publish, self._sinks)
        self._stopping = False
        seed = settings.nats_nkey_seed_file
        self._broker = NatsBroker(
            settings.nats_url,
            security=NatsNKey.from_seed(read_secret(seed)) if seed else None,
            inbox_prefix=inbox_prefix(service),
            name=f"omnipost-{service}",
            max_reconnect_attempts=-1,
            reconnect_time_wait=0.25,  # type: ignore[arg-type]  # nats-py takes fractions, its wrapper says int
            ping_interval=5,
            max_outstanding_pings=2,
            decoder=_whole,
            apply_types=False,
            logger=None,
            closed_cb=self._closed,
            reconnected_cb=self._reconnected,
            error_cb=self._failed,
        )
        self._on_reconnected: list[Callable[[], None]] = []
        self._connected_at = 0.0
        self.connections = 0

    async def start(self) -> None:
        """Connect, subscribe, and return once requests can arrive."""
        self._client = await self._broker.connect()
        self._answering.max_payload = self._client.max_payload
        await self._connected()
        await self._inbox.open(self._client)
        for subject, hear in self._heard_events:
            await self._client.subscribe(subject, cb=hear)
        await self._broker.start()
        for request, handler in self._raw:
            await self._client.subscribe(
                request.pattern(),
                queue=self._service,
                cb=self._answering.spawn(request, handler),
                pending_msgs_limit=MAX_IN_FLIGHT,
            )
        for _ in range(2):
            # One could overtake the subscriptions: nats-py writes its PING before what it still holds back.
            await self._client.flush()

    async def finish(self, grace_s: float) -> None:
        """Take no more requests and let those in flight finish, for up to ``grace_s`` seconds. Asking still works."""
        self._stopping = True
        if self._client is not None and self._client.is_connected:
            # Drained and not just unsubscribed: what has arrived by now is still answered.
            # Answers and credit are still needed for what is in flight.
            needed = (self._inbox.prefix, self._sinks.subject)
            mine = [item for item in self._client._subs.values() if not item.subject.startswith(needed)]  # noqa: SLF001 - nats-py has no public list
            draining = [asyncio.ensure_future(item.drain()) for item in mine]  # type: ignore[no-untyped-call]
            if draining:
                await asyncio.wait(draining, timeout=DRAIN_S)
        await self._answering.finish(grace_s)

    async def stop(self, grace_s: float = 1.0) -> None:
        """``finish``, then disconnect."""
        await self.finish(grace_s)
        if self._client is not None and not self._client.is_closed:
            with suppress(NatsError, OSError, TimeoutError):
                await asyncio.wait_for(self._client.flush(), 1)
            await self._client.close()

    # -- serving ---------------------------------------------------------------------------------------------

    def answer(self, request: type[Request], handler: Handler) -> None:
        """Serve a control request, one replica per message."""

        async def subscriber(message: Msg) -> None:
            await self._answering.serve(request, handler, message)

        self._broker.subscriber(
            request.pattern(), queue=self._service, max_workers=CONTROL_WORKERS, no_reply=True, title=request.__name__
        )(subscriber)

    def answer_call(self, request: type[Request], handler: Handler) -> None:
        """Serve a request on the path of every call: same contract as ``answer``, without the framework's cost.

        Of a request that has a ``part``, ``handler`` is also given who waits (``shared.streams``): a ``Sink`` when its
        ``stream`` is set, else an ``Asker``.
        """
        self._raw.append((request, handler))
        if request.part is not None:
            self._hear(self._sinks.subject, StreamCreditV1, self._sinks.heard)

    def listen(self, event: type[E], handler: Callable[[E], Awaitable[None]]) -> None:
        """Hear an event in every replica.

        Like ``answer_call`` without the framework: what a service drops on an event must be dropped before it takes
        a request that was sent after that event, so nothing may delay the handler.
        """
        self._hear(event.pattern(), event, handler)

    def _hear(self, subject: str, event: type[E], handler: Callable[[E], Awaitable[None]]) -> None:
        async def hear(message: Msg) -> None:
            if message.reply or REPEATED in (message.headers or {}):
                self._log.error("event ignored: it was not said by its owner", subject=event.subject)
                return
            try:
                await handler(event.model_validate_json(message.data))
            except pydantic.ValidationError:
                self._log.warning("event ignored: it does not match its contract", subject=event.subject)

        self._heard_events.append((subject, hear))

    def on_reconnected(self, act: Callable[[], None]) -> None:
        """Call ``act`` whenever the connection is there again: events of the time between are lost."""
        self._on_reconnected.append(act)

    # -- life ------------------------------------------------------------------------------------------------

    @property
    def connected_for_s(self) -> float:
        """Seconds since the connection was made or made again; 0 without one."""
        if self._client is None or not self._client.is_connected:
            return 0.0
        return self._clock.monotonic() - self._connected_at

    async def _connected(self) -> None:
        self._connected_at = self._clock.monotonic()
        self.connections += 1

    async def _reconnected(self) -> None:
        await self._connected()
        for act in self._on_reconnected:
            act()

    def give_up(self) -> None:
        """End the process: it can no longer do its work, and a fresh one may."""
        self._on_lost()

    async def _closed(self) -> None:
        if not self._stopping:
            self._log.error("message bus connection closed for good")
            self._on_lost()

    async def _failed(self, error: Exception) -> None:
        if not self._stopping:
            self._log.warning("message bus trouble", exc=error)


async def _whole(message: StreamMessage[Msg]) -> Msg:
    # Bodies are parsed here and not by the framework, whose validation errors repeat what they refuse.
    return message.raw_message
