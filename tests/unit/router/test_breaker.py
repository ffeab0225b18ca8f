"""Breakers: what opens them and what never does, who probes, how soon the first choice is back."""

from collections.abc import Sequence
from time import perf_counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.router.breakers import MOST, Breakers, Trial
from services.router.domain import breaker
from services.router.domain.breaker import IN_A_ROW, LONGEST_REST_S, PROBATION_S, PROBE_S, REST_S, WINDOW_LEAST
from services.router.domain.plan import Candidate
from shared.messages.catalogue import TargetV1
from shared.messages.router import BreakerChangedV1
from shared.messages.vocabulary import Outcome
from tests.unit.router.ticking import Ticking

TARGET_FAULTS = {Outcome.PROVIDER_ERROR, Outcome.CONNECTION_ERROR, Outcome.BAD_RESPONSE, Outcome.TIMEOUT}
WORKS = {Outcome.SUCCESS, Outcome.INVALID_REQUEST, Outcome.CONTENT_POLICY, Outcome.CONTEXT_LENGTH_EXCEEDED}
KEY_FAULTS = {Outcome.RATE_LIMITED, Outcome.QUOTA_EXHAUSTED, Outcome.INVALID_KEY}


class Seen:
    """Breakers with a clock of their own, and what they tell."""

    def __init__(self) -> None:
        self.clock, self.told = Ticking(), list[BreakerChangedV1]()
        self.breakers = Breakers(self.clock)
        self.breakers.share(self.told.append)

    def begin(self, model: str = "m", workspace: int = 1) -> Trial:
        target = TargetV1(provider="openai", model=model)
        return self.breakers.begin(workspace, Candidate(target, f"k{workspace}", 1, "h"))

    def attempt(
        self,
        outcome: Outcome,
        *,
        status: int | None = None,
        retry_after_s: float | None = None,
        took_s: float = 0.0,
        model: str = "m",
        workspace: int = 1,
        sent: bool = True,
        detail: str | None = None,
    ) -> None:
        trial = self.begin(model, workspace)
        self.clock.at += took_s
        self.breakers.ended(trial, outcome, status=status, retry_after_s=retry_after_s, sent=sent, detail=detail)

    def fail(self, times: int = 1) -> None:
        for _ in range(times):
            self.attempt(Outcome.PROVIDER_ERROR, status=503)

    def rest_s(self, model: str = "m", workspace: int = 1) -> float | None:
        rest = self.breakers.resting("openai", model, workspace, f"k{workspace}")
        return None if rest is None else rest.until - self.clock.at


@pytest.fixture
def seen() -> Seen:
    return Seen()


@pytest.mark.parametrize("outcome", sorted(TARGET_FAULTS))
def test_five_in_a_row_rest_the_target_for_everybody(seen: Seen, outcome: Outcome) -> None:
    for _ in range(IN_A_ROW):
        assert seen.rest_s() is None
        seen.attempt(outcome, took_s=20.0)
    assert seen.rest_s() == seen.rest_s(workspace=2) == REST_S
    assert seen.rest_s(model="other") is None
    rest = seen.breakers.resting("openai", "m", 1, "k1")
    assert rest is not None
    assert rest.reason is outcome
    assert [change.reason for change in seen.told] == [outcome]


def test_half_of_at_least_ten_rest_it_too(seen: Seen) -> None:
    for number in range(WINDOW_LEAST):
        assert seen.rest_s() is None
        seen.attempt(Outcome.PROVIDER_ERROR if number % 2 else Outcome.SUCCESS)
    assert seen.rest_s() == REST_S


def test_what_is_longer_ago_than_half_a_minute_is_forgotten(seen: Seen) -> None:
    for _ in range(50):
        seen.fail(2)
        seen.attempt(Outcome.SUCCESS, status=200)
        seen.clock.at += 12
    assert seen.rest_s() is None


