"""The life of a call: plan, then for one target after another reserve, lease, call, record, and answer or go on."""

from collections.abc import Sequence

from services.router.attempt import Attempts
from services.router.catalogue import Catalogue
from services.router.domain import conclusion
from services.router.domain.outcome import Step, policy
from services.router.domain.plan import Candidate, Skipped, plan
from services.router.job import Attempted, Job
from services.router.keys import KeyDirectory
from services.router.providers.base import ChatAnswer
from shared.clock import Clock
from shared.errors import OmniError, invalid
from shared.messages.catalogue import TargetV1
from shared.messages.metering import BudgetV1
from shared.messages.router import AttemptV1, InvokedV1, InvokeV1
from shared.messages.vocabulary import Outcome


class Invoke:
    """Answers ``InvokeV1``."""

    def __init__(self, catalogue: Catalogue, directory: KeyDirectory, attempts: Attempts, clock: Clock) -> None:
        self._catalogue, self._directory, self._attempts, self._clock = catalogue, directory, attempts, clock

    async def __call__(self, request: InvokeV1) -> InvokedV1:
        """The first good answer along the alias's chain. Raises OmniError as ``InvokeV1`` says."""
        began = self._clock.monotonic()
        alias = await self._catalogue.alias(request.workspace_id, request.alias_name)
        if request.capability not in (None, alias.capability):
            raise invalid(f"This alias does {alias.capability}, not {request.capability}.", alias_name=alias.alias_name)
        keys = await self._directory.of(request.workspace_id)
        steps = plan(alias, keys, await self._catalogue.offers(), request.options)
        job = Job(request, alias, deadline=began + alias.time_limits.total_s)
        return await self._try(job, steps, began)

    async def _try(self, job: Job, steps: Sequence[Candidate | Skipped], began: float) -> InvokedV1:
        done: list[AttemptV1] = []
        budget: BudgetV1 | None = None
        exhausted: set[TargetV1] = set()
        for place, step in enumerate(steps):
            if isinstance(step, Skipped):
                done.append(_passed_over(step))
                continue
            if step.target in exhausted:
                continue
            if job.deadline <= self._clock.monotonic():
                done.append(_passed_over(Skipped(step.target, Outcome.TIMEOUT, "no_time_left", step.key_id)))
                break
            job.fallback_reason = conclusion.fallback_reason(done)
            job.is_last = not _others_remain(steps[place + 1 :], step.target)
            try:
                attempted = await self._attempts.make(job, step, len(done))
            except OmniError as error:
                raise conclusion.interrupted(error, job.alias, job.request.call_id, done) from None
            done.append(attempted.view)
            if isinstance(attempted.result, ChatAnswer):
                return self._answer(job, attempted, attempted.result, done, began)
            budget = budget or attempted.budget
            follows = policy(attempted.view.outcome)
            if follows is Step.STOP:
                break
            if follows is not Step.NEXT_KEY:
                exhausted.add(step.target)
        raise conclusion.conclude(job.alias, job.request.call_id, done, budget)

    def _answer(
        self, job: Job, attempted: Attempted, answer: ChatAnswer, done: Sequence[AttemptV1], began: float
    ) -> InvokedV1:
        return InvokedV1(
            call_id=job.request.call_id,
            alias_name=job.alias.alias_name,
            capability=job.alias.capability,
            provider=attempted.view.provider,
            model=attempted.view.model,
            text=answer.text,
            finish_reason=answer.finish_reason,
            tokens=answer.tokens,
            cost_usd_micros=attempted.cost_usd_micros,
            fallback_reason=conclusion.fallback_reason(done),
            attempts=tuple(done),
            warnings=conclusion.warnings(done, attempted.near_cap),
            latency_ms=round(1000 * (self._clock.monotonic() - began)),
        )


def _passed_over(step: Skipped) -> AttemptV1:
    return AttemptV1(
        provider=step.target.provider,
        model=step.target.model,
        outcome=step.outcome,
        detail=step.detail,
        key_id=step.key_id,
    )


def _others_remain(steps: Sequence[Candidate | Skipped], target: TargetV1) -> bool:
    return any(isinstance(step, Candidate) and step.target != target for step in steps)
