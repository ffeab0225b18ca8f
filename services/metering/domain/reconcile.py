"""Replacing what an attempt was charged because nobody knew by what it did cost. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from services.metering.domain.ledger import Amounts
from shared.messages.vocabulary import Billing

# Of these a rollup has sums; everything else in it stays as it is.
SUMS = ("unknown", "input_tokens", "output_tokens", "cost_usd_micros", "charged_usd_micros")


@dataclass(frozen=True, slots=True)
class Known:
    """What an attempt really cost, in micro-dollars, and what it used."""

    cost_usd_micros: int
    input_tokens: int
    output_tokens: int

    @property
    def amounts(self) -> Amounts:
        """What it is charged, besides its request."""
        return Amounts(self.cost_usd_micros, self.input_tokens + self.output_tokens, 0)


@dataclass(frozen=True, slots=True)
class Correction:
    """``before``: what was charged. ``balance``: what is added to each balance. ``sums``: and to the rollup."""

    before: Amounts
    balance: Amounts
    sums: Mapping[str, int]


def is_unknown(row: Mapping[str, Any]) -> bool:
    """Whether a row of the call log was charged without its usage or cost being known."""
    if row["billing"] == Billing.NOTHING:
        return False
    return row["cost_usd_micros"] is None or row["input_tokens"] is None or row["output_tokens"] is None


def charged(row: Mapping[str, Any], reserved_tokens: int) -> Amounts:
    """What an unknown row was charged, besides its request (``settlement`` is where it was decided)."""
    tokens = reserved_tokens
    if row["billing"] != Billing.UNKNOWN:
        known = (row["input_tokens"] or 0) + (row["output_tokens"] or 0)
        is_whole = row["input_tokens"] is not None and row["output_tokens"] is not None
        tokens = known if is_whole else max(reserved_tokens, known)
    return Amounts(row["charged_usd_micros"], tokens, 0)


def correct(row: Mapping[str, Any], reserved_tokens: int, known: Known) -> Correction:
    """From what ``row`` was charged to ``known``."""
    before = charged(row, reserved_tokens)
    sums = {
        "unknown": -1,
        "input_tokens": known.input_tokens - (row["input_tokens"] or 0),
        "output_tokens": known.output_tokens - (row["output_tokens"] or 0),
        "cost_usd_micros": known.cost_usd_micros - (row["cost_usd_micros"] or 0),
        "charged_usd_micros": known.cost_usd_micros - before.usd_micros,
    }
    return Correction(before, known.amounts - before, sums)
