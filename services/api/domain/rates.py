"""How much may be asked in a minute: a window that slides over slots, added up over every edge. Pure.

What was asked in a slot counts until a minute after the slot's end, so that no 60 seconds ever see more than the limit.
A window is made of cells, one an edge and slot, each only ever replaced by a newer one of the same edge: hearing one
twice, late or again after a loss changes nothing.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import floor
from typing import Literal

SLOT_S = 0.25
SLOTS = 240
"""Slots of a minute."""

Unit = Literal["requests", "tokens"]
UNITS: tuple[Unit, ...] = ("requests", "tokens")


@dataclass(frozen=True, slots=True)
class Rates:
    """Limits a minute; None: no limit."""

    requests: int | None = None
    tokens: int | None = None

    def __bool__(self) -> bool:
        return self.requests is not None or self.tokens is not None

    def or_else(self, defaults: "Rates") -> "Rates":
        """These, and ``defaults`` where there is none."""
        requests = defaults.requests if self.requests is None else self.requests
        return Rates(requests, defaults.tokens if self.tokens is None else self.tokens)

    def of(self, unit: Unit) -> int | None:
        """The limit of one unit."""
        return self.requests if unit == "requests" else self.tokens


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a limit stands. ``reset_s``: seconds until all of it is there again, if nothing more is asked."""

    limit: int
    remaining: int
    reset_s: float


@dataclass(frozen=True, slots=True)
class Cell:
    """What one edge admitted in one slot."""

    requests: int = 0
    tokens: int = 0

    def of(self, unit: Unit) -> int:
        """The count of one unit."""
        return self.requests if unit == "requests" else self.tokens

    def plus(self, requests: int, tokens: int) -> "Cell":
        """With so many more; never below nothing."""
        return Cell(max(0, self.requests + requests), max(0, self.tokens + tokens))


_EMPTY = Cell()


def slot_of(now: float) -> int:
    """The slot of an instant (Unix seconds)."""
    return floor(now / SLOT_S)


NO_RATES = Rates()


class Window:
    """What one token or workspace asked for within the last minute, on every edge."""

    def __init__(self) -> None:
        self._cells: dict[int, dict[str, Cell]] = {}
        self._totals: dict[Unit, int] = dict.fromkeys(UNITS, 0)
        self._swept = -1

    def cell(self, edge: str, slot: int) -> Cell:
        """What ``edge`` admitted in ``slot``."""
        return self._cells.get(slot, {}).get(edge, _EMPTY)

    def put(self, edge: str, slot: int, cell: Cell) -> None:
        """This is what ``edge`` admitted in ``slot``, whatever was known of it before."""
        before = self.cell(edge, slot)
        for unit in UNITS:
            self._totals[unit] += cell.of(unit) - before.of(unit)
        self._cells.setdefault(slot, {})[edge] = cell

    def cells(self) -> Iterator[tuple[str, int, Cell]]:
        """All that is known: edge, slot, cell."""
        for slot, cells in self._cells.items():
            for edge, cell in cells.items():
                yield edge, slot, cell

    def sweep(self, now: float) -> bool:
        """Forget what is over; True when nothing is left."""
        current = slot_of(now)
        if current != self._swept:
            self._swept = current
            for slot in [slot for slot in self._cells if slot < current - SLOTS]:
                for cell in self._cells.pop(slot).values():
                    for unit in UNITS:
                        self._totals[unit] -= cell.of(unit)
        return not self._cells

    def wait(self, unit: Unit, limit: int, need: int, now: float) -> float:
        """Seconds until ``need`` more fit below ``limit``, if nothing else is asked; 0: now.

        What needs more than the whole limit waits for an empty window.
        """
        self.sweep(now)
        over = self._totals[unit] + min(need, limit) - limit
        for slot in sorted(self._cells) if over > 0 else ():
            over -= sum(cell.of(unit) for cell in self._cells[slot].values())
            if over <= 0:
                return _over_at(slot) - now
        return 0.0

    def standing(self, unit: Unit, limit: int, now: float) -> Standing:
        """Where ``limit`` stands."""
        self.sweep(now)
        used = [slot for slot, cells in self._cells.items() if any(cell.of(unit) for cell in cells.values())]
        reset_s = _over_at(max(used)) - now if used else 0.0
        return Standing(limit, max(0, limit - self._totals[unit]), reset_s)


def _over_at(slot: int) -> float:
    return (slot + SLOTS + 1) * SLOT_S


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why not now. ``scope``: whose limit; ``wait_s``: when the same would be admitted if nothing else is asked."""

    scope: str
    unit: Unit
    limit: int
    wait_s: float


def refusal(windows: Mapping[str, tuple[Window, Rates]], tokens: int, now: float) -> Refusal | None:
    """The limit that stands longest in the way of one more request of ``tokens``; None: it may come in.

    ``windows``: by scope.
    """
    needs: dict[Unit, int] = {"requests": 1, "tokens": tokens}
    found = [
        Refusal(scope, unit, limit, wait_s)
        for scope, (window, rates) in windows.items()
        for unit, need in needs.items()
        if (limit := rates.of(unit)) is not None and (wait_s := window.wait(unit, limit, need, now)) > 0
    ]
    return max(found, key=lambda refusal: refusal.wait_s, default=None)
