"""Rate limits over any number of edges: each counts what it admits and tells the others ten times a second.

How far off it may be: two edges admit at the same moment what each does not yet know of the other, at most what
arrives at the others within ``TELL_EVERY_S`` and the way over NATS. What was too much counts, so the next minute has
that much less. The wall clocks of the machines must agree to a fraction of a second.
"""

import asyncio
import secrets
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from math import ceil

from services.api.domain.rates import (
    NO_RATES,
    SLOTS,
    UNITS,
    Cell,
    Rates,
    Refusal,
    Standing,
    Unit,
    Window,
    refusal,
    slot_of,
)
from shared.bus import Bus
from shared.clock import Clock
from shared.errors import Code, OmniError
from shared.messages.edge import RateCellV1, RatesToldV1

TELL_EVERY_S = 0.1
CELLS_AT_MOST = 4096
# What a clock may be ahead of ours, in slots.
_AHEAD = 8

Standings = tuple[tuple[Unit, Standing], ...]


@dataclass(frozen=True, slots=True)
class Allowance:
    """A call that was let in. ``standings``: the limit of each unit that is nearest to its end, where there is one."""

    subjects: tuple[str, ...] = ()
    slot: int = 0
    tokens: int = 0
    standings: Standings = ()


class RateLimitedError(OmniError):
    """``rate_limited``, with where the limits stand and the exact moment (``retry_after_ms``) to come again."""

    def __init__(self, refused: Refusal, standings: Standings) -> None:
        wait_s = ceil(refused.wait_s)
        extra = {"scope": refused.scope, "unit": refused.unit, "limit": refused.limit, "retry_after_s": wait_s}
        detail = f"This {refused.scope} may use {refused.limit:,} {refused.unit} a minute; try again in {wait_s} s."
        super().__init__(Code.RATE_LIMITED, detail, extra=extra)
        self.standings, self.retry_after_ms = standings, ceil(refused.wait_s * 1000)


class RateLimits:
    """Admits calls below the limits of their token and workspace. Register before ``Bus.start``, then ``start``.

    ``token`` and ``workspace``: the limits of those that have none of their own.
    """

    def __init__(self, bus: Bus, clock: Clock, *, token: Rates = NO_RATES, workspace: Rates = NO_RATES) -> None:
        self._bus, self._clock = bus, clock
        self._defaults = {"token": token, "workspace": workspace}
        self._edge = secrets.token_hex(4)
        self._windows: defaultdict[str, Window] = defaultdict(Window)
        self._untold: set[tuple[str, str, int]] = set()
        self._telling: asyncio.Task[None] | None = None
        self._fresh = True
        bus.listen(RatesToldV1, self._heard)
        bus.on_reconnected(self._ask_again)

    def start(self) -> None:
        """Tell and hear."""
        self._telling = asyncio.create_task(self._tell())

    async def stop(self) -> None:
        """Tell no more."""
        if self._telling is not None:
            self._telling.cancel()
            await asyncio.gather(self._telling, return_exceptions=True)

    def admit(self, token: tuple[str, Rates], workspace: tuple[int, Rates], tokens: int) -> Allowance:
        """Count one request of about ``tokens`` for a token (its id, its limits) and a workspace.

        Raises RateLimitedError.
        """
        named = {"token": (f"t:{token[0]}", token[1]), "workspace": (f"w:{workspace[0]}", workspace[1])}
        held = {
            scope: (subject, limits)
            for scope, (subject, rates) in named.items()
            if (limits := rates.or_else(self._defaults[scope]))
        }
        if not held:
            return Allowance()
        now = self._clock.now().timestamp()
        windows = {scope: (self._windows[subject], rates) for scope, (subject, rates) in held.items()}
        if (refused := refusal(windows, tokens, now)) is not None:
            raise RateLimitedError(refused, tuple(_nearest(windows.values(), now)))
        subjects, slot = tuple(subject for subject, _ in held.values()), slot_of(now)
        self._count(subjects, slot, 1, tokens)
        return Allowance(subjects, slot, tokens, tuple(_nearest(windows.values(), now)))

    def settle(self, allowance: Allowance, tokens: int) -> None:
        """It took so many tokens after all. What was let in more than a minute ago no longer counts."""
        if allowance.subjects and tokens != allowance.tokens:
            self._count(allowance.subjects, allowance.slot, 0, tokens - allowance.tokens)

    def _count(self, subjects: tuple[str, ...], slot: int, requests: int, tokens: int) -> None:
        for subject in subjects:
            cell = self._windows[subject].cell(self._edge, slot).plus(requests, tokens)
            self._put(subject, self._edge, slot, cell)
            self._untold.add((subject, self._edge, slot))

    def _put(self, subject: str, edge: str, slot: int, cell: Cell) -> None:
        current = slot_of(self._clock.now().timestamp())
        if current - SLOTS <= slot <= current + _AHEAD:
            self._windows[subject].put(edge, slot, cell)

    # -- telling ---------------------------------------------------------------------------------------------

    async def _heard(self, told: RatesToldV1) -> None:
        if told.edge == self._edge:
            return
        for cell in told.cells:
            if cell.edge != self._edge:
                self._put(cell.subject, cell.edge, cell.slot, Cell(cell.requests, cell.tokens))
        if told.fresh:
            self._untold |= self._known()

    def _ask_again(self) -> None:
        # What the others told in between is lost; what they hear from us is all we know.
        self._fresh = True
        self._untold |= self._known()

    def _known(self) -> set[tuple[str, str, int]]:
        windows = self._windows.items()
        return {(subject, edge, slot) for subject, window in windows for edge, slot, _ in window.cells()}

    async def _tell(self) -> None:
        while True:
            if (self._untold or self._fresh) and self._bus.connected_for_s:
                untold, fresh = self._untold, self._fresh
                self._untold, self._fresh = set(), False
                try:
                    await self._tell_now(untold, fresh=fresh)
                except OmniError:
                    self._untold |= untold
                    self._fresh |= fresh
            await asyncio.sleep(TELL_EVERY_S)
            self._sweep()

    async def _tell_now(self, untold: set[tuple[str, str, int]], *, fresh: bool) -> None:
        cells = [
            RateCellV1(subject=subject, edge=edge, slot=slot, requests=cell.requests, tokens=cell.tokens)
            for subject, edge, slot in untold
            for cell in (self._windows[subject].cell(edge, slot),)
        ]
        for some in [cells[at : at + CELLS_AT_MOST] for at in range(0, len(cells), CELLS_AT_MOST)] or [[]]:
            await self._bus.announce(RatesToldV1(edge=self._edge, fresh=fresh, cells=tuple(some)))

    def _sweep(self) -> None:
        now = self._clock.now().timestamp()
        for subject in [subject for subject, window in self._windows.items() if window.sweep(now)]:
            del self._windows[subject]


def _nearest(windows: Iterable[tuple[Window, Rates]], now: float) -> Iterable[tuple[Unit, Standing]]:
    for unit in UNITS:
        found = [
            window.standing(unit, limit, now) for window, rates in windows if (limit := rates.of(unit)) is not None
        ]
        if found:
            yield unit, min(found, key=lambda standing: standing.remaining)