@pytest.mark.parametrize(
    ("outcome", "status", "retry_after_s", "rest_s", "everywhere"),
    [
        (Outcome.RATE_LIMITED, 429, None, 5, False),
        (Outcome.RATE_LIMITED, 429, 20.0, 20, False),
        (Outcome.RATE_LIMITED, 429, 900.0, 60, False),
        (Outcome.RATE_LIMITED, 429, 0.0, 1, False),
        (Outcome.QUOTA_EXHAUSTED, 402, None, 60, True),
        (Outcome.QUOTA_EXHAUSTED, 429, 1.0, 60, True),
        (Outcome.INVALID_KEY, 401, None, 30, True),
        (Outcome.INVALID_KEY, 400, None, 30, True),
        (Outcome.INVALID_KEY, 403, None, 30, False),
        (Outcome.PROVIDER_ERROR, 429, None, 5, False),
    ],
)
def test_a_refused_key_rests_at_once_and_for_its_workspace_only(
    seen: Seen, outcome: Outcome, status: int, retry_after_s: float | None, rest_s: float, *, everywhere: bool
) -> None:
    seen.attempt(outcome, status=status, retry_after_s=retry_after_s)
    assert seen.rest_s() == rest_s
    assert seen.rest_s(workspace=2) is None
    assert seen.rest_s(model="other") == (rest_s if everywhere else None)
    seen.clock.at += rest_s
    assert seen.rest_s() is None
    seen.attempt(Outcome.SUCCESS)
    assert len([state for state in seen.breakers._states if isinstance(state, breaker.KeyScope)]) == 0


def test_a_key_that_was_changed_rests_no_longer(seen: Seen) -> None:
    for workspace in (1, 2):
        seen.attempt(Outcome.INVALID_KEY, status=401, workspace=workspace)
    seen.breakers.key_changed(1, "k1")
    assert seen.rest_s() is None
    assert seen.rest_s(workspace=2) is not None


def test_what_a_tenant_causes_itself_never_counts(seen: Seen) -> None:
    own = set(Outcome) - TARGET_FAULTS - KEY_FAULTS - {Outcome.SUCCESS}
    for outcome in own:
        for _ in range(3 * WINDOW_LEAST):
            seen.attempt(outcome, status=400)
    for _ in range(100):
        # Limits of its own making: shorter than any provider can be asked to keep.
        seen.attempt(Outcome.TIMEOUT, took_s=9.9)
        seen.attempt(Outcome.TIMEOUT, status=200, took_s=1.0)
        seen.attempt(Outcome.TIMEOUT, took_s=2.0, sent=False)
        seen.attempt(Outcome.INVALID_KEY)
        seen.attempt(Outcome.TIMEOUT, took_s=300.0, detail="total_timeout")
        seen.attempt(Outcome.BAD_RESPONSE, status=400, detail="tool_use_failed")
        seen.attempt(Outcome.BAD_RESPONSE, status=200, detail="bad_tool_call")
    assert seen.rest_s() is None
    assert seen.rest_s(workspace=2) is None
    assert seen.told == []
    print(f"outcomes that never open: {len(own)}")


def test_one_probe_at_a_time_and_its_success_brings_the_target_back(seen: Seen) -> None:
    seen.fail(IN_A_ROW)
    seen.clock.at += REST_S
    assert seen.rest_s() is None
    probe = seen.begin()
    assert probe.probes
    assert seen.rest_s() == PROBE_S
    assert not seen.begin().probes
    seen.clock.at += 1
    seen.breakers.ended(probe, Outcome.SUCCESS, status=200)
    assert seen.rest_s() is None
    assert seen.told[-1].reason is None
    seen.fail()
    assert seen.rest_s() == 2 * REST_S, "on probation one failure is enough"


def test_the_first_piece_of_a_probing_stream_is_enough(seen: Seen) -> None:
    seen.fail(IN_A_ROW)
    seen.clock.at += REST_S
    probe = seen.begin()
    seen.clock.at += 0.1
    seen.breakers.answering(probe)
    assert seen.rest_s() is None
    seen.breakers.ended(probe, Outcome.BAD_RESPONSE, status=200)
    assert seen.rest_s() is None, "begun before it came back: counted, not held against its probation"


@pytest.mark.parametrize("outcome", sorted(set(Outcome) - TARGET_FAULTS - WORKS))
def test_a_probe_that_shows_nothing_lets_the_next_call_try(seen: Seen, outcome: Outcome) -> None:
    seen.fail(IN_A_ROW)
    seen.clock.at += REST_S
    probe = seen.begin()
    assert seen.rest_s() == PROBE_S
    seen.breakers.ended(probe, outcome, status=429)
    assert seen.rest_s(workspace=2) is None
    assert seen.begin(workspace=2).probes


def test_a_probe_that_is_never_heard_of_again_expires(seen: Seen) -> None:
    seen.fail(IN_A_ROW)
    seen.clock.at += REST_S
    seen.begin()
    seen.clock.at += PROBE_S
    assert seen.begin().probes


@pytest.mark.parametrize("outcome", sorted(WORKS))
def test_an_answer_that_refuses_the_request_shows_that_the_provider_works(seen: Seen, outcome: Outcome) -> None:
    seen.fail(IN_A_ROW)
    seen.clock.at += REST_S
    seen.attempt(outcome, status=400)
    seen.fail()
    assert seen.rest_s() == 2 * REST_S


