"""Whether something that failed should rest: a pure state machine. Moments are monotonic seconds, given by the caller.

closed → open (it rests) → half-open (its time is over: one call tries it) → closed, on probation, or open again.
What rests is tried last, not left out: an alias of one target must still be served.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple

from shared.messages.vocabulary import Outcome

IN_A_ROW = 5
WINDOW_S = 30.0
WINDOW_LEAST = 10
REST_S = 5.0
LONGEST_REST_S = 30.0
MOST_DOUBLINGS = 8
PROBE_S = 60.0
PROBATION_S = 10.0
RATE_LIMITED_S = 5.0
RATE_LIMITED_LEAST_S = 1.0
RATE_LIMITED_LONGEST_S = 60.0
QUOTA_EXHAUSTED_S = 60.0
INVALID_KEY_S = 30.0
# A caller may set shorter limits than these, and what it then does not wait for says nothing of the provider.
PATIENT_S = 10.0
PATIENT_CONNECT_S = 2.5
_OWN_LIMITS = frozenset({"total_timeout", "not_started_in_time"})
"""Silences that are the call's own: it ran out of time, or began too late."""
_TARGETS = frozenset({Outcome.PROVIDER_ERROR, Outcome.CONNECTION_ERROR, Outcome.BAD_RESPONSE})
_BY_PROMPT = frozenset({"bad_tool_call", "tool_use_failed", "json_validate_failed", "output_parse_failed"})
"""What was wrong with an answer when the model wrote it so: whoever asks for it gets it, as often as it likes."""
_SLOT_S = 5.0


class KeyScope(NamedTuple):
    """One workspace's key at a provider. ``model`` None: all of it; a provider limits rates and rights by model."""

    workspace_id: int
    key_id: str
    provider: str
    model: str | None = None


class TargetScope(NamedTuple):
    """A model at a provider, whoever calls it."""

    provider: str
    model: str


Scope = KeyScope | TargetScope


@dataclass(frozen=True)
class Rest:
    """Something rests ``until`` then (monotonic seconds of this process), because of ``reason``."""

    until: float
    reason: Outcome


@dataclass(frozen=True)
class Fault:
    """What an attempt's end says against ``scope``. ``rest_s``: it rests at once for so long; None: it is counted."""

    scope: Scope
    reason: Outcome
    rest_s: float | None = None


class Slot(NamedTuple):
    """Attempts that ended within the same few seconds."""

    number: int
    ended: int
    failed: int


@dataclass(frozen=True)
class State:
    """What is known of one scope.

    Attributes:
        rest: why and until when it rests, or rested; None: closed.
        opened_at: when ``rest`` began.
        level: how often the rest has been doubled.
        probe_until: a call is trying whether it works again; if nothing is heard of it by then, another may.
        probation_until: it has just come back, and one failure is enough.
        told_until: until when the other replicas have been told that it rests.
    """

    in_a_row: int = 0
    slots: tuple[Slot, ...] = ()
    rest: Rest | None = None
    opened_at: float = 0.0
    level: int = 0
    probe_until: float = 0.0
    probation_until: float = 0.0
    told_until: float = 0.0


CLOSED = State()


def scopes(provider: str, model: str, workspace_id: int, key_id: str) -> tuple[TargetScope, KeyScope, KeyScope]:
    """All that must work for a call: the target, the key, the key for this model."""
    return (
        TargetScope(provider, model),
        KeyScope(workspace_id, key_id, provider),
        KeyScope(workspace_id, key_id, provider, model),
    )


def resting(state: State, now: float) -> Rest | None:
    """The rest of a scope: it is open, or another call is trying it. None: it may be called at its place."""
    if state.rest is None:
        return None
    if now < state.rest.until:
        return state.rest
    return Rest(state.probe_until, state.rest.reason) if now < state.probe_until else None


def probed(state: State, now: float) -> State | None:
    """The state once a call that begins now has become its probe; None when it is no probe."""
    if state.rest is None or resting(state, now):
        return None
    return replace(state, probe_until=now + PROBE_S)


def released(state: State) -> State:
    """The state after a probe that has shown nothing: the next call may try."""
    return replace(state, probe_until=0.0)


def succeeded(state: State, began: float, now: float) -> State:
    """The state after an attempt that began at ``began`` was answered well.

    What began before the scope was opened says nothing of the time since.
    """
    if state.rest is None:
        return replace(state, in_a_row=0, slots=_counted(state.slots, now, failed=0))
    if began <= state.opened_at:
        return state
    return State(level=state.level, probation_until=now + PROBATION_S)


