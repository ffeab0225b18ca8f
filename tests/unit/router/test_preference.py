from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from services.router.domain.preference import Preference, Signals, ordered
from shared.messages.catalogue import TargetV1

A, B, C, D = (TargetV1(provider=name, model="m") for name in "abcd")
CHAIN = (A, B, C, D)


def test_quality_is_the_written_order_whatever_is_known() -> None:
    assert ordered(CHAIN, "quality", Signals({A: 9, B: 1}, {A: 9.0, B: 1.0}, exploring=True)) == CHAIN


def test_cost_takes_the_cheapest_first_and_what_has_no_price_last() -> None:
    assert ordered(CHAIN, "cost", Signals({A: 70, B: None, C: 3, D: 70})) == (C, A, D, B)
    assert ordered(CHAIN, "cost", Signals({D: 0})) == (D, A, B, C)
    assert ordered(CHAIN, "cost", Signals()) == CHAIN


def test_speed_takes_the_fastest_first_and_looks_at_the_unmeasured_now_and_then() -> None:
    known = {A: 900.0, C: 120.5, D: None}
    assert ordered(CHAIN, "speed", Signals(latencies=known)) == (C, A, B, D)
    assert ordered(CHAIN, "speed", Signals(latencies=known, exploring=True)) == (B, D, C, A)
    assert ordered(CHAIN, "speed", Signals()) == CHAIN


COSTS = st.dictionaries(st.sampled_from(CHAIN), st.none() | st.integers(0, 3))
SPEEDS = st.dictionaries(st.sampled_from(CHAIN), st.none() | st.floats(1, 3))
PREFERENCES: st.SearchStrategy[Preference] = st.sampled_from(("quality", "cost", "speed"))


@given(st.permutations(CHAIN), PREFERENCES, st.builds(Signals, COSTS, SPEEDS, st.booleans()))
def test_nothing_is_lost_the_order_is_the_same_every_time_and_equals_stay_as_written(
    chain: list[TargetV1], preference: Preference, signals: Signals
) -> None:
    found = ordered(chain, preference, signals)
    assert sorted(map(str, found)) == sorted(map(str, chain))
    assert found == ordered(chain, preference, signals)
    judged = {"quality": {}, "cost": signals.forecasts, "speed": signals.latencies}[preference]
    for one, other in pairwise(found):
        if judged.get(one) == judged.get(other):
            assert chain.index(one) < chain.index(other)
