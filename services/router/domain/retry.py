"""What follows an attempt that failed: another target, another key, the same again after a pause, or the end.

While another target remains nothing is asked twice: the next one is faster than waiting. On the last one, what failed
quickly and was not paid for is tried again, so seldom that retries never become the load that keeps a provider down.
"""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass

from services.router.domain.outcome import Step, billing, policy
from shared.messages.vocabulary import Billing, Outcome

MOST_RETRIES = 2
BACKOFF_S = 0.25
LONGEST_WAIT_S = 10.0
# An answer to a retry needs some time as well.
ROOM_S = 1.0
SHARE = 0.1
RESERVE = 5.0
REFILL_PER_S = 0.05
MOST_SAVED = 50.0
MOST_ACCOUNTS = 10_000

_PASSING = frozenset({Outcome.PROVIDER_ERROR, Outcome.RATE_LIMITED, Outcome.CONNECTION_ERROR})
"""Outcomes that may be over in a moment. Silence is not one: who was silent for seconds is not asked to be it again."""

_FOR_GOOD = frozenset({"destination_not_allowed", "tls_failed"})
"""Reasons why a connection fails that another try does not change."""


@dataclass(frozen=True)
class Stop:
    """No target would answer this; the call ends."""


@dataclass(frozen=True)
class NextTarget:
    """Go on with another model or provider."""


@dataclass(frozen=True)
class NextKey:
    """This key will not do: go on with another, of this target or the next."""


@dataclass(frozen=True)
class RetrySame:
    """Try the same again after ``after_s`` seconds or, so that not all come at once, at random up to ``spread_s``."""

    after_s: float
    spread_s: float = 0.0

    def drawn(self, chance: float) -> "RetrySame":
        """With its pause settled by ``chance``, a random number from 0 to 1."""
        return RetrySame(max(self.after_s, chance * self.spread_s))


Decision = Stop | NextTarget | NextKey | RetrySame
_STEPS: Mapping[Step, Stop | NextTarget | NextKey] = {
    Step.STOP: Stop(),
    Step.NEXT_TARGET: NextTarget(),
    Step.NEXT_KEY: NextKey(),
}


@dataclass(frozen=True)
class Ended:
    """How an attempt ended, and what is left of its call.

    Attributes:
        sent: a byte of the request may have reached the provider.
        answered: it answered with an error of its own, a status of 300 or more.
        others_remain: another target remains to be tried.
        tries: how often this target has been tried again already.
        left_s: seconds until the call's deadline.
        keys_remain: another key of this target remains to be tried.
        detail: as in ``Failure``.
    """

    outcome: Outcome
    sent: bool
    answered: bool
    retry_after_s: float | None
    others_remain: bool
    tries: int
    left_s: float
    keys_remain: bool = False
    detail: str | None = None


def decide(ended: Ended) -> Decision:
    """What follows. A ``RetrySame`` still has to be drawn, and granted by ``RetryBudget.take``.

    After a ``CONTEXT_LENGTH_EXCEEDED`` only targets with a larger window count as remaining.
    """
    step = _STEPS[policy(ended.outcome)]
    elsewhere = ended.others_remain or (ended.keys_remain and isinstance(step, NextKey))
    if isinstance(step, Stop) or elsewhere or ended.tries >= MOST_RETRIES or not may_be_repeated(ended):
        return step
    after_s, spread_s = ended.retry_after_s or 0.0, BACKOFF_S * 2**ended.tries
    longest_s = max(after_s, spread_s)
    if longest_s > LONGEST_WAIT_S or longest_s + ROOM_S > ended.left_s:
        return step
    return RetrySame(after_s, spread_s)


def may_be_repeated(ended: Ended) -> bool:
    """Whether the failure may pass, and certainly nothing was generated that would have to be paid for."""
    unpaid = billing(ended.outcome, ended.sent, ended.answered) is Billing.NOTHING
    return ended.outcome in _PASSING and ended.detail not in _FOR_GOOD and unpaid


class RetryBudget:
    """How many retries each workspace may still make at each provider: a share of its calls, and a small reserve.

    Every moment is monotonic seconds, given by the caller. The account longest unused is forgotten.
    """

    def __init__(self, most: int = MOST_ACCOUNTS) -> None:
        self._most = most
        self._accounts: OrderedDict[tuple[int, str], tuple[float, float]] = OrderedDict()

    def called(self, workspace_id: int, provider: str, now: float) -> None:
        """A call has begun its first attempt at ``provider``, which saves up for a share of a retry."""
        self._save(workspace_id, provider, min(self._left(workspace_id, provider, now) + SHARE, MOST_SAVED), now)

    def take(self, workspace_id: int, provider: str, now: float) -> bool:
        """Spend one retry; False when there is none left, and then none may be made."""
        left = self._left(workspace_id, provider, now)
        self._save(workspace_id, provider, left - 1 if left >= 1 else left, now)
        return left >= 1

    def _left(self, workspace_id: int, provider: str, now: float) -> float:
        left, since = self._accounts.get((workspace_id, provider), (RESERVE, now))
        return max(left, min(RESERVE, left + REFILL_PER_S * (now - since)))

    def _save(self, workspace_id: int, provider: str, left: float, now: float) -> None:
        self._accounts[workspace_id, provider] = (left, now)
        self._accounts.move_to_end((workspace_id, provider))
        if len(self._accounts) > self._most:
            self._accounts.popitem(last=False)
