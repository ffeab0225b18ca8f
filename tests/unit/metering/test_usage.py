"""Sums, stretches of time, histograms, and what the month will come to."""

import random
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.metering.domain import latency
from services.metering.domain.forecast import Charge, first_day, forecast
from services.metering.domain.ledger import Account, Amounts, Caps, Window
from services.metering.domain.usage import (
    Counters,
    Piece,
    RollupKey,
    by_day,
    day_of,
    hour_after,
    hour_of,
    pieces,
    total,
)
from shared.messages.vocabulary import Funds

NOW = datetime(2026, 11, 23, 10, 30, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
KEY = UUID(int=1)
moments = st.datetimes(datetime(2026, 1, 1), datetime(2026, 3, 1), timezones=st.just(UTC))  # noqa: DTZ001 - bounds are naive here


def test_hours() -> None:
    assert hour_of(NOW) == datetime(2026, 11, 23, 10, tzinfo=UTC)
    assert hour_after(NOW) == datetime(2026, 11, 23, 11, tzinfo=UTC)
    assert hour_after(hour_of(NOW)) == hour_of(NOW)


@given(moments, moments)
def test_pieces_are_the_hours_asked_for_each_once(since: datetime, until: datetime) -> None:
    hours: list[datetime] = []
    for piece in pieces(since, until):
        assert piece.since is not None
        assert piece.until is not None
        if piece.grain == "day":
            assert (day_of(piece.since), day_of(piece.until)) == (piece.since, piece.until)
        hours += [piece.since + n * HOUR for n in range(round((piece.until - piece.since) / HOUR))]
    first, last = hour_of(since), hour_after(until)
    assert hours == [first + n * HOUR for n in range(max(0, round((last - first) / HOUR)))]


def test_pieces_without_bounds() -> None:
    hour, day = datetime(2026, 11, 23, 10, tzinfo=UTC), datetime(2026, 11, 23, tzinfo=UTC)
    assert pieces(None, None) == (Piece("day", None, None),)
    assert pieces(NOW, None) == (Piece("hour", hour, day + DAY), Piece("day", day + DAY, None))
    assert pieces(None, NOW) == (Piece("day", None, day), Piece("hour", day, hour + HOUR))


def test_days_are_the_sums_of_their_hours() -> None:
    chance = random.Random(5)  # noqa: S311 - a test's inputs
    hours = {
        RollupKey(1, hour_of(NOW) + n * HOUR, "p", "a", f"m{n % 3}", KEY, "chat", "own", "success"): Counters(
            *(chance.randrange(100) for _ in Counters._fields)
        )
        for n in range(60)
    }
    days = by_day(hours)
    assert {key.at for key in days} == {day_of(key.at) for key in hours}
    assert total(days.values()) == total(hours.values())
    assert list(days) == sorted(days)


@given(st.lists(st.integers(0, latency.LONGEST_MS), min_size=1, max_size=300))
def test_quantiles_are_within_5_percent(measured: list[int]) -> None:
    found = latency.quantiles(sum(map(latency.histogram, measured)))
    assert found.count == len(measured)
    for percent, value in ((50, found.p50), (95, found.p95), (99, found.p99)):
        exact = sorted(measured)[-(-len(measured) * percent // 100) - 1]
        assert value is not None
        assert abs(value - exact) <= latency.ACCURACY * exact + 1


def test_a_histogram_counts_to_a_million_million() -> None:
    many = latency.histogram(412) * (10**latency.LANE - 1) + latency.histogram(1) + latency.histogram(10**9)
    assert sum(latency.counts(many)) == 10**latency.LANE + 1
    assert latency.quantiles(many).count == 10**latency.LANE + 1
    assert latency.quantiles(0) == latency.Quantiles()
    assert latency.histogram(None) == 0


# -- the month to come


def charges(*micros: int, key: UUID = KEY) -> list[Charge]:
    """One a day: the last is today's."""
    days = [day_of(NOW) - n * DAY for n in range(len(micros))]
    return [
        Charge(day, (1, key, Funds.OWN), Amounts(amount, amount // 10, 1))
        for day, amount in zip(days, reversed(micros), strict=True)
    ]


def account(cap: int | None, spent: int, key: UUID | None = KEY) -> Account:
    return Account(1, 1, key, Funds.OWN, Window(Caps(cap), Amounts(spent)), Window())


def test_a_steady_month_has_a_narrow_range() -> None:
    # 100 a day and today's part of it; seven and a half days are left.
    ours = charges(*[100_000] * 22, 43_750)
    found = forecast(ours, [], NOW)
    assert (found.charged, found.days) == (22 * 100_000 + 43_750, 7)
    assert found.expected == found.low == found.high == 30 * 100_000
    assert found.month_ends_at == datetime(2026, 12, 1, tzinfo=UTC)


def test_a_first_day_has_no_range_and_an_empty_month_is_nothing() -> None:
    found = forecast(charges(43_750), [], NOW)
    assert (found.days, found.low, found.high) == (0, None, None)
    assert found.expected == 43_750 + 100_000 * 7.5625
    nothing = forecast([], [account(10, 0)], NOW)
    assert (nothing.expected, nothing.budgets) == (0, ())
    assert forecast([], [], day_of(NOW)).expected == 0


def test_the_last_month_counts_for_the_pace_only() -> None:
    now = datetime(2026, 11, 2, tzinfo=UTC)
    ours = [Charge(now - n * DAY, (1, KEY, Funds.OWN), Amounts(70)) for n in range(1, 8)]
    assert first_day(now) == now - 7 * DAY
    assert forecast(ours, [], now).charged == 70
    assert forecast(ours, [], now).expected == 70 + 29 * 70


def test_the_range_holds_four_of_five_months() -> None:
    chance, held = random.Random(20261123), 0  # noqa: S311 - a test's inputs
    months = 1000
    for _ in range(months):
        real = [max(0, round(chance.gauss(1_000_000, 250_000))) for _ in range(30)]
        found = forecast(charges(*real[:22], round(real[22] * 0.4375)), [], NOW)
        assert found.low is not None
        assert found.high is not None
        held += found.low <= sum(real) <= found.high
    print(f"forecast: {held} of {months} months end within their range")
    assert 0.76 < held / months < 0.86


@pytest.mark.parametrize(
    ("cap", "spent", "days"),
    [(3_000_000, 2_243_750, None), (2_643_750, 2_243_750, 4), (2_000_000, 2_243_750, 0), (None, 2_243_750, None)],
)
def test_when_a_budget_ends(cap: int | None, spent: int, days: int | None) -> None:
    ours = charges(*[60_000] * 22, 26_250) + charges(*[40_000] * 22, 17_500, key=UUID(int=2))
    found = forecast(ours, [account(cap, spent, key=None)], NOW)
    ends = [(end.unit, round((end.at - NOW) / DAY, 6)) for end in found.budgets]
    assert ends == ([] if days is None else [("usd_micros", days)])
    alone = forecast(ours, [account(2_643_750, 2_243_750)], NOW).budgets
    assert [round((end.at - NOW) / DAY, 3) for end in alone] == [6.667]
