"""Load on a provider that fails every second time: simulated calls through the machines that decide, no network."""

import heapq
import random
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from services.router.breakers import Breakers
from services.router.domain.plan import Candidate
from services.router.domain.retry import Ended, RetrySame, Stop, decide
from services.router.retries import Retries
from shared.messages.catalogue import TargetV1
from shared.messages.vocabulary import Outcome
from tests.unit.router.ticking import Ticking

CALLS = 6000
TAKES_S = {True: 0.8, False: 0.1}
CHAIN = tuple(
    Candidate(TargetV1(provider=provider, model="m"), "k", 1, "h") for provider in ("openai", "anthropic", "groq")
)


@dataclass
class Load:
    """Calls that come at ``rate`` a second and follow ``chain``; of ``failing`` every second attempt fails."""

    chain: tuple[Candidate, ...]
    failing: frozenset[str]
    rate: float
    lots: random.Random = field(default_factory=lambda: random.Random(4))  # noqa: S311 - the same lots every time
    clock: Ticking = field(default_factory=Ticking)
    attempts: int = 0
    answered: int = 0

    def __post_init__(self) -> None:
        self.breakers, self.retries = Breakers(self.clock), Retries(self.clock, self.lots.random)

    def run(self) -> float:
        """Attempts per call."""
        arrival, due = self.clock.at, list[tuple[float, int, Iterator[float]]]()
        for number in range(CALLS):
            arrival += self.lots.expovariate(self.rate)
            due.append((arrival, number, self._call()))
        heapq.heapify(due)
        while due:
            at, number, call = heapq.heappop(due)
            self.clock.at = at
            for pause in call:
                heapq.heappush(due, (at + pause, number, call))
                break
        return self.attempts / CALLS

    def _rests(self, candidate: Candidate) -> bool:
        target = candidate.target
        return self.breakers.resting(target.provider, target.model, 1, candidate.key_id) is not None

    def _call(self) -> Iterator[float]:
        left, tries, called = sorted(self.chain, key=self._rests), 0, set[str]()
        while left:
            candidate = left[0]
            if candidate.target.provider not in called:
                called.add(candidate.target.provider)
                self.retries.called(1, candidate.target.provider)
            trial = self.breakers.begin(1, candidate)
            self.attempts += 1
            works = candidate.target.provider not in self.failing or self.lots.random() < 0.5
            yield TAKES_S[works]
            if works:
                self.answered += 1
                self.breakers.ended(trial, Outcome.SUCCESS, status=200)
                return
            self.breakers.ended(trial, Outcome.PROVIDER_ERROR, status=503)
            ended = Ended(
                Outcome.PROVIDER_ERROR, sent=True, answered=True, retry_after_s=None,
                others_remain=len(left) > 1, tries=tries, left_s=60.0,
            )  # fmt: skip
            follows = self.retries.allowed(1, candidate.target.provider, decide(ended))
            if isinstance(follows, RetrySame):
                tries += 1
                yield follows.after_s
                continue
            assert not isinstance(follows, Stop)
            left, tries = left[1:], 0


@pytest.mark.parametrize("rate", [2.0, 10.0, 100.0])
@pytest.mark.parametrize("length", [1, 2, 3])
def test_attempts_stay_below_a_fifth_more_than_calls(length: int, rate: float) -> None:
    load = Load(CHAIN[:length], frozenset({"openai"}), rate)
    ratio = load.run()
    print(f"chain={length} rate={rate:g}/s calls={CALLS} attempts per call={ratio:.3f}", end=" ")
    print(f"answered={100 * load.answered / CALLS:.1f} %")
    assert ratio <= 1.2
    assert load.answered == CALLS if length > 1 else load.answered >= 0.55 * CALLS


def test_without_breakers_and_budget_it_would_be_half_as_much_again() -> None:
    load = Load(CHAIN[:2], frozenset({"openai"}), 10.0)
    load.breakers.ended = lambda *_, **__: None  # type: ignore[method-assign]
    ratio = load.run()
    print(f"chain=2 without breakers: attempts per call={ratio:.3f}")
    assert ratio > 1.4


@pytest.mark.parametrize("length", [2, 3])
def test_when_every_provider_fails_half_the_time(length: int) -> None:
    load = Load(CHAIN[:length], frozenset({"openai", "anthropic", "groq"}), 10.0)
    ratio = load.run()
    print(f"chain={length} all failing: attempts per call={ratio:.3f} answered={100 * load.answered / CALLS:.1f} %")
    # Answers are worth more here than few attempts: once along the chain, and retries out of the budget at its end.
    assert ratio <= 2 - 0.5 ** (length - 1) + 0.2
    assert load.answered >= (1 - 0.5**length) * CALLS
