"""What the month will have been charged in the end, and which budgets will not last. Pure.

The pace is the mean of the last seven days (so each weekday counts once) and of today as far as it has come; of fewer,
when the workspace began later. The range is as wide as those days differ: it covers four of five months if days are
independent of each other.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from fractions import Fraction
from math import isqrt
from typing import NamedTuple, TypeVar

from services.metering.domain.ledger import NOTHING, Account, Amounts, Owner
from services.metering.domain.usage import day_of
from shared.clock import month_of, next_month
from shared.messages.metering import Unit

WINDOW = 7
# Student's t by the number of days: 80 % lie within so many standard deviations, when those are estimated as well.
_EIGHTY_PERCENT = {2: 3078, 3: 1886, 4: 1638, 5: 1533, 6: 1476, 7: 1440}
_DAY_S = 86_400
_HOUR = Fraction(1, 24)
T = TypeVar("T")


class Charge(NamedTuple):
    """What one owner's calls were charged on one day."""

    day: datetime
    owner: Owner
    amounts: Amounts


@dataclass(frozen=True, slots=True)
class Exhaustion:
    """An account that would be used up, in which unit, and when."""

    account: Account
    unit: Unit
    at: datetime


@dataclass(frozen=True, slots=True)
class Forecast:
    """In micro-dollars; ``days``: whole days the pace is from."""

    month_ends_at: datetime
    charged: int
    expected: int
    low: int | None
    high: int | None
    days: int
    budgets: tuple[Exhaustion, ...]


def first_day(now: datetime) -> datetime:
    """The first day a forecast looks at."""
    return min(month_of(now), day_of(now) - timedelta(days=WINDOW))


def forecast(charges: Sequence[Charge], accounts: Iterable[Account], now: datetime) -> Forecast:
    """From ``charges`` of keys since ``first_day``, each owner and day at most once."""
    ends, today = next_month(now), day_of(now)
    by_day = _sums((charge.day, charge.amounts) for charge in charges)
    charged = sum(amounts.usd_micros for day, amounts in by_day.items() if day >= month_of(now))
    days = min(WINDOW, (today - min(by_day, default=today)).days)
    observed = max(days + _part(now - today), _HOUR)
    left = _part(ends - now)
    recent = {day: amounts.usd_micros for day, amounts in by_day.items() if day >= today - timedelta(days=days)}
    expected = charged + _whole(sum(recent.values()) * left / observed)
    margin = _margin([recent.get(today - timedelta(days=back), 0) for back in range(1, days + 1)], left)
    paces = _paces(charges, today - timedelta(days=days))
    budgets = tuple(end for account in accounts if (end := _exhaustion(account, paces, observed, now)))
    if margin is None:
        return Forecast(ends, charged, expected, None, None, days, budgets)
    return Forecast(ends, charged, expected, max(charged, expected - margin), expected + margin, days, budgets)


def _margin(whole_days: Sequence[int], left: Fraction) -> int | None:
    """Half the width of the range: of the days to come, and of not knowing the mean better."""
    number = len(whole_days)
    if number < 2:
        return None
    mean = Fraction(sum(whole_days), number)
    variance = sum(((amount - mean) ** 2 for amount in whole_days), Fraction()) / (number - 1)
    return isqrt(_whole(Fraction(_EIGHTY_PERCENT[number], 1000) ** 2 * variance * (left + left**2 / number)))


def _paces(charges: Iterable[Charge], since: datetime) -> Mapping[Owner, Amounts]:
    recent = [charge for charge in charges if charge.day >= since]
    keys: list[tuple[Owner, Amounts]] = [(charge.owner, charge.amounts) for charge in recent]
    workspaces: list[tuple[Owner, Amounts]] = [((owner[0], None, owner[2]), amounts) for owner, amounts in keys]
    return _sums(keys + workspaces)


def _exhaustion(
    account: Account, paces: Mapping[Owner, Amounts], observed: Fraction, now: datetime
) -> Exhaustion | None:
    pace = paces.get(account.owner, NOTHING)
    caps, used = account.month.caps, account.month.used
    units: tuple[Unit, ...] = ("usd_micros", "tokens", "requests")
    ends: list[tuple[datetime, Unit]] = []
    for unit in units:
        cap, spent, recent = getattr(caps, unit), getattr(used, unit), getattr(pace, unit)
        if cap is None:
            continue
        if spent >= cap:
            ends.append((now, unit))
        elif recent:
            days = min(observed * (cap - spent) / recent, Fraction(366))
            ends.append((now + timedelta(seconds=_whole(days * _DAY_S)), unit))
    at, unit = min(ends, default=(next_month(now), "usd_micros"))
    return Exhaustion(account, unit, at) if at < next_month(now) else None


def _sums(pairs: Iterable[tuple[T, Amounts]]) -> dict[T, Amounts]:
    sums: dict[T, Amounts] = {}
    for name, amounts in pairs:
        sums[name] = sums.get(name, NOTHING) + amounts
    return sums


def _part(span: timedelta) -> Fraction:
    return Fraction(round(span.total_seconds()), _DAY_S)


def _whole(number: Fraction) -> int:
    return round(number)
