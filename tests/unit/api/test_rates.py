"""The window of rate limits: never more than the limit in any minute, and exact about when to come again."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.api.domain.rate_headers import anthropic_headers, duration, openai_headers
from services.api.domain.rates import SLOT_S, Cell, Rates, Standing, Window, refusal, slot_of

START = 1_795_000_000.0
moments = st.lists(st.floats(0, 200, allow_nan=False), min_size=1, max_size=200).map(sorted)


def ask(window: Window, rates: Rates, now: float, tokens: int = 1, edge: str = "a") -> float:
    """Seconds to wait; 0: let in, and counted."""
    refused = refusal({"token": (window, rates)}, tokens, now)
    if refused is not None:
        return refused.wait_s
    slot = slot_of(now)
    window.put(edge, slot, window.cell(edge, slot).plus(1, tokens))
    return 0.0


@given(moments, st.integers(1, 20))
def test_no_minute_sees_more_than_the_limit(when: list[float], limit: int) -> None:
    window, rates = Window(), Rates(requests=limit)
    let_in = [START + at for at in when if ask(window, rates, START + at) == 0]
    for begin in let_in:
        assert sum(begin <= at < begin + 60 for at in let_in) <= limit
    assert len(let_in) >= min(limit, len(when))


@given(moments, st.integers(1, 20), st.integers(1, 500), st.integers(1, 600))
def test_who_comes_when_he_is_told_to_is_let_in_and_not_a_moment_earlier(
    when: list[float], requests: int, tokens: int, need: int
) -> None:
    window, rates = Window(), Rates(requests, tokens)
    for at in when:
        wait_s = ask(window, rates, START + at, need)
    if wait_s == 0:
        wait_s = refused.wait_s if (refused := refusal({"t": (window, rates)}, need, START + when[-1])) else 0.0
    again = START + when[-1] + wait_s
    if wait_s > 0.01:
        assert refusal({"t": (window, rates)}, need, again - 0.005) is not None
    assert refusal({"t": (window, rates)}, need, again + 1e-6) is None
    assert 0 <= wait_s <= 60 + SLOT_S


@given(moments, st.integers(1, 10), st.randoms())
def test_cells_may_be_told_late_twice_and_in_any_order(when: list[float], limit: int, order: st.DataObject) -> None:
    first, second, rates = Window(), Window(), Rates(requests=limit)
    for at in when:
        ask(first, rates, START + at)
    cells = list(first.cells()) * 2
    order.shuffle(cells)  # type: ignore[attr-defined]
    for edge, slot, cell in cells:
        second.put(edge, slot, cell)
    now = START + when[-1]
    assert second.standing("requests", limit, now) == first.standing("requests", limit, now)
    assert second.sweep(now + 61) is True


def test_edges_add_up_and_a_correction_counts() -> None:
    window, rates = Window(), Rates(tokens=100)
    window.put("a", slot_of(START), Cell(1, 60))
    window.put("b", slot_of(START), Cell(1, 30))
    assert ask(window, rates, START, 20) == pytest.approx(60 + SLOT_S)
    window.put("a", slot_of(START), Cell(1, 5))
    assert window.standing("tokens", 100, START + 1) == Standing(100, 65, 59 + SLOT_S)
    assert ask(window, rates, START + 1, 20) == 0


def test_what_needs_more_than_the_whole_limit_waits_for_an_empty_minute() -> None:
    window, rates = Window(), Rates(tokens=100)
    assert ask(window, rates, START, 5000) == 0
    assert ask(window, rates, START, 1) == pytest.approx(60 + SLOT_S)


def test_limits_of_ones_own_come_before_the_defaults() -> None:
    assert Rates(requests=5).or_else(Rates(requests=9, tokens=7)) == Rates(5, 7)
    assert not Rates()


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0ms"), (0.02, "20ms"), (1, "1s"), (1.5, "1.5s"), (60.25, "1m0.25s"), (360, "6m0s")]
)
def test_durations_are_as_openai_writes_them(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_headers_are_those_the_sdks_know() -> None:
    standings = {"requests": Standing(60, 59, 60.25), "tokens": Standing(1000, 0, 1)}
    assert dict(openai_headers(standings)) == {  # type: ignore[arg-type]
        b"x-ratelimit-limit-requests": b"60", b"x-ratelimit-remaining-requests": b"59",
        b"x-ratelimit-reset-requests": b"1m0.25s", b"x-ratelimit-limit-tokens": b"1000",
        b"x-ratelimit-remaining-tokens": b"0", b"x-ratelimit-reset-tokens": b"1s",
    }  # fmt: skip
    now = datetime(2026, 11, 23, 10, 0, 0, tzinfo=UTC)
    told = dict(anthropic_headers(standings, now))  # type: ignore[arg-type]
    assert told[b"anthropic-ratelimit-requests-reset"] == b"2026-11-23T10:01:01Z"
    assert told[b"anthropic-ratelimit-tokens-remaining"] == b"0"
    assert len(told) == 6
