"""Rollups: the call log summed by hour, workspace, provider, alias, model and key. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from uuid import UUID

from services.metering.domain.settlement import Call
from shared.messages.vocabulary import Outcome

RollupKey = tuple[int, datetime, str, str, str, UUID]
"""Workspace, hour, provider, alias, model, key: the order of the table's primary key."""


@dataclass(frozen=True, slots=True)
class Counters:
    """The counters of ``UsageV1``, in its order. ``requests`` = ``succeeded`` + ``failed``.

    ``fallbacks`` counts answers given by another target than the first choice.
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

    def __add__(self, other: "Counters") -> "Counters":
        return Counters(*(getattr(self, name) + getattr(other, name) for name in COUNTERS))


COUNTERS = tuple(field.name for field in fields(Counters))


def roll_up(calls: Iterable[Call]) -> dict[RollupKey, Counters]:
    """Sum ``calls``, sorted by key so that two writers lock the same rows in the same order."""
    sums: dict[RollupKey, Counters] = {}
    for call in calls:
        key = (call.workspace_id, hour_of(call.started_at), call.provider, call.alias_name, call.model, call.key_id)
        sums[key] = sums.get(key, Counters()) + count(call)
    return dict(sorted(sums.items()))


def count(call: Call) -> Counters:
    """What one row adds. Unknown amounts add nothing and are counted as ``unknown``."""
    succeeded = int(call.outcome == Outcome.SUCCESS)
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
    )


def hour_of(moment: datetime) -> datetime:
    """The start of ``moment``'s hour, in UTC."""
    return moment.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


def hour_after(moment: datetime) -> datetime:
    """The first full hour at or after ``moment``, in UTC."""
    start = hour_of(moment)
    return start if start == moment else start + timedelta(hours=1)
