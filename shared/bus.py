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
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError

from shared import logs
from shared.answering import MAX_IN_FLIGHT, Answering, Handler
from shared.clock import Clock, SystemClock
from shared.errors import OmniError, Problem, invalid, unavailable
from shared.inbox import PATIENCE_S, PROBLEM, UNTIL, Inbox
from shared.messages.base import Event, Part, Record, Request, Service
from shared.permissions import inbox_prefix
from shared.settings import ServiceSettings, read_secret
from shared.telemetry import TRACEPARENT, Telemetry, current_traceparent

DRAIN_S = 1.5
CONTROL_WORKERS = 32
# How long one replica may take over a repeatable request before another is asked, and the pause in between.
REPEAT_AFTER_S = 1.0
REPEAT_PAUSE_S = 0.05

E = TypeVar("E", bound=Event)
P = TypeVar("P", bound=Part)


class Bus:
    """One NATS connection of one service process.

    Register handlers first, then ``start``. ``on_lost`` is called when the connection is gone for good; the
    process should exit and be restarted.
    """

    def __init__(
        self, service: Service, settings: ServiceSettings, telemetry: Telemetry, on_lost: Callable[[], None]
    ) -> None:
        self._service = service
        self.telemetry = telemetry
        self._on_lost = on_lost
        self._log = logs.get()
        self._inbox = Inbox(inbox_prefix(service))
        self._raw: list[tuple[type[Request], Handler]] = []
        self._heard_events: list[tuple[type[Event], Callable[[Msg], Awaitable[None]]]] = []
        self._clock: Clock = SystemClock()
        self._answering = Answering(telemetry, self._clock, self._publish)
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
        self._client: Client | None = None
        self._on_reconnected: list[Callable[[], None]] = []
        self._connected_at = 0.0
        self.connections = 0

    @property
    def client(self) -> Client:
        """The connection. Raises OmniError ``unavailable`` before ``start``."""
        if self._client is None:
            raise unavailable("This service is not connected yet.")
        return self._client

    async def start(self) -> None:
        """Connect, subscribe, and return once requests can arrive."""
        self._client = await self._broker.connect()
        self._answering.max_payload = self._client.max_payload
        await self._connected()
        await self._inbox.open(self._client)
        for event, hear in self._heard_events:
            await self._client.subscribe(event.subject, cb=hear)
        await self._broker.start()
        for request, handler in self._raw:
            await self._client.subscribe(
                request.pattern(),
                queue=self._service,
                cb=self._answering.spawn(request, handler),
                pending_msgs_limit=MAX_IN_FLIGHT,
            )

    async def finish(self, grace_s: float) -> None:
        """Take no more requests and let those in flight finish, for up to ``grace_s`` seconds. Asking still works."""
        self._stopping = True
        if self._client is not None and self._client.is_connected:
            # Drained and not just unsubscribed: what has arrived by now is still answered.
            mine = [item for item in self._client._subs.values() if not item.subject.startswith(self._inbox.prefix)]  # noqa: SLF001 - nats-py has no public list
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
        """Serve a request on the path of every call: same contract as ``answer``, without the framework's cost."""
        self._raw.append((request, handler))

    def listen(self, event: type[E], handler: Callable[[E], Awaitable[None]]) -> None:
        """Hear an event in every replica.

        Like ``answer_call`` without the framework: what a service drops on an event must be dropped before it takes
        a request that was sent after that event, so nothing may delay the handler.
        """

        async def hear(message: Msg) -> None:
            try:
                await handler(event.model_validate_json(message.data))
            except pydantic.ValidationError:
                self._log.warning("event ignored: it does not match its contract", subject=event.subject)

        self._heard_events.append((event, hear))

    def on_reconnected(self, act: Callable[[], None]) -> None:
        """Call ``act`` whenever the connection is there again: events of the time between are lost."""
        self._on_reconnected.append(act)

    async def _publish(self, subject: str, body: bytes, headers: dict[str, str] | None) -> None:
        if not subject:
            return
        try:
            await self.client.publish(subject, body, headers=headers)
        except (NatsError, OSError) as error:
            self._log.warning("publish failed", subject=subject.split(".", maxsplit=1)[0], exc=error)

    # -- asking ----------------------------------------------------------------------------------------------

    async def request(
        self,
        message: Request,
        reply: type[P],
        *,
        timeout: float = 3.0,  # noqa: ASYNC109
        repeatable: bool = False,
    ) -> P:
        """Ask the owner of ``message``.

        ``timeout``: seconds in all. A service that stays silent for ``shared.inbox.SILENCE_S`` is given up earlier.
        ``repeatable``: the request changes nothing, so a replica that dies over it is made up for by asking again.
        Raises OmniError: the owner's problem, or ``unavailable`` when nobody answers (the outcome is then unknown).
        """
        with self.telemetry.span(f"{type(message).__name__} ask"):
            body = message.model_dump_json().encode()
            if len(body) > self.client.max_payload:
                raise invalid("The request is larger than the message bus takes; shorten it.")
            answer = await self._ask(message.address(), body, timeout, repeatable=repeatable)
        if answer.headers and PROBLEM in answer.headers:
            raise Problem.model_validate_json(answer.data).error()
        try:
            return reply.model_validate_json(answer.data)
        except pydantic.ValidationError as error:
            self._log.error("answer does not match its contract", subject=message.subject, count=error.error_count())
            raise unavailable("Another part of the system answered in an unknown form.") from None

    async def _ask(self, subject: str, body: bytes, timeout: float, *, repeatable: bool) -> Msg:  # noqa: ASYNC109
        until = self._clock.monotonic() + timeout
        while True:
            left = until - self._clock.monotonic()
            patience = min(left, REPEAT_AFTER_S) if repeatable else left
            headers = _headers() | {UNTIL: f"{self._clock.now().timestamp() + min(patience, PATIENCE_S):.3f}"}
            try:
                return await self._inbox.ask(self.client, subject, body, headers, patience)
            except OmniError:
                if not repeatable or until - self._clock.monotonic() < REPEAT_PAUSE_S:
                    raise
                await asyncio.sleep(REPEAT_PAUSE_S)

    async def announce(self, event: Event) -> None:
        """Tell every listening replica; nobody may be listening. Raises OmniError ``unavailable``."""
        try:
            await self.client.publish(event.subject, event.model_dump_json().encode(), headers=_headers())
        except (NatsError, OSError):
            raise unavailable("The message bus is away; try again shortly.") from None

    async def record(self, record: Record, *, timeout: float = 2.0) -> None:  # noqa: ASYNC109
        """Write a fact to its stream and wait until the server has it on disk. Raises OmniError ``unavailable``."""
        with self.telemetry.span(f"{type(record).__name__} record"):
            headers = _headers() | {"Nats-Msg-Id": record.message_id()}
            body = record.model_dump_json().encode()
            answer = await self._inbox.ask(self.client, record.subject, body, headers, timeout)
        if b'"error"' in answer.data:
            raise unavailable("The stream did not take the record.")

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


def _headers() -> dict[str, str]:
    parent = current_traceparent()
    return {TRACEPARENT: parent} if parent else {}


async def _whole(message: StreamMessage[Msg]) -> Msg:
    # Bodies are parsed here and not by the framework, whose validation errors repeat what they refuse.
    return message.raw_message
