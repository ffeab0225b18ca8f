"""Asking metering for a reservation, and waiting where only calls under way stand against it."""

import asyncio

from services.router.job import Ticket
from shared import telemetry
from shared.bus import Bus
from shared.clock import Clock
from shared.messages.metering import ReservationV1, ReserveV1

# A reservation outlives the longest time its attempt may take, so that only a dead router lets one expire.
HOLD_MARGIN_S = 30.0
RESERVE_TIMEOUT_S = 5.0
# How long metering may keep a question; then it is put again, so that the time from question to sending stays below
# START_WITHIN_S.
WAIT_S = 2.0
LONGEST_WAIT_S = 20.0
ASK_AGAIN_S = 0.1
# With less time than this left nothing could come back, and yet it would have to be paid for.
SHORTEST_S = 0.05


class Reservations:
    """Reservations of this router's attempts."""

    def __init__(self, bus: Bus, clock: Clock) -> None:
        self._bus, self._clock = bus, clock

    async def reserve(self, ticket: Ticket) -> ReservationV1:
        """Ask, and again while only calls under way stand against it and there is time; the last answer.

        Each question renews ``ticket.began``. Raises OmniError ``unavailable``: whether it is held is unknown.
        """
        job, asked = ticket.job, self._clock.monotonic()
        # A caller who could be answered by another target waits here no longer than for a silent one.
        longest = LONGEST_WAIT_S if job.is_last else min(LONGEST_WAIT_S, job.alias.time_limits.first_byte_s)
        until = min(asked + longest, job.deadline - SHORTEST_S)
        while True:
            left = max(0.0, until - self._clock.monotonic())
            request = self._wish(ticket, wait_s=min(WAIT_S, left), waited_s=self._clock.monotonic() - asked)
            reservation = await self._bus.request(request, ReservationV1, timeout=RESERVE_TIMEOUT_S)
            now = self._clock.monotonic()
            if reservation.granted or not reservation.fits_later or now >= until:
                return reservation
            # Answered at once, it was not even let into the line.
            await asyncio.sleep(max(0.0, min(ASK_AGAIN_S - (now - ticket.began), until - now)))
            ticket.began, ticket.started_at = self._clock.monotonic(), self._clock.now()

    def _wish(self, ticket: Ticket, *, wait_s: float, waited_s: float) -> ReserveV1:
        job, candidate = ticket.job, ticket.candidate
        return ReserveV1(
            attempt_id=ticket.attempt_id,
            call_id=job.request.call_id,
            workspace_id=job.request.workspace_id,
            key_id=candidate.key_id,
            provider=candidate.target.provider,
            model=candidate.target.model,
            alias_name=job.alias.alias_name,
            capability=job.alias.capability,
            usd_micros=ticket.bound_usd_micros,
            tokens=ticket.bound_tokens,
            ttl_s=max(1.0, job.deadline - ticket.began) + HOLD_MARGIN_S,
            funds=candidate.funds,
            wait_s=wait_s,
            waited_s=waited_s,
            attempt_index=ticket.index,
            trace_id=telemetry.current_trace_id(),
        )
