"""Measured latencies: the median of late, and whose turn it is to be tried without one."""

import random
from time import perf_counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.router.domain.latency import HALF_LIFE_S, STALE_S, Latency
from services.router.latencies import Latencies
from tests.unit.router.ticking import Ticking


@given(st.lists(st.floats(10, 600_000), min_size=1, max_size=200))
def test_the_median_is_the_median(measured: list[float]) -> None:
    latency = Latency(0.0)
    for one in measured:
        latency.add(one, 0.0)
    found = latency.p50(0.0)
    assert found is not None
    middle = sorted(measured)[(len(measured) - 1) // 2]
    assert found == pytest.approx(middle, rel=0.05)


def test_what_is_long_ago_counts_less_and_less() -> None:
    latency = Latency(0.0)
    for _ in range(100):
        latency.add(400, 0.0)
    for _ in range(30):
        latency.add(2000, HALF_LIFE_S)
    assert latency.p50(HALF_LIFE_S) == pytest.approx(400, rel=0.05)
    for _ in range(30):
        latency.add(2000, HALF_LIFE_S)
    assert latency.p50(HALF_LIFE_S) == pytest.approx(2000, rel=0.05)


def test_half_a_day_of_answers_takes_no_more_room_than_the_first() -> None:
    latency, now, random_ = Latency(0.0), 0.0, random.Random(4)  # noqa: S311 - the same lots every time
    for _ in range(50_000):
        now += 1.0
        latency.add(random_.lognormvariate(6.5, 0.5), now)
    assert latency.p50(now) == pytest.approx(665, rel=0.1)
    assert len(latency._counts) < 230
    assert max(latency._counts.values()) < 2**40
    print(f"answers=50000 p50={latency.p50(now):.0f} ms (drawn around 665) places={len(latency._counts)}")


def test_stale_is_unmeasured() -> None:
    clock = Ticking()
    latencies = Latencies(clock)
    assert latencies.p50(1, "openai", "m") is None
    latencies.record(1, "openai", "m", 300)
    assert latencies.p50(2, "openai", "m") is None
    clock.at += STALE_S
    assert latencies.p50(1, "openai", "m") == pytest.approx(300, rel=0.05)
    clock.at += 0.1
    assert latencies.p50(1, "openai", "m") is None


def test_every_twentieth_call_of_an_alias_explores_and_asking_changes_nothing() -> None:
    latencies = Latencies(Ticking())
    explored = []
    for call in range(1, 101):
        if latencies.explores(1, "fast") and latencies.explores(1, "fast"):
            explored.append(call)
        latencies.called(1, "fast")
        assert not latencies.explores(2, "fast")
    assert explored == [20, 40, 60, 80, 100]
    print(f"calls=100 exploring={len(explored)}")


def test_memory_is_bounded_and_the_longest_unused_goes_first() -> None:
    latencies = Latencies(Ticking(), most=3)
    for number in range(5):
        latencies.record(1, "openai", str(number), 100)
        latencies.called(number, "a")
        latencies.record(1, "openai", "0", 100)
    assert [model for _, _, model in latencies._measured] == ["3", "4", "0"]
    assert len(latencies._calls) == 3


def test_recording_and_asking_are_cheap() -> None:
    latencies, random_ = Latencies(Ticking()), random.Random(4)  # noqa: S311 - the same lots every time
    values = [random_.lognormvariate(6.5, 0.5) for _ in range(10_000)]
    began = perf_counter()
    for value in values:
        latencies.record(1, "openai", "m", value)
    recorded = perf_counter()
    for _ in range(1000):
        latencies.p50(1, "openai", "m")
    asked = perf_counter()
    print(f"record={1e6 * (recorded - began) / 10_000:.2f} us p50={1e6 * (asked - recorded) / 1000:.1f} us")
    assert asked - recorded < 1
