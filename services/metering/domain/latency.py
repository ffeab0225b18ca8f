"""Histograms of milliseconds, each held in one whole number. Pure.

Bucket ``i`` counts in the decimal digits from ``12 * i`` on: adding two histograms is adding two numbers, for Python's
int and for PostgreSQL's numeric alike, so a rollup sums its histograms as it sums its other counters. The buckets grow
by a tenth, so a quantile is within 5 % of the true one (and half a millisecond, because it is a whole number).
"""

import math
from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import accumulate

from shared.messages.usage import QuantilesV1

ACCURACY = 0.05
GROWTH = (1 + ACCURACY) / (1 - ACCURACY)
LONGEST_MS = 3_600_000
LANE = 12
"""Decimal digits of a bucket's count."""

_LN_GROWTH = math.log(GROWTH)
_BUCKETS = math.ceil(math.log(LONGEST_MS) / _LN_GROWTH) + 1
_ONE = tuple(10 ** (LANE * bucket) for bucket in range(_BUCKETS))
_MIDDLE = tuple(round(2 * GROWTH**bucket / (GROWTH + 1)) for bucket in range(_BUCKETS))


@dataclass(frozen=True, slots=True)
class Quantiles:
    """Milliseconds that so many of 100 attempts did not pass; None: nothing was measured."""

    count: int = 0
    p50: int | None = None
    p95: int | None = None
    p99: int | None = None

    def published(self) -> QuantilesV1:
        """As the contract has it."""
        return QuantilesV1(count=self.count, p50=self.p50, p95=self.p95, p99=self.p99)


def histogram(milliseconds: int | None) -> int:
    """The histogram of one measurement; None, which is unknown, counts nowhere."""
    return 0 if milliseconds is None else _ONE[bucket_of(milliseconds)]


def bucket_of(milliseconds: int) -> int:
    """The bucket of a duration; everything above ``LONGEST_MS`` is in the last."""
    if milliseconds <= 1:
        return 0
    return min(_BUCKETS - 1, math.ceil(math.log(milliseconds) / _LN_GROWTH))


def counts(total: int) -> list[int]:
    """How many measurements each bucket of ``total`` has, shortest durations first."""
    digits = str(total)
    digits = digits.zfill(-(-len(digits) // LANE) * LANE)
    return [int(digits[end - LANE : end]) for end in range(len(digits), 0, -LANE)]


def quantiles(total: int) -> Quantiles:
    """The quantiles of ``total``."""
    if not total:
        return Quantiles()
    running = list(accumulate(counts(total)))
    return Quantiles(running[-1], *_at(running, (50, 95, 99)))


def _at(running: list[int], percents: Iterable[int]) -> Iterable[int]:
    for percent in percents:
        rank = -(-running[-1] * percent // 100)
        yield _MIDDLE[bisect_left(running, rank)]
