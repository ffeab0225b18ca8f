"""Breakers of this process, and what the other replicas say of theirs."""

import json
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from hashlib import sha256
from uuid import uuid4

from services.router.domain import breaker
from services.router.domain.breaker import CLOSED, Fault, KeyScope, Rest, Scope, State, TargetScope
from services.router.domain.plan import Candidate
from shared.clock import Clock
from shared.messages.router import BreakerChangedV1
from shared.messages.vocabulary import Outcome

MOST = 10_000
# A rest that is prolonged by less than this is not worth telling.
WORTH_TELLING_S = 1.0
# What a provider refuses because of the request itself was answered by a provider that works.
_WORKS = frozenset({Outcome.SUCCESS, Outcome.INVALID_REQUEST, Outcome.CONTENT_POLICY, Outcome.CONTEXT_LENGTH_EXCEEDED})


@dataclass(frozen=True)
class Trial:
    """An attempt that has begun. ``probes``: the scopes it tries on behalf of everybody."""

    target: TargetScope
    workspace_id: int
    key_id: str
    began: float
    probes: tuple[Scope, ...] = ()


class Breakers:
    """What rests, and why. Nothing here waits or raises. The scope longest unused is forgotten.

    Changes that other replicas should know of go where ``share`` says; theirs come in through ``hear``.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._tell: Callable[[BreakerChangedV1], None] = lambda _: None
        self._me = uuid4().hex
        self._states: OrderedDict[Scope, State] = OrderedDict()

    def share(self, tell: Callable[[BreakerChangedV1], None]) -> None:
        """From now on give every change to ``tell``, which must neither wait nor raise."""
        self._tell = tell

    def resting(
        self, provider: str, model: str, workspace_id: int, key_id: str, now: float | None = None
    ) -> Rest | None:
        """Why this target with this key should be tried after all others, and until when; None: it need not.

        ``now``: monotonic seconds, the clock's when left out. Of several rests the one that ends last.
        """
        moment = self._clock.monotonic() if now is None else now
        found = None
        for scope in breaker.scopes(provider, model, workspace_id, key_id):
            state = self._states.get(scope)
            rest = breaker.resting(state, moment) if state is not None else None
            if rest is not None and (found is None or rest.until > found.until):
                found = rest
        return found

    def begin(self, workspace_id: int, candidate: Candidate) -> Trial:
        """An attempt is about to be sent. It becomes the probe of what has rested long enough, if nobody else is.

        Ask ``resting`` once more right before: since the plan was made another call may have become the probe.
        """
        now, target = self._clock.monotonic(), TargetScope(candidate.target.provider, candidate.target.model)
        probes = []
        for scope in breaker.scopes(*target, workspace_id, candidate.key_id):
            state = self._states.get(scope)
            probed = breaker.probed(state, now) if state is not None else None
            if probed is not None:
                self._states[scope] = probed
                probes.append(scope)
        return Trial(target, workspace_id, candidate.key_id, now, tuple(probes))

    def answering(self, trial: Trial) -> None:
        """The first piece of a stream is here: what was on trial has come back, however long the rest may take."""
        for scope in trial.probes:
            self._succeeded(scope, trial.began)

    def ended(
        self,
        trial: Trial,
        outcome: Outcome,
        *,
        status: int | None = None,
        retry_after_s: float | None = None,
        sent: bool = True,
        detail: str | None = None,
    ) -> None:
        """The attempt has ended; call it once, whatever happens (``CANCELLED`` when nothing was learnt).

        ``status``: the provider's, None without an answer. ``sent``: a byte of the request may have reached it.
        ``detail``: as in ``Failure``.
        """
        waited_s = self._clock.monotonic() - trial.began
        concerned = breaker.scopes(*trial.target, trial.workspace_id, trial.key_id)
        fault = breaker.fault_of(
            concerned, outcome, status=status, retry_after_s=retry_after_s, waited_s=waited_s, sent=sent, detail=detail
        )
        for scope in concerned:
            if fault is not None and scope == fault.scope:
                self._failed(fault, trial)
            elif outcome is Outcome.SUCCESS or (outcome in _WORKS and scope in trial.probes):
                self._succeeded(scope, trial.began)
            elif scope in trial.probes:
                self._keep(scope, breaker.released(self._states.get(scope, CLOSED)))

    def hear(self, change: BreakerChangedV1, age_s: float = 0.0) -> None:
        """Take in what another replica has said ``age_s`` seconds ago."""
        if change.router == self._me:
            return
        now, scope = self._clock.monotonic(), _scope_of(change)
        rest = None
        if change.rest_s and change.reason is not None:
            rest = Rest(now + change.rest_s - max(age_s, 0.0), change.reason)
        state = self._states.get(scope, CLOSED)
        self._keep(scope, breaker.told(state, rest, change.level, now))

    def key_changed(self, workspace_id: int, key_id: str) -> None:
        """The owner has done something about the key: what was said against it may no longer hold."""
        for scope in [one for one in self._states if isinstance(one, KeyScope)]:
            if (scope.workspace_id, scope.key_id) == (workspace_id, key_id):
                del self._states[scope]

    def open_now(self) -> tuple[BreakerChangedV1, ...]:
        """All that rests now, to be told to those who may have missed it."""
        now = self._clock.monotonic()
        return tuple(
            self._change(scope, state)
            for scope, state in self._states.items()
            if state.rest is not None and now < state.rest.until
        )

    def _failed(self, fault: Fault, trial: Trial) -> None:
        before = self._states.get(fault.scope, CLOSED)
        probe = fault.scope in trial.probes
        after = breaker.failed(before, fault, trial.began, self._clock.monotonic(), probe=probe)
        is_news = after.rest is not None and (
            before.rest is None or after.rest.until >= before.told_until + WORTH_TELLING_S
        )
        if is_news:
            self._tell(self._change(fault.scope, after))
        # Many small steps are a long way: what counts is what was told, not what was known a moment ago.
        told_until = after.rest.until if is_news and after.rest is not None else before.told_until
        self._keep(fault.scope, replace(after, told_until=told_until))

    def _succeeded(self, scope: Scope, began: float) -> None:
        before = self._states.get(scope)
        if before is None and isinstance(scope, KeyScope):
            return
        after = breaker.succeeded(before or CLOSED, began, self._clock.monotonic())
        self._keep(scope, after)
        if before is not None and before.rest is not None and after.rest is None:
            self._tell(self._change(scope, after))

    def _keep(self, scope: Scope, state: State) -> None:
        if isinstance(scope, KeyScope) and state.rest is None:
            # A key is not counted, it rests or it does not.
            self._states.pop(scope, None)
            return
        self._states[scope] = state
        self._states.move_to_end(scope)
        if len(self._states) > MOST:
            self._states.popitem(last=False)

    def _change(self, scope: Scope, state: State) -> BreakerChangedV1:
        key = scope if isinstance(scope, KeyScope) else None
        return BreakerChangedV1(
            scope=sha256(json.dumps(scope).encode()).hexdigest()[:32],
            router=self._me,
            provider=scope.provider,
            model=scope.model,
            workspace_id=key.workspace_id if key else None,
            key_id=key.key_id if key else None,
            reason=state.rest.reason if state.rest else None,
            rest_s=max(state.rest.until - self._clock.monotonic(), 0.0) if state.rest else 0.0,
            level=state.level,
        )


def _scope_of(change: BreakerChangedV1) -> Scope:
    if change.workspace_id is not None and change.key_id is not None:
        return KeyScope(change.workspace_id, change.key_id, change.provider, change.model)
    return TargetScope(change.provider, change.model or "")
