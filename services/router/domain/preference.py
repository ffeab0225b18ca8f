"""In which order the targets of a chain are taken. Pure; equal ones keep their written order."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Literal

from shared.messages.catalogue import TargetV1

Preference = Literal["quality", "speed", "cost"]


@dataclass(frozen=True)
class Signals:
    """What is known about targets at the moment a call is planned; a target that is missing is unknown.

    Attributes:
        forecasts: micro-dollars this very request would cost.
        latencies: milliseconds a target usually takes.
        exploring: this call is one of the few that go to targets nobody has measured lately.
    """

    forecasts: Mapping[TargetV1, int | None] = field(default_factory=dict)
    latencies: Mapping[TargetV1, float | None] = field(default_factory=dict)
    exploring: bool = False


NOTHING_KNOWN = Signals()


def ordered(chain: Sequence[TargetV1], preference: Preference, signals: Signals) -> tuple[TargetV1, ...]:
    """``chain`` in the order of ``preference``.

    ``quality``: as written. ``cost``: the cheapest first, those without a price last. ``speed``: the fastest first,
    those nobody has measured last, or first when ``exploring``.
    """
    if preference == "cost":
        return tuple(sorted(chain, key=lambda target: _or(signals.forecasts.get(target), inf)))
    if preference == "speed":
        unmeasured = -inf if signals.exploring else inf
        return tuple(sorted(chain, key=lambda target: _or(signals.latencies.get(target), unmeasured)))
    return tuple(chain)


def _or(value: float | None, unknown: float) -> float:
    return unknown if value is None else value
