"""Asking others over NATS: for one answer, or for an answer in parts; announcing events and recording facts."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TypeVar

import pydantic
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError

from shared import logs
from shared.arriving import Arriving, gone, unknown_form
from shared.clock import Clock
from shared.errors import OmniError, Problem, invalid, unavailable
from shared.inbox import PATIENCE_S, PROBLEM, UNTIL, Inbox, owner_of
from shared.messages.base import Event, Part, Record, Request
from shared.messages.router import StreamCreditV1
from shared.permissions import inbox_prefix
from shared.telemetry import TRACEPARENT, Telemetry, current_traceparent

# How long one replica may take over a repeatable request before another is asked, and the pause in between.
REPEAT_AFTER_S = 1.0
REPEAT_PAUSE_S = 0.05

P = TypeVar("P", bound=Part)


class Asking:
    """The asking half of a ``shared.bus.Bus``. ``user``: whose inbox is answered to."""

    def __init__(self, user: str, telemetry: Telemetry, clock: Clock) -> None:
        self.telemetry = telemetry
        self._clock = clock
        self._log = logs.get()
        self._client: Client | None = None
        self._inbox = Inbox(inbox_prefix(user), lambda address: self._tell(gone(address)))

    @property
    def client(self) -> Client:
        """The connection. Raises OmniError ``unavailable`` before ``start``."""
        if self._client is None:
            raise unavailable("This service is not connected yet.")
        return self._client

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
            answer = await self._ask(message.address(), self._body(message), timeout, repeatable=repeatable)
        if answer.headers and PROBLEM in answer.headers:
            raise Problem.model_validate_json(answer.data).error()
        try:
            return reply.model_validate_json(answer.data)
        except pydantic.ValidationError as error:
            self._log.error("answer does not match its contract", subject=message.subject, count=error.error_count())
            raise unknown_form() from None

    @asynccontextmanager
    async def stream(
        self,
        message: Request,
        reply: type[P],
        *,
        timeout: float,  # noqa: ASYNC109
    ) -> AsyncIterator[Arriving[P]]:
        """Ask for an answer in parts: iterate over them, then read ``final``. Leaving early tells the owner at once.

        ``timeout``: seconds in all. Raises OmniError as ``request`` does, here or while iterating.
        """
        with self.telemetry.span(f"{type(message).__name__} ask"):
            subject = message.address()
            arriving = Arriving(owner_of(subject), timeout, reply, self._tell)
            token = await self._inbox.begin(
                self.client, subject, self._body(message), self._headers_of(timeout), arriving
            )
            try:
                yield arriving
            finally:
                self._inbox.end(token)
                await arriving.leave()

    def _body(self, message: Request) -> bytes:
        body = message.model_dump_json().encode()
        if len(body) > self.client.max_payload:
            raise invalid("The request is larger than the message bus takes; shorten it.")
        return body

    def _headers_of(self, patience: float) -> dict[str, str]:
        return _headers() | {UNTIL: f"{self._clock.now().timestamp() + min(patience, PATIENCE_S):.3f}"}

    async def _tell(self, credit: StreamCreditV1) -> None:
        await self._publish(credit.address(), credit.model_dump_json().encode(), None)

    async def _ask(self, subject: str, body: bytes, timeout: float, *, repeatable: bool) -> Msg:  # noqa: ASYNC109
        until = self._clock.monotonic() + timeout
        while True:
            left = until - self._clock.monotonic()
            patience = min(left, REPEAT_AFTER_S) if repeatable else left
            try:
                return await self._inbox.ask(self.client, subject, body, self._headers_of(patience), patience)
            except OmniError:
                if not repeatable or until - self._clock.monotonic() < REPEAT_PAUSE_S:
                    raise
                await asyncio.sleep(REPEAT_PAUSE_S)

    async def announce(self, event: Event) -> None:
        """Tell every listening replica; nobody may be listening. Raises OmniError ``unavailable``."""
        try:
            await self.client.publish(event.address(), event.model_dump_json().encode(), headers=_headers())
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

    async def _publish(self, subject: str, body: bytes, headers: dict[str, str] | None) -> None:
        if not subject:
            return
        try:
            await self.client.publish(subject, body, headers=headers)
        except (NatsError, OSError) as error:
            self._log.warning("publish failed", subject=subject.split(".", maxsplit=1)[0], exc=error)


def _headers() -> dict[str, str]:
    parent = current_traceparent()
    return {TRACEPARENT: parent} if parent else {}
