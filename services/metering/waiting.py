"""The room of those who wait for calls under way to settle: in memory, in order, bounded.

It decides nothing: it says whose question should be put again now. The order that binds all replicas is stored with
the accounts (``domain.admission``).
"""

import asyncio
from bisect import insort
from collections.abc import Iterable
from dataclasses import dataclass

from services.metering.domain.ledger import Ask, Decision, Owner

MAX_WAITING = 2048
LOOKS = 16
"""How many of an account are asked about at once: when the first of them does not fit, the others must wait anyway."""


@dataclass(slots=True)
class Waiting:
    """A question that has not been answered. ``since``: monotonic; ``last``: what was decided when it was last put."""

    ask: Ask
    since: float
    verdict: asyncio.Future[Decision]
    last: Decision | None = None

    @property
    def until(self) -> float:
        """When it must be answered at the latest."""
        return self.since + self.ask.wait_s


class WaitingRoom:
    """A queue for each key."""

    def __init__(self) -> None:
        self._queues: dict[Owner, list[Waiting]] = {}
        self._due: dict[Owner, None] = {}
        self._number = 0

    def __len__(self) -> int:
        return self._number

    @property
    def is_due(self) -> bool:
        """Whether somebody should be asked about now."""
        return bool(self._due)

    def enter(self, waiting: Waiting) -> bool:
        """Wait, in the order of coming; False: too many do."""
        if self._number >= MAX_WAITING:
            return False
        insort(self._queues.setdefault(waiting.ask.owners[0], []), waiting, key=lambda one: one.ask.order)
        self._number += 1
        return True

    def look(self, budgets: Iterable[int] | None = None) -> None:
        """Those stopped by one of ``budgets`` are due; None: everybody is."""
        wanted = None if budgets is None else set(budgets)
        for owner, queue in self._queues.items():
            if wanted is None or any(_stopped_by(one) in wanted for one in queue[:LOOKS]):
                self._due[owner] = None

    def look_at(self, owner: Owner) -> None:
        """Those who wait with this key are due."""
        if owner in self._queues:
            self._due[owner] = None

    def call(self, limit: int) -> list[Waiting]:
        """Up to about ``limit`` who are due leave the room, to ask again."""
        called: list[Waiting] = []
        while self._due and len(called) < limit:
            owner = next(iter(self._due))
            del self._due[owner]
            queue = self._queues.get(owner, [])
            called += queue[:LOOKS]
            self._keep(owner, queue[LOOKS:])
        return called

    def out_of_time(self, now: float) -> list[Waiting]:
        """Those whose time is up, or who are gone, leave the room."""
        leaving = []
        for owner, queue in list(self._queues.items()):
            over = [one for one in queue if one.until <= now or one.verdict.done()]
            if over:
                leaving += over
                self._keep(owner, [one for one in queue if not (one.until <= now or one.verdict.done())])
        return leaving

    def empty(self) -> list[Waiting]:
        """Everybody leaves."""
        everybody = [one for queue in self._queues.values() for one in queue]
        self._queues, self._due, self._number = {}, {}, 0
        return everybody

    def _keep(self, owner: Owner, left: list[Waiting]) -> None:
        self._number -= len(self._queues.get(owner, [])) - len(left)
        if left:
            self._queues[owner] = left
        else:
            self._queues.pop(owner, None)
            self._due.pop(owner, None)


def _stopped_by(waiting: Waiting) -> int | None:
    return None if waiting.last is None or waiting.last.account is None else waiting.last.account.budget_id