def failed(state: State, fault: Fault, began: float, now: float, *, probe: bool) -> State:
    """The state after an attempt that began at ``began`` has failed. ``probe``: it was this scope's probe."""
    if state.rest is not None:
        return _failed_again(state, fault, began, now, probe=probe)
    if fault.rest_s is not None:
        return _opened(fault.reason, now, fault.rest_s, level=0)
    if now < state.probation_until and began >= state.probation_until - PROBATION_S:
        return _rested(fault.reason, now, state.level + 1)
    counted = replace(state, in_a_row=state.in_a_row + 1, slots=_counted(state.slots, now, failed=1))
    if not _is_too_much(counted, now):
        return counted
    return _rested(fault.reason, now, level=0)


def told(state: State, rest: Rest | None, level: int, now: float) -> State:
    """The state after another replica has said that the scope rests, or (None) that it has come back."""
    if rest is None:
        return State(level=level, probation_until=now + PROBATION_S) if state.rest is not None else state
    if rest.until <= now or (state.rest is not None and state.rest.until >= rest.until):
        return state
    return _opened(rest.reason, now, rest.until - now, level)


def fault_of(
    concerned: tuple[TargetScope, KeyScope, KeyScope],
    outcome: Outcome,
    *,
    status: int | None,
    retry_after_s: float | None,
    waited_s: float,
    sent: bool,
    detail: str | None = None,
) -> Fault | None:
    """What an attempt's end says against one of the ``scopes`` it concerned; None: nothing, or only of its own request.

    A rate limit, a 403 and the end of what a tier of service is given concern the key for this model, an empty account
    and a 401 all of the key; an error of the provider, silence and broken answers concern the target, whoever calls it.
    A tool call that is none is the prompt's doing: one workspace's prompts must not send the others elsewhere.
    """
    target, key, key_for_model = concerned
    if outcome is Outcome.RATE_LIMITED or (outcome is Outcome.PROVIDER_ERROR and status == 429):
        rest_s = RATE_LIMITED_S if retry_after_s is None else retry_after_s
        return Fault(key_for_model, outcome, min(max(rest_s, RATE_LIMITED_LEAST_S), RATE_LIMITED_LONGEST_S))
    if outcome is Outcome.QUOTA_EXHAUSTED:
        return Fault(key, outcome, QUOTA_EXHAUSTED_S)
    if outcome is Outcome.INVALID_KEY and status is not None:
        return Fault(key_for_model if status == 403 else key, outcome, INVALID_KEY_S)
    if outcome is Outcome.TIMEOUT:
        said_so = status is not None and status >= 300
        patient = said_so or waited_s >= (PATIENT_S if sent else PATIENT_CONNECT_S)
        return Fault(target, outcome) if patient and detail not in _OWN_LIMITS else None
    return Fault(target, outcome) if outcome in _TARGETS and detail not in _BY_PROMPT else None


def _failed_again(state: State, fault: Fault, began: float, now: float, *, probe: bool) -> State:
    is_over = state.rest is not None and now >= state.rest.until
    if fault.rest_s is not None:
        # A key was refused once more: the later of both times counts.
        later = state.rest is None or now + fault.rest_s > state.rest.until
        return _opened(fault.reason, now, fault.rest_s, level=0) if later else state
    if not probe and (not is_over or now < state.probe_until or began <= state.opened_at):
        return state
    # Who is plainly down is asked every few seconds, which costs one caller a moment and brings it back soon after it
    # recovers. Silence costs that caller many seconds, so it is asked ever more seldom.
    return _rested(fault.reason, now, state.level + (fault.reason is Outcome.TIMEOUT))


def _is_too_much(state: State, now: float) -> bool:
    oldest = (now - WINDOW_S) / _SLOT_S
    recent = [slot for slot in state.slots if slot.number >= oldest]
    ended = sum(slot.ended for slot in recent)
    is_half = ended >= WINDOW_LEAST and 2 * sum(slot.failed for slot in recent) >= ended
    return state.in_a_row >= IN_A_ROW or is_half


def _counted(slots: tuple[Slot, ...], now: float, *, failed: int) -> tuple[Slot, ...]:
    number = int(now // _SLOT_S)
    if slots and slots[-1].number == number:
        last = slots[-1]
        return (*slots[:-1], Slot(number, last.ended + 1, last.failed + failed))
    return (*slots[-int(WINDOW_S // _SLOT_S) :], Slot(number, 1, failed))


def _rested(reason: Outcome, now: float, level: int) -> State:
    doubled = min(level, MOST_DOUBLINGS)
    return _opened(reason, now, min(REST_S * 2**doubled, LONGEST_REST_S), doubled)


def _opened(reason: Outcome, now: float, rest_s: float, level: int) -> State:
    return State(rest=Rest(now + rest_s, reason), opened_at=now, level=level)
