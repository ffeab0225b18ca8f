"""Grants retries: the rim of ``domain/retry.py``, which knows the time and draws lots."""

import random
from collections.abc import Callable

from services.router.domain.retry import Decision, NextTarget, RetryBudget, RetrySame
from shared.clock import Clock


class Retries:
    """Retries of this process. ``chance`` draws a number from 0 to 1."""

    def __init__(self, clock: Clock, chance: Callable[[], float] = random.random) -> None:
        self._clock, self._chance, self._budget = clock, chance, RetryBudget()

    def called(self, workspace_id: int, provider: str) -> None:
        """A call makes its first attempt at ``provider``: of every ten calls one retry is saved up."""
        self._budget.called(workspace_id, provider, self._clock.monotonic())

    def allowed(self, workspace_id: int, provider: str, decision: Decision) -> Decision:
        """``decision``, its pause drawn when it is a retry; ``NextTarget`` when no retry is left at ``provider``."""
        if not isinstance(decision, RetrySame):
            return decision
        if not self._budget.take(workspace_id, provider, self._clock.monotonic()):
            return NextTarget()
        return decision.drawn(self._chance())
