"""A call's way along its plan: one target after another until one has answered, or nothing is left to try."""

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import replace

from services.router.attempt import Attempts
from services.router.domain import conclusion
from services.router.domain.credits import second_round
from services.router.domain.outcome import TOKENS_PER_MINUTE
from services.router.domain.plan import Candidate, Skipped, Step, larger, overtaken
from services.router.domain.retry import Decision, Ended, NextKey, NextTarget, RetrySame, Stop, decide
from services.router.job import Attempted, Job, view_of
from services.router.providers.base import Failure
from services.router.retries import Retries
from shared.clock import Clock
from shared.errors import OmniError, unavailable
from shared.messages.catalogue import TargetV1
from shared.messages.metering import BudgetV1
from shared.messages.router import AttemptV1
from shared.messages.vocabulary import Funds, Outcome
from shared.streams import AskerGoneError

RESTING = "resting"
# A stream that breaks again and again is not mended by asking for ever smaller pieces.
MOST_CONTINUATIONS = 3
_ENDS = frozenset({Outcome.CONTENT_POLICY, Outcome.CANCELLED})


class Walk:
    """One call. ``done``: every target considered so far, called or not, in order.

    ``parts``: attempts that delivered a part of the answer, the one that completed it last.
    """

    def __init__(self, job: Job, attempts: Attempts, retries: Retries, clock: Clock) -> None:
        self.done: list[AttemptV1] = []
        self.parts: list[Attempted] = []
        self._job, self._attempts, self._retries, self._clock = job, attempts, retries, clock
        self._budget: BudgetV1 | None = None
        self._called: set[str] = set()

    async def along(self, steps: Sequence[Step]) -> Attempted:
        """The attempt that answered. Raises OmniError as ``InvokeV1`` says."""
        own = [step for step in steps if step.funds is Funds.OWN]
        on_credits: Sequence[Step] = [step for step in steps if step.funds is Funds.PLATFORM]
        answered = await self._round(own)
        if answered is None and own:
            told = [(_target(view), view.outcome, view.detail) for view in self.done if view.detail != RESTING]
            on_credits = second_round(on_credits, told)
        if answered is None:
            answered = await self._round(on_credits)
        if answered is None:
            raise self._failed()
        return answered

    async def _round(self, steps: Sequence[Step]) -> Attempted | None:
        """The attempt of these that answered; None: none did."""
        ahead = deque(steps)
        while ahead:
            step = ahead.popleft()
            if isinstance(step, Skipped):
                self.done.append(passed_over(step))
                continue
            if self._job.deadline <= self._clock.monotonic():
                late = Skipped(step.target, Outcome.TIMEOUT, "no_time_left", step.key_id, funds=step.funds)
                self.done.append(passed_over(late))
                break
            if later := self._better_later(step, ahead):
                ahead.append(later)
                continue
            self._note_resting(steps, step)
            attempted, follows = await self._at(step, [one for one in ahead if isinstance(one, Candidate)])
            if not isinstance(attempted.result, Failure | None):
                self.parts.append(attempted)
                return attempted
            if isinstance(follows, Stop):
                break
            ahead = deque(_left(attempted.view, follows, step, ahead))
        return None

    def targets_of_parts(self) -> list[TargetV1]:
        """The targets that began an answer the last one went on with."""
        return [_target(part.view) for part in self.parts if isinstance(part.result, Failure)]

    def _better_later(self, step: Candidate, ahead: Sequence[Step]) -> Candidate | None:
        """``step`` at rest, when it has begun to rest since the plan was made and others are left to try before it."""
        others = [one for one in ahead if isinstance(one, Candidate) and one.resting is None]
        rest = self._attempts.resting(self._job, step) if others and step.resting is None else None
        return replace(step, resting=rest) if rest is not None else None

    def _note_resting(self, steps: Sequence[Step], step: Candidate) -> None:
        passed = overtaken(steps, step)
        if passed is None or passed.resting is None or any(view.detail == RESTING for view in self.done):
            return
        places = {step.target: step.place for step in steps}
        before = sum(view.funds is not step.funds or places[_target(view)] < passed.place for view in self.done)
        self.done.insert(before, view_of(passed, passed.resting.reason, detail=RESTING))

    async def _at(self, candidate: Candidate, rest: Sequence[Candidate]) -> tuple[Attempted, Decision]:
        """Try one target, again where that makes sense."""
        self._job.is_last = all(one.target == candidate.target for one in rest)
        passed = conclusion.passed_by(self.done, view_of(candidate, Outcome.UNKNOWN))
        self._job.fallback_reason = passed.outcome if passed is not None else None
        self._job.fallback_from = _target(passed) if passed is not None else None
        tries = 0
        while True:
            attempted = await self._once(candidate)
            self._budget = self._budget or attempted.budget
            if attempted.prefilled and attempted.view.outcome is Outcome.INVALID_REQUEST:
                # It may be the prefill alone that it does not take: asked in words, the same target may go on.
                self._job.prefill = False
                continue
            follows = self._follows(candidate, rest, attempted, tries)
            if not isinstance(follows, RetrySame):
                return attempted, follows
            tries += 1
            await self._wait(follows.after_s)

    async def _once(self, candidate: Candidate) -> Attempted:
        job, telling = self._job, self._job.telling
        if telling is not None and telling.begun:
            telling.resume(candidate.target, self.parts[-1].view.outcome)
            job.resume = telling.text
        before = telling.count if telling is not None else 0
        if candidate.target.provider not in self._called:
            self._called.add(candidate.target.provider)
            self._retries.called(job.request.workspace_id, candidate.target.provider)
        try:
            attempted = await self._make(candidate)
        except OmniError as error:
            if self.parts and telling is not None:
                raise conclusion.cut_short(job.alias, job.request.call_id, self.done, self.parts[-1].view) from None
            raise conclusion.interrupted(error, job.alias, job.request.call_id, self.done) from None
        self.done.append(attempted.view)
        if telling is not None and telling.count > before and isinstance(attempted.result, Failure):
            self.parts.append(attempted)
        return attempted

    async def _make(self, candidate: Candidate, inputs: tuple[str, ...] | None = None) -> Attempted:
        return await self._attempts.make(self._job, candidate, len(self.done), inputs)

    def _follows(self, candidate: Candidate, rest: Sequence[Candidate], attempted: Attempted, tries: int) -> Decision:
        job, view = self._job, attempted.view
        if not isinstance(attempted.result, Failure | None):
            return Stop()
        if self.parts and self.parts[-1] is attempted:
            return self._after_cut(view, continues=job.telling is not None and job.telling.continues)
        left = [one for one in _left(view, NextKey(), candidate, rest) if isinstance(one, Candidate)]
        ended = Ended(
            outcome=view.outcome,
            sent=attempted.sent,
            answered=view.status is not None and view.status >= 300,
            retry_after_s=view.retry_after_s,
            others_remain=any(one.target != candidate.target for one in left),
            tries=tries,
            left_s=job.deadline - self._clock.monotonic(),
            keys_remain=any(one.target == candidate.target for one in left),
            detail=view.detail,
        )
        return self._retries.allowed(job.request.workspace_id, candidate.target.provider, decide(ended))

    def _after_cut(self, view: AttemptV1, *, continues: bool) -> Decision:
        """A part of the answer was delivered: nothing can be taken back, but somebody may go on with it."""
        job = self._job
        job.prefill = True
        if not continues or view.outcome in _ENDS or len(self.parts) > MOST_CONTINUATIONS:
            return Stop()
        cuts = self.targets_of_parts().count(_target(view))
        if not job.is_last or view.outcome is Outcome.TIMEOUT or cuts > 1:
            return NextTarget()  # who fell silent, or breaks every time, is not asked again
        return self._retries.allowed(job.request.workspace_id, view.provider, RetrySame(0.0))

    async def _wait(self, seconds: float) -> None:
        asker = self._job.asker
        if asker is None:
            await asyncio.sleep(seconds)
            return
        try:
            async with asker.listening():
                await asyncio.sleep(seconds)
        except AskerGoneError:
            raise gone() from None

    def _failed(self) -> OmniError:
        job = self._job
        if self.done and self.done[-1].outcome is Outcome.CANCELLED:
            return gone()
        if self.parts and job.telling is not None and job.telling.begun:
            return conclusion.cut_short(job.alias, job.request.call_id, self.done, self.parts[-1].view)
        return conclusion.conclude(job.alias, job.request.call_id, self.done, self._budget)


def _left(view: AttemptV1, follows: Decision, candidate: Candidate, ahead: Sequence[Step]) -> Sequence[Step]:
    """What of ``ahead`` is worth trying after ``candidate`` has ended as ``view`` says."""
    if view.outcome is Outcome.CONTEXT_LENGTH_EXCEEDED and view.detail != TOKENS_PER_MINUTE:
        ahead = larger(ahead, candidate.window)
    if isinstance(follows, NextKey):
        return ahead
    return [one for one in ahead if one.target != candidate.target]


def _target(view: AttemptV1) -> TargetV1:
    return TargetV1(provider=view.provider, model=view.model)


def gone() -> OmniError:
    """The asker has left: nobody reads this."""
    return unavailable("The caller has gone.", carried_out="unknown")


def passed_over(step: Skipped) -> AttemptV1:
    """A target that was not called, as the caller sees it."""
    return AttemptV1(
        provider=step.target.provider,
        model=step.target.model,
        outcome=step.outcome,
        detail=step.detail,
        key_id=step.key_id,
        funds=step.funds,
    )
