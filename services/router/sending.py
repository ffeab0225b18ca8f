"""What a request to a provider is given and what becomes of it, as values."""

import asyncio
from dataclasses import dataclass
from math import inf

from services.router.providers.base import Failure, HttpAnswer
from shared.clock import Clock
from shared.messages.vocabulary import Outcome

TOO_LATE = Failure(Outcome.TIMEOUT, detail="not_started_in_time")


@dataclass(frozen=True)
class Limits:
    """Seconds for one request.

    Attributes:
        connect_s: to get a connection.
        first_byte_s: from sending to the answer's status and headers.
        total_s: for everything.
        silence_s: between two pieces of the answer.
        start_by: monotonic seconds; after them not a first byte is written, however the time went by.
    """

    connect_s: float
    first_byte_s: float
    total_s: float
    silence_s: float = 20.0
    start_by: float = inf


@dataclass(frozen=True)
class Delivery:
    """What became of one request. ``sent``: some of it may have reached the provider; False is certain."""

    result: HttpAnswer | Failure
    sent: bool
    latency_ms: int


class Progress:
    """How far a request has come. ``connecting`` ends it before it is sent, ``total`` at any time."""

    def __init__(self, limits: Limits, clock: Clock) -> None:
        self.limits, self._clock = limits, clock
        self.connecting = asyncio.timeout(max(0.0, min(limits.connect_s, limits.start_by - clock.monotonic())))
        self.total = asyncio.timeout(limits.total_s)
        self.sent = False

    @property
    def may_start(self) -> bool:
        """Whether a first byte may still be written."""
        return self._clock.monotonic() < self.limits.start_by

    def start(self) -> None:
        """The first byte is written now: from here on the provider's silence counts."""
        self.sent = True
        self.connecting.reschedule(asyncio.get_running_loop().time() + self.limits.first_byte_s)

    def key_ended(self) -> Failure:
        """The failure of a request whose key has ended."""
        return Failure(Outcome.KEY_REVOKED if self.sent else Outcome.MISSING_KEY, detail="key_revoked")

    def timed_out(self) -> Failure:
        """The failure of a request that one of its limits has ended."""
        if self.total.expired():
            return Failure(Outcome.TIMEOUT, detail="total_timeout")
        if self.sent:
            return Failure(Outcome.TIMEOUT, detail="first_byte_timeout")
        return Failure(Outcome.TIMEOUT, detail="connect_timeout") if self.may_start else TOO_LATE
