"""What a request to a provider is given and what becomes of it, as values."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf
from typing import Generic, Protocol, TypeVar

from services.router.domain.sse import ServerEvent
from services.router.providers.base import Failure
from shared.clock import Clock
from shared.messages.vocabulary import Outcome

Result_co = TypeVar("Result_co", covariant=True)
TOO_LATE = Failure(Outcome.TIMEOUT, detail="not_started_in_time")
GONE = Failure(Outcome.CANCELLED, detail="asker_gone")


@dataclass(frozen=True)
class Limits:
    """Seconds for one request, or for all requests of one exchange.

    Attributes:
        connect_s: to get a connection, for each request.
        first_byte_s: from sending to the answer's status and headers; of a stream: until ``Listener.started``.
        total_s: for everything.
        silence_s: between two pieces of the answer, without the time the listener takes.
        start_by: monotonic seconds; after them not a first byte is written, however the time went by. It is for the
            first request: what an answer asks to be followed up with begins nothing.
    """

    connect_s: float
    first_byte_s: float
    total_s: float
    silence_s: float = 20.0
    start_by: float = inf


class Listener(Protocol):
    """Who takes a streamed answer. While ``hear`` runs, nothing is read: a slow listener slows the provider down."""

    @property
    def started(self) -> bool:
        """Whether something of the answer has come."""

    @property
    def is_over(self) -> bool:
        """Whether nothing more is wanted."""

    async def hear(self, event: ServerEvent) -> None:
        """Take ``event``, in order and one at a time. What it raises ends the stream and reaches the caller."""


@dataclass(frozen=True)
class Streamed:
    """A streamed answer, its events heard. ``clean``: it ended as HTTP wants it, or the listener wanted no more."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    clean: bool


@dataclass(frozen=True)
class Delivery(Generic[Result_co]):
    """What became of one request. ``sent``: some of it may have reached the provider; False is certain."""

    result: Result_co
    sent: bool
    latency_ms: int


class Progress:
    """How far it has come. ``connecting`` ends a request before its answer begins, ``total`` everything at any time.

    Attributes:
        sent: a byte of one of the requests was written.
        asked: a byte of the request under way was written.
        first_byte_due: when the listener must have started, by the event loop's clock.
    """

    def __init__(self, limits: Limits, clock: Clock) -> None:
        self.limits, self._clock, self._start_by = limits, clock, limits.start_by
        self.connecting = asyncio.timeout(max(0.0, min(limits.connect_s, limits.start_by - clock.monotonic())))
        self.total = asyncio.timeout(limits.total_s)
        self.sent = self.asked = False
        self.first_byte_due = inf

    @property
    def may_start(self) -> bool:
        """Whether a first byte may still be written."""
        return self._clock.monotonic() < self._start_by

    def start(self) -> None:
        """The first byte is written now: from here on the provider's silence counts."""
        self.sent = self.asked = True
        if self.first_byte_due == inf:
            self.first_byte_due = asyncio.get_running_loop().time() + self.limits.first_byte_s
        self.connecting.reschedule(self.first_byte_due)

    def follow_up(self, *, streams: bool) -> None:
        """Another request goes out. Of a stream the first byte stays due when it was, for that is what was awaited."""
        self.asked, self._start_by = False, inf
        self.connecting = asyncio.timeout(self.limits.connect_s)
        if not streams:
            self.first_byte_due = inf

    def key_ended(self) -> Failure:
        """The failure of a request whose key has ended."""
        return Failure(Outcome.KEY_REVOKED if self.sent else Outcome.MISSING_KEY, detail="key_revoked")

    def timed_out(self) -> Failure:
        """The failure of a request that one of its limits has ended."""
        if self.total.expired():
            return Failure(Outcome.TIMEOUT, detail="total_timeout")
        if self.asked:
            return Failure(Outcome.TIMEOUT, detail="first_byte_timeout")
        return Failure(Outcome.TIMEOUT, detail="connect_timeout") if self.may_start else TOO_LATE
