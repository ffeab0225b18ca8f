"""How a reservation ends: what is charged and which row is written. Pure.

Every attempt needs one of each, so they are named tuples: a frozen dataclass of 30 fields takes six times as long.

``held -> settled | void | expired``; each of the three is final. What is unknown is charged at the reserved maximum and
recorded as None, never as 0.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime
from enum import StrEnum
from functools import lru_cache
from typing import NamedTuple
from uuid import UUID

from services.metering.domain.ledger import Amounts
from shared.clock import month_of
from shared.messages.metering import Unit
from shared.messages.router import CallFinishedV1, TokensV1
from shared.messages.vocabulary import Billing, Funds, Outcome

NO_RESERVATION = "no reservation"
LATE = "late: reservation already"
FOREIGN = "the workspace or key is not that of its reservation"


class State(StrEnum):
    """Where a reservation stands."""

    HELD = "held"
    SETTLED = "settled"
    VOID = "void"
    EXPIRED = "expired"


class Reservation(NamedTuple):
    """What was held for one attempt, and for whom. ``usd_micros`` None: the model had no price.

    It counts in the month ``period_start`` and on the day of ``created_at``, whenever it ends.
    """

    attempt_id: UUID
    call_id: str
    workspace_id: int
    key_id: UUID
    provider: str
    model: str
    alias_name: str
    capability: str
    attempt_index: int
    trace_id: str | None
    usd_micros: int | None
    tokens: int
    requests: int
    state: str
    period_start: date
    created_at: datetime
    funds: str = Funds.OWN.value

    @property
    def amounts(self) -> Amounts:
        """The held maximum."""
        return Amounts(self.usd_micros or 0, self.tokens, self.requests)

    @property
    def day(self) -> date:
        """The day it counts on, in UTC."""
        return self.created_at.astimezone(UTC).date()


class Call(NamedTuple):
    """One row of the call log. Fields are those of ``CallV1``, in the order of the table."""

    attempt_id: UUID
    call_id: str
    workspace_id: int
    key_id: UUID
    provider: str
    model: str
    alias_name: str
    capability: str
    attempt_index: int
    outcome: str
    billing: str
    status: int | None
    fallback_reason: str | None
    finish_reason: str | None
    input_tokens: int | None
    output_tokens: int | None
    cache_read_tokens: int | None
    cache_write_tokens: int | None
    reasoning_tokens: int | None
    cost_usd_micros: int | None
    charged_usd_micros: int
    latency_ms: int | None
    started_at: datetime
    finished_at: datetime
    trace_id: str | None
    provider_request_id: str | None
    price_version: str | None
    funds: str
    fallback_from: str | None
    first_token_ms: int | None
    reserved_usd_micros: int | None

    @property
    def is_unknown(self) -> bool:
        """Whether its usage or cost could not be learnt. An attempt billed at nothing is known to have used nothing."""
        if self.billing == Billing.NOTHING:
            return False
        return self.cost_usd_micros is None or self.input_tokens is None or self.output_tokens is None


class Settlement(NamedTuple):
    """The end of a reservation: its final state, what moves from held to spent, and its row (None: never sent)."""

    reservation: Reservation
    state: State
    charged: Amounts
    call: Call | None

    @property
    def overrun(self) -> Unit | None:
        """The unit in which it cost more than was held for it. Without a price nothing was promised in $."""
        held, charged = self.reservation, self.charged
        if held.usd_micros is not None and charged.usd_micros > held.usd_micros:
            return "usd_micros"
        return "tokens" if charged.tokens > held.tokens else None


@dataclass(frozen=True, slots=True)
class Bar:
    """A reservation given up before it arrived: stored as void, so that it cannot be granted when it still comes."""

    reservation: Reservation


@dataclass(frozen=True, slots=True)
class Stray:
    """An event that cannot be settled and that somebody should look at."""

    reason: str


def settle(reservation: Reservation | None, event: CallFinishedV1) -> Settlement | Bar | Stray | None:
    """What ``event`` does to its reservation. None: nothing, because it is a repetition."""
    if reservation is None:
        return Stray(NO_RESERVATION) if event.sent else Bar(_given_up(event))
    if (event.workspace_id, _key_id(event.key_id)) != (reservation.workspace_id, reservation.key_id):
        return Stray(FOREIGN)
    if reservation.state == State.HELD:
        return _end(reservation, event)
    if reservation.state == State.EXPIRED or (reservation.state == State.VOID and event.sent):
        return Stray(f"{LATE} {reservation.state}")
    return None


def expire(reservation: Reservation, now: datetime) -> Settlement:
    """Nobody said how it ended: charge the maximum, record nothing as known."""
    charged = reservation.amounts
    row = _row(reservation, charged.usd_micros, reservation.created_at, now)
    return Settlement(reservation, State.EXPIRED, charged, row)


def _given_up(event: CallFinishedV1) -> Reservation:
    return Reservation(
        attempt_id=UUID(event.attempt_id),
        call_id=event.call_id,
        workspace_id=event.workspace_id,
        key_id=UUID(event.key_id),
        provider=event.provider,
        model=event.model,
        alias_name=event.alias_name,
        capability=event.capability,
        attempt_index=event.attempt_index,
        trace_id=event.trace_id,
        usd_micros=None,
        tokens=0,
        requests=1,
        state=State.VOID,
        period_start=month_of(event.started_at).date(),
        created_at=event.started_at,
        funds=event.funds.value,
    )


def _end(reservation: Reservation, event: CallFinishedV1) -> Settlement:
    if not event.sent:
        return Settlement(reservation, State.VOID, Amounts(), None)
    cost = _cost(event)
    charged = _charge(reservation, event, cost)
    tokens = event.tokens
    # By place, in the order of the fields: names would double what it costs.
    call = Call(
        reservation.attempt_id, reservation.call_id, reservation.workspace_id, reservation.key_id,
        reservation.provider, reservation.model, reservation.alias_name, reservation.capability,
        reservation.attempt_index, event.outcome.value, event.billing.value, event.status,
        event.fallback_reason and event.fallback_reason.value, event.finish_reason,
        tokens.input_tokens, tokens.output_tokens, tokens.cache_read_tokens, tokens.cache_write_tokens,
        tokens.reasoning_tokens, cost, charged.usd_micros, event.latency_ms, event.started_at, event.finished_at,
        event.trace_id or reservation.trace_id, event.provider_request_id, event.price_version,
        reservation.funds, _target(event), event.first_token_ms, reservation.usd_micros,
    )  # fmt: skip
    return Settlement(reservation, State.SETTLED, charged, call)


@lru_cache(1024)
def _key_id(text: str) -> UUID:
    """A key has many calls."""
    return UUID(text)


def _target(event: CallFinishedV1) -> str | None:
    first = event.fallback_from
    return None if first is None else f"{first.provider}/{first.model}"


def _cost(event: CallFinishedV1) -> int | None:
    if event.billing is Billing.NOTHING:
        return 0
    return event.cost_usd_micros if event.billing is Billing.COST else None


def _charge(reservation: Reservation, event: CallFinishedV1, cost: int | None) -> Amounts:
    if event.billing is Billing.NOTHING:
        return Amounts(0, 0, reservation.requests)
    maximum = reservation.amounts
    if event.billing is Billing.UNKNOWN:
        return maximum
    # A cost above the hold is charged as it was: the ledger says what happened, not what was hoped.
    usd = maximum.usd_micros if cost is None else cost
    return Amounts(usd, _tokens(event.tokens, maximum.tokens), maximum.requests)


def _tokens(tokens: TokensV1, reserved: int) -> int:
    known = (tokens.input_tokens or 0) + (tokens.output_tokens or 0)
    if tokens.input_tokens is None or tokens.output_tokens is None:
        return max(reserved, known)
    return known


def _row(reservation: Reservation, charged_usd_micros: int, started_at: datetime, finished_at: datetime) -> Call:
    return Call(
        attempt_id=reservation.attempt_id,
        call_id=reservation.call_id,
        workspace_id=reservation.workspace_id,
        key_id=reservation.key_id,
        provider=reservation.provider,
        model=reservation.model,
        alias_name=reservation.alias_name,
        capability=reservation.capability,
        attempt_index=reservation.attempt_index,
        outcome=Outcome.UNKNOWN.value,
        billing=Billing.UNKNOWN.value,
        status=None,
        fallback_reason=None,
        finish_reason=None,
        input_tokens=None,
        output_tokens=None,
        cache_read_tokens=None,
        cache_write_tokens=None,
        reasoning_tokens=None,
        cost_usd_micros=None,
        charged_usd_micros=charged_usd_micros,
        latency_ms=None,
        started_at=started_at,
        finished_at=finished_at,
        trace_id=reservation.trace_id,
        provider_request_id=None,
        price_version=None,
        funds=reservation.funds,
        fallback_from=None,
        first_token_ms=None,
        reserved_usd_micros=reservation.usd_micros,
    )
