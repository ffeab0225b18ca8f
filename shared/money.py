"""Money is integer micro-dollars (1 USD = 1,000,000). Never float, and unknown is ``None``, never 0."""

from decimal import ROUND_CEILING, ROUND_HALF_UP, Decimal

MICROS_PER_USD = 1_000_000
_PLACES = Decimal("0.000001")


def micros_from_usd(usd: Decimal) -> int:
    """Exact micro-dollars of ``usd``.

    Raises:
        ValueError: ``usd`` has more than six decimals, so it cannot be held exactly.
    """
    micros = usd * MICROS_PER_USD
    if micros != micros.to_integral_value():
        raise ValueError("an amount in USD has at most six decimals")
    return int(micros)


def round_up(micros: Decimal) -> int:
    """Micro-dollars rounded up: for an upper bound, which may never be too small."""
    return int(micros.to_integral_value(ROUND_CEILING))


def round_half_up(micros: Decimal) -> int:
    """Micro-dollars rounded to the nearest, halves up: for a cost that was really incurred."""
    return int(micros.to_integral_value(ROUND_HALF_UP))


def usd_from_micros(micros: int) -> Decimal:
    """Exact USD of ``micros``, with six decimals."""
    return (Decimal(micros) / MICROS_PER_USD).quantize(_PLACES)


def format_usd(micros: int | None) -> str | None:
    """``"0.000123"`` for 123, ``None`` for unknown."""
    return None if micros is None else str(usd_from_micros(micros))
