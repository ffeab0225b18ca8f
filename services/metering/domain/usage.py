"""Rollups: the call log summed by hour and by day, so that no report reads the log. Pure.

A report of whole hours takes its whole days from the sums by day: it costs as much after a year as it reads days, and
nothing of it grows with the number of calls.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from operator import add
from typing import Literal, NamedTuple, TypeVar
from uuid import UUID

from services.metering.domain.latency import histogram
from services.metering.domain.settlement import Call
from shared.messages.vocabulary import Billing, Outcome

Grain = Literal["hour", "day"]


class RollupKey(NamedTuple):
    """What calls are summed by: the primary key, in its order. ``at``: when the hour or the day begins."""

    workspace_id: int
    at: datetime
    provider: str
    alias_name: str
    model: str
    key_id: UUID
    capability: str
    funds: str
    outcome: str


class Counters(NamedTuple):
    """Sums. ``requests`` = ``succeeded`` + ``failed``.

    ``fallbacks`` counts answers given by another target than the first choice. ``reserved_usd_micros``: what had been
    held for those attempts whose cost is known and charged. Histograms: see ``latency``.
    """

    requests: int = 0
    succeeded: int = 0
    failed: int = 0
    unknown: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd_micros: int = 0
    charged_usd_micros: int = 0
    fallbacks: int = 0
    latency_ms_sum: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    reserved_usd_micros: int = 0
    latency_histogram: int = 0
    first_token_histogram: int = 0


class FallbackKey(NamedTuple):
    """From whom to whom, and why. ``fallback_from`` and ``target``: provider/model, the former empty when unknown."""

    workspace_id: int
    at: datetime
    fallback_from: str
    target: str
    reason: str


class FallbackCounters(NamedTuple):
    """Attempts that stood in for a first choice, and how many of them gave the answer."""

    requests: int = 0
    succeeded: int = 0


class Piece(NamedTuple):
    """A stretch of time [``since``, ``until``) to read from the sums by ``grain``; None: without a bound."""

    grain: Grain
    since: datetime | None
    until: datetime | None


Key = TypeVar("Key", RollupKey, FallbackKey)
Sums = TypeVar("Sums", Counters, FallbackCounters)


def total(several: Iterable[Counters]) -> Counters:
    """The sum of ``several``."""
    return Counters(*map(sum, zip(Counters(), *several, strict=True)))


def roll_up(calls: Iterable[Call]) -> dict[RollupKey, Counters]:
    """Sum ``calls`` by hour, sorted by key so that two writers lock the same rows in the same order."""
    counted: dict[RollupKey, list[Counters]] = {}
    for call in calls:
        counted.setdefault(rollup_key(call), []).append(count(call))
    return {key: total(counted[key]) for key in sorted(counted)}


def rollup_key(call: Call) -> RollupKey:
    """Where ``call`` is counted."""
    return RollupKey(
        call.workspace_id, hour_of(call.started_at), call.provider, call.alias_name, call.model, call.key_id,
        call.capability, call.funds, call.outcome,
    )  # fmt: skip


def roll_up_fallbacks(calls: Iterable[Call]) -> dict[FallbackKey, FallbackCounters]:
    """Sum those of ``calls`` that stood in for another target, by hour, sorted by key."""
    sums: dict[FallbackKey, FallbackCounters] = {}
    for call in calls:
        if call.fallback_reason is None:
            continue
        target = f"{call.provider}/{call.model}"
        key = FallbackKey(
            call.workspace_id, hour_of(call.started_at), call.fallback_from or "", target, call.fallback_reason
        )
        before = sums.get(key, FallbackCounters())
        succeeded = before.succeeded + (call.outcome == Outcome.SUCCESS)
        sums[key] = FallbackCounters(before.requests + 1, succeeded)
    return dict(sorted(sums.items()))


def by_day(hours: Mapping[Key, Sums]) -> dict[Key, Sums]:
    """Sums by hour as sums by day, in the same order of keys."""
    days: dict[Key, Sums] = {}
    for key, sums in hours.items():
        day = key._replace(at=day_of(key.at))
        days[day] = type(sums)(*map(add, days[day], sums)) if day in days else sums
    return dict(sorted(days.items()))


def count(call: Call) -> Counters:
    """What one row adds. Unknown amounts add nothing and are counted as ``unknown``."""
    succeeded = int(call.outcome == Outcome.SUCCESS)
    is_charged = call.billing == Billing.COST and call.cost_usd_micros is not None
    return Counters(
        requests=1,
        succeeded=succeeded,
        failed=1 - succeeded,
        unknown=int(call.is_unknown),
        input_tokens=call.input_tokens or 0,
        output_tokens=call.output_tokens or 0,
        cost_usd_micros=call.cost_usd_micros or 0,
        charged_usd_micros=call.charged_usd_micros,
        fallbacks=succeeded if call.fallback_reason is not None else 0,
        latency_ms_sum=call.latency_ms or 0,
        cache_read_tokens=call.cache_read_tokens or 0,
        cache_write_tokens=call.cache_write_tokens or 0,
        reasoning_tokens=call.reasoning_tokens or 0,
        reserved_usd_micros=(call.reserved_usd_micros or 0) if is_charged else 0,
        latency_histogram=histogram(call.latency_ms),
        first_token_histogram=histogram(call.first_token_ms),
    )


def pieces(since: datetime | None, until: datetime | None) -> tuple[Piece, ...]:
    """[``since``, ``until``), made whole hours: its whole days by day, what is left at either end by hour."""
    start, end = since and hour_of(since), until and hour_after(until)
    first, last = start and _day_after(start), end and day_of(end)
    if first and last and first >= last:
        return (Piece("hour", start, end),)
    edges = (
        Piece("hour", start, first) if start != first else None,
        Piece("day", first, last),
        Piece("hour", last, end) if last != end else None,
    )
    return tuple(piece for piece in edges if piece is not None)


def hour_of(moment: datetime) -> datetime:
    """The start of ``moment``'s hour, in UTC."""
    return moment.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


def hour_after(moment: datetime) -> datetime:
    """The first full hour at or after ``moment``, in UTC."""
    start = hour_of(moment)
    return start if start == moment else start + timedelta(hours=1)


def day_of(moment: datetime) -> datetime:
    """The start of ``moment``'s day, in UTC."""
    return moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def _day_after(moment: datetime) -> datetime:
    start = day_of(moment)
    return start if start == moment else start + timedelta(days=1)
