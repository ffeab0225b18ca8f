"""Replacing an unknown charge by what it was."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.metering.domain.ledger import Amounts
from services.metering.domain.reconcile import SUMS, Known, correct, is_unknown

AMOUNT = st.integers(0, 10**12)
PERHAPS = st.none() | AMOUNT


def row(billing: str, cost: int | None, read: int | None, written: int | None, charged: int) -> dict[str, Any]:
    return {
        "billing": billing, "cost_usd_micros": cost, "input_tokens": read, "output_tokens": written,
        "charged_usd_micros": charged,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("given_row", "before"),
    [
        (row("unknown", None, None, None, 700), Amounts(700, 1100, 0)),
        (row("unknown", None, 2000, 5, 700), Amounts(700, 1100, 0)),
        (row("cost", None, 8, 9, 700), Amounts(700, 17, 0)),
        (row("cost", 7, None, 9, 7), Amounts(7, 1100, 0)),
        (row("cost", 7, 2000, None, 7), Amounts(7, 2000, 0)),
    ],
)
def test_the_difference_is_to_what_was_charged(given_row: dict[str, Any], before: Amounts) -> None:
    correction = correct(given_row, 1100, Known(5, 3, 4))
    assert is_unknown(given_row)
    assert correction.before == before
    assert before + correction.balance == Amounts(5, 7, 0)


@given(PERHAPS, PERHAPS, PERHAPS, AMOUNT, AMOUNT, st.builds(Known, AMOUNT, AMOUNT, AMOUNT))
def test_sums_end_at_what_is_known(
    cost: int | None, read: int | None, written: int | None, charged: int, reserved: int, known: Known
) -> None:
    old = row("cost", cost, read, written, charged)
    correction = correct(old, reserved, known)
    assert correction.sums.keys() == set(SUMS)
    told = {"input_tokens": known.input_tokens, "output_tokens": known.output_tokens}
    for name, value in {**told, "cost_usd_micros": known.cost_usd_micros}.items():
        assert (old[name] or 0) + correction.sums[name] == value
    assert charged + correction.sums["charged_usd_micros"] == known.cost_usd_micros


def test_what_cost_nothing_is_known() -> None:
    assert not is_unknown(row("nothing", 0, None, None, 0))
    assert not is_unknown(row("cost", 7, 8, 9, 7))
