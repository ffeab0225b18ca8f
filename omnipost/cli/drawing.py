"""What is drawn with characters, and what may not reach a terminal. Pure."""

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from math import floor

_BLOCKS = "▁▂▃▄▅▆▇█"
# Escape sequences, and what turns text around: an answer or a label must not steer a terminal.
_STEERING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
BAR_WIDTH = 24
WARNING, FULL = 0.8, 1.0


def harmless(text: str) -> str:
    """``text`` without what would steer a terminal; line breaks and tabs stay."""
    return _STEERING.sub("", text.replace("\r\n", "\n"))


def spark(values: Sequence[float]) -> str:
    """One block a value, the highest one full; what is nothing at all is the lowest."""
    top = max(values, default=0)
    if top <= 0:
        return _BLOCKS[0] * len(values)
    return "".join(_BLOCKS[min(7, floor(max(0.0, value) / top * 7 + 0.5))] for value in values)


def bar(share: float) -> str:
    """A bar that is full at 1; of anything above nothing at least one block shows."""
    filled = min(BAR_WIDTH, floor(share * BAR_WIDTH))
    filled = max(filled, 1 if share > 0 else 0)
    return "█" * filled + "░" * (BAR_WIDTH - filled)


def colour(share: float) -> str:
    """Green, yellow from 80 % on, red when it is full."""
    if share >= FULL:
        return "red"
    return "yellow" if share >= WARNING else "green"


def share_of(used: object, cap: object) -> float | None:
    """How much of ``cap`` is used; None without a cap. A cap of nothing is full."""
    part, whole = number(used), number(cap)
    if whole is None:
        return None
    return float(part / whole) if part is not None and whole > 0 else FULL


def number(value: object) -> Decimal | None:
    """A decimal text or number; None when it is none."""
    if value is None or isinstance(value, bool):
        return None
    try:
        return Decimal(str(value))
    except InvalidOperation:
        return None


def usd(value: object) -> str:
    """``$0.000123``; ``?`` when it is unknown."""
    return "?" if value is None else f"${value}"


def count(value: object) -> str:
    """``12,345``; ``?`` when it is unknown."""
    return f"{value:,}" if isinstance(value, int) else "?"


def seconds(ms: object) -> str:
    """Milliseconds as ``340 ms`` or ``2.3 s``; ``?`` when they are unknown."""
    if not isinstance(ms, int):
        return "?"
    return f"{ms} ms" if ms < 1000 else f"{ms / 1000:.1f} s"


def instant(text: object) -> str:
    """``2026-11-23 14:40:12`` of an ISO instant in UTC; ``-`` when there is none."""
    return str(text)[:19].replace("T", " ") if text else "-"


def names(flags: Mapping[str, bool]) -> str:
    """The names that are true, joined by commas."""
    return ", ".join(name for name, on in flags.items() if on) or "-"