def test_what_began_before_the_opening_says_nothing_afterwards(seen: Seen) -> None:
    early = [seen.begin() for _ in range(10)]
    seen.fail(IN_A_ROW)
    seen.clock.at += 1
    for trial in early[:5]:
        seen.breakers.ended(trial, Outcome.SUCCESS, status=200)
    for trial in early[5:]:
        seen.breakers.ended(trial, Outcome.PROVIDER_ERROR, status=500)
    assert seen.rest_s() == REST_S - 1


@pytest.mark.parametrize(("outcome", "took_s"), [(Outcome.PROVIDER_ERROR, 0.05), (Outcome.TIMEOUT, 12.0)])
def test_the_first_choice_is_back_soon_after_it_recovers(seen: Seen, outcome: Outcome, took_s: float) -> None:
    waits = []
    for down_s in (1, 3, 10, 60, 600, 3600):
        seen = Seen()
        recovers = seen.clock.at + down_s
        for _ in range(IN_A_ROW):
            seen.attempt(outcome, status=503, took_s=0.05)
        while seen.rest_s() is not None or seen.clock.at < recovers:
            # A call every 50 ms: the target gets it when it does not rest.
            if seen.rest_s() is None:
                works = seen.clock.at >= recovers
                seen.attempt(Outcome.SUCCESS if works else outcome, took_s=0.05 if works else took_s)
            seen.clock.at += 0.05
        waits.append(seen.clock.at - recovers)
    print(
        f"{outcome}: back after at most {max(waits):.2f} s (down 1 s to 1 h), each={[round(one, 1) for one in waits]}"
    )
    assert max(waits) <= (6 if outcome is Outcome.PROVIDER_ERROR else LONGEST_REST_S + 12.1)


def test_who_relapses_rests_longer_until_it_has_kept_well(seen: Seen) -> None:
    rests = []
    seen.fail(IN_A_ROW)
    for _ in range(5):
        rests.append(seen.rest_s())
        seen.clock.at += rests[-1] or 0
        seen.attempt(Outcome.SUCCESS)
        seen.fail()
    assert rests == [5, 10, 20, 30, 30]
    seen.clock.at += LONGEST_REST_S
    seen.attempt(Outcome.SUCCESS)
    seen.clock.at += PROBATION_S
    seen.fail(IN_A_ROW)
    assert seen.rest_s() == REST_S


STEPS = st.lists(
    st.tuples(st.sampled_from(Outcome), st.integers(0, 3), st.floats(0, 40), st.booleans()), min_size=1, max_size=60
)


@given(STEPS)
def test_nothing_rests_for_ever_and_replicas_agree(steps: Sequence[tuple[Outcome, int, float, bool]]) -> None:
    one, two = Seen(), Seen()
    two.clock.at = one.clock.at - 500
    one.breakers.share(two.breakers.hear)
    under_way: list[Trial] = []
    for outcome, workspace, pause, keeps in steps:
        trial = one.begin(workspace=workspace)
        one.clock.at += pause
        two.clock.at += pause
        if keeps:
            under_way.append(trial)
        else:
            one.breakers.ended(trial, outcome, status=500)
        for asked in range(4):
            mine, theirs = one.rest_s(workspace=asked), two.rest_s(workspace=asked)
            assert (mine or 0) <= PROBE_S + 1e-6
            probing = any(state.probe_until > one.clock.at for state in one.breakers._states.values())
            assert probing or mine == pytest.approx(theirs, abs=breaker.RATE_LIMITED_LEAST_S + 1e-6)
    one.clock.at += PROBE_S + 1e-6
    assert all(one.rest_s(workspace=asked) is None for asked in range(4))


def test_memory_is_bounded_and_asking_is_cheap(seen: Seen) -> None:
    for number in range(MOST + 100):
        seen.attempt(Outcome.SUCCESS, model=f"m{number}")
    assert len(seen.breakers._states) == MOST
    seen.fail(IN_A_ROW)
    began = perf_counter()
    for _ in range(10_000):
        seen.breakers.resting("openai", "m", 1, "k1")
        seen.breakers.resting("openai", "m200", 1, "k1")
    rests = perf_counter()
    for _ in range(10_000):
        seen.attempt(Outcome.SUCCESS, model="m200")
    ended = perf_counter()
    print(f"scopes={MOST} resting()={1e6 * (rests - began) / 20_000:.2f} us", end=" ")
    print(f"begin() and ended()={1e6 * (ended - rests) / 10_000:.1f} us")
    assert rests - began < 2
