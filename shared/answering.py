"""Serving one request after another: every asker gets an answer, or a problem it can act on.

A request whose asker has given up (``Omnipost-Until``) is not carried out: nobody would ever learn what it did.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import cache
from typing import Any

import pydantic
from nats.aio.msg import Msg

from shared import logs
from shared.beat import Beat
from shared.clock import Clock
from shared.errors import Code, OmniError, Problem, faults_of, unavailable
from shared.inbox import PROBLEM, UNTIL, WORKING
from shared.messages.base import Part, Request
from shared.permissions import inbox_prefix
from shared.shares import Shares
from shared.streams import PARTS, STREAM, AskerGoneError, Publish, Sinks
from shared.telemetry import TRACEPARENT, Telemetry

HEARTBEAT_S = 2.0
MAX_IN_FLIGHT = 4096
# Room for headers and the protocol around a body.
_OVERHEAD = 4096

_STOPPING = "This service is stopping; the call log says what was done."
_UNHEARD = "Nobody seemed to listen to the answer any more; the call log says what was done."

# Takes the request, and of one whose class has a ``part`` also who waits: a ``Sink``, or an ``Asker`` for all at once.
Handler = Callable[..., Awaitable[Part]]


@cache
def _inboxes(request: type[Request]) -> tuple[str, ...]:
    guests = (inbox_prefix("guest") + ".",) if request.for_guests else ()
    return (*(f"{inbox_prefix(caller)}." for caller in request.callers), *guests)


class Answering:
    """Answers requests. ``publish`` sends a reply; ``max_payload`` is what the server takes, in bytes."""

    def __init__(self, telemetry: Telemetry, clock: Clock, publish: Publish, sinks: Sinks) -> None:
        self._telemetry, self._clock, self._publish, self._sinks = telemetry, clock, publish, sinks
        self._log = logs.get()
        self._tasks: set[asyncio.Task[None]] = set()
        self._in_flight: Shares[str] = Shares(MAX_IN_FLIGHT)
        self._serving = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self.max_payload = 1024 * 1024

    def spawn(self, request: type[Request], handler: Handler) -> Callable[[Msg], Awaitable[None]]:
        """A subscription's callback that serves every message in a task of its own."""

        async def take(message: Msg) -> None:
            if not self._is_from_a_caller(request, message):
                return
            # Calls of a workspace have a subject of their own.
            who = message.subject
            if not self._in_flight.has_room(who):
                await self._refuse(message, unavailable("Too many calls are in flight; try again shortly."))
                return
            self._in_flight.take(who)
            task = asyncio.create_task(self.serve(request, handler, message))
            self._tasks.add(task)
            task.add_done_callback(lambda task: self._ended(task, who))

        return take

    def _ended(self, task: "asyncio.Task[None]", who: str) -> None:
        self._tasks.discard(task)
        self._in_flight.give_back(who)

    async def serve(self, request: type[Request], handler: Handler, message: Msg) -> None:
        """Answer ``message``, whatever happens; but nothing is done whose answer would not go to a caller."""
        if not self._is_from_a_caller(request, message):
            return
        self._serving += 1
        self._idle.clear()
        beat, working = None, {WORKING: "1"}
        if request.max_replies > 1:
            beat = Beat(HEARTBEAT_S, lambda: self._publish(message.reply, b"", working))
        try:
            await self._answer(request, handler, message, working)
        except asyncio.CancelledError:
            await self._refuse(message, unavailable(_STOPPING, carried_out="unknown"))
            raise
        except OmniError as error:
            await self._refuse(message, error)
        except AskerGoneError:
            await self._refuse(message, unavailable(_UNHEARD, carried_out="unknown"))
        except Exception as error:  # noqa: BLE001 - the last line of defence: an asker must always get an answer
            self._log.error("request failed", subject=request.subject, exc=error)
            await self._refuse(message, OmniError(Code.INTERNAL, "Something went wrong on our side."))
        finally:
            if beat is not None:
                beat.cancel()
            self._serving -= 1
            if not self._serving:
                self._idle.set()

    async def finish(self, grace_s: float) -> None:
        """Wait up to ``grace_s`` seconds for what is in flight, then cancel the calls that are left."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._idle.wait(), grace_s)
        left = list(self._tasks)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    async def _answer(self, request: type[Request], handler: Handler, message: Msg, working: dict[str, str]) -> None:
        headers = message.headers or {}
        if self._is_too_late(headers.get(UNTIL)):
            self._log.warning("request not carried out: its asker has given up", subject=request.subject)
            raise unavailable("The request came too late to be carried out; do the machines' clocks agree?")
        try:
            asked = request.model_validate_json(message.data)
        except pydantic.ValidationError as error:
            faults = faults_of(error.errors(include_input=False, include_url=False))
            detail = f"The message does not match {request.__name__}."
            raise OmniError(Code.INVALID_REQUEST, detail, extra={"faults": faults}) from None
        if asked.address() != message.subject:
            # Who may ask about which workspace is written in subjects: a body must not say another.
            raise OmniError(Code.FORBIDDEN, "The message is about another workspace than its subject.")
        with self._telemetry.received(f"{request.__name__} answer", headers.get(TRACEPARENT)):
            body, sent = await self._carry_out(handler, asked, message.reply, working)
        if len(body) > self.max_payload - _OVERHEAD:
            raise OmniError(Code.PROVIDER_ERROR, "The answer is too large to be passed on; ask for a shorter one.")
        await self._publish(message.reply, body, sent)

    async def _carry_out(
        self,
        handler: Handler,
        asked: Any,  # noqa: ANN401 - a request of any class
        reply: str,
        working: dict[str, str],
    ) -> tuple[bytes, dict[str, str] | None]:
        if asked.part is None:
            return (await handler(asked)).model_dump_json().encode(), None
        if not asked.stream:
            with self._sinks.awaited() as asker:
                working[STREAM] = asker.address
                return (await handler(asked, asker)).model_dump_json().encode(), None
        async with self._sinks.opened(reply) as sink:
            answer: Part = await handler(asked, sink)
        return answer.model_dump_json().encode(), {PARTS: str(sink.sent)}

    def _is_from_a_caller(self, request: type[Request], message: Msg) -> bool:
        # The server lets an asker name any subject for the answer. Sent on somebody's behalf to where he may not speak,
        # an answer would be a request; and what is repeated so, by JetStream for one, leads back to nobody's inbox.
        if message.reply.startswith(_inboxes(request)):
            return True
        self._log.error("request ignored: its answer would not go to a caller", subject=request.subject)
        return False

    def _is_too_late(self, until: str | None) -> bool:
        return until is not None and self._clock.now().timestamp() > float(until)

    async def _refuse(self, message: Msg, error: OmniError) -> None:
        body = Problem.of(error).model_dump_json().encode()
        await self._publish(message.reply, body, {PROBLEM: error.code})
