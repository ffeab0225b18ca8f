"""Says what a call would do, by the code that does it, and calls nobody: no provider, no lease, no reservation."""

from collections.abc import Sequence
from math import inf
from typing import Any

from services.router.admission import Admission
from services.router.catalogue import Catalogue
from services.router.domain.affordable import refused
from services.router.domain.credits import OWN_KEYS_FIRST, second_round
from services.router.domain.outcome import Step as Follows
from services.router.domain.outcome import policy
from services.router.domain.plan import Candidate, Skipped, Step
from services.router.job import Job
from services.router.planning import Planned, Planner
from services.router.providers.base import Unfit
from shared.bus import Bus
from shared.errors import invalid
from shared.messages.catalogue import AliasV1, TargetV1
from shared.messages.chat import ChatMessageV1, EmbeddingV1
from shared.messages.metering import BudgetsV1, BudgetV1, ListBudgetsV1
from shared.messages.router import ExplainedV1, ExplainV1, InvokeV1, PlannedTargetV1
from shared.messages.vocabulary import Capability, Funds, Outcome

_NOBODY = "00000000-0000-0000-0000-000000000000"
_SHORT = "Hello!"
"""What is asked when the caller only wants to know about the alias."""


class Explain:
    """Answers ``ExplainV1``. Raises OmniError ``unavailable`` when vault or metering cannot say how things stand."""

    def __init__(self, bus: Bus, catalogue: Catalogue, planner: Planner, admission: Admission) -> None:
        self._bus, self._catalogue, self._planner, self._admission = bus, catalogue, planner, admission

    async def __call__(self, request: ExplainV1) -> ExplainedV1:
        """The plan of a call with these messages. Raises OmniError ``not_found``, ``invalid_request``."""
        alias = await self._catalogue.alias_by_id(request.workspace_id, request.alias_id)
        question = _question(request, alias)
        planned = await self._planner.preview(alias, question)
        budgets = await self._bus.request(ListBudgetsV1(workspace_id=alias.workspace_id), BudgetsV1, repeatable=True)
        job = Job(question, alias, deadline=inf)
        own = [step for step in planned.steps if step.funds is Funds.OWN]
        on_credits = [step for step in planned.steps if step.funds is Funds.PLATFORM]
        targets = await self._round(job, own, planned, budgets.items)
        told = [(TargetV1(provider=one.provider, model=one.model), one.skipped, one.detail) for one in targets]
        follow = second_round(on_credits, told) if own else tuple(on_credits)
        targets += await self._round(job, follow, planned, budgets.items)
        targets += [self._passed(job, step) for step in on_credits if step not in follow]
        return ExplainedV1(
            alias_name=alias.alias_name, routing_preference=alias.routing_preference, targets=tuple(targets)
        )

    async def _round(
        self, job: Job, steps: Sequence[Step], planned: Planned, budgets: Sequence[BudgetV1]
    ) -> list[PlannedTargetV1]:
        targets: list[PlannedTargetV1] = []
        given_up: set[TargetV1] = set()
        for step in steps:
            if step.target in given_up:
                continue
            target = await self._target(job, step, planned, budgets)
            targets.append(target)
            if target.skipped is not None and policy(target.skipped) is not Follows.NEXT_KEY:
                given_up.add(step.target)
        return targets

    def _passed(self, job: Job, step: Step) -> PlannedTargetV1:
        """A target that would not be tried on credits, because own keys and budgets are not what is lacking."""
        return PlannedTargetV1(**self._common(job, step), skipped=Outcome.UNAVAILABLE, detail=OWN_KEYS_FIRST)

    def _common(self, job: Job, step: Step) -> dict[str, Any]:
        latency = self._planner.latency(job.request.workspace_id, step.target)
        return {
            "provider": step.target.provider,
            "model": step.target.model,
            "key_id": step.key_id,
            "latency_ms": None if latency is None else round(latency),
            "funds": step.funds,
        }

    async def _target(self, job: Job, step: Step, planned: Planned, budgets: Sequence[BudgetV1]) -> PlannedTargetV1:
        common = self._common(job, step)
        if isinstance(step, Skipped):
            return PlannedTargetV1(**common, skipped=step.outcome, detail=step.detail)
        outcome, detail = await self._refusal(job, step, budgets)
        forecast = self._planner.forecast(job.request, step.target, planned.entries[step.target.provider])
        resting = step.resting is not None
        return PlannedTargetV1(**common, skipped=outcome, detail=detail, resting=resting, forecast=forecast)

    async def _refusal(
        self, job: Job, candidate: Candidate, budgets: Sequence[BudgetV1]
    ) -> tuple[Outcome | None, str | None]:
        try:
            ticket = await self._admission.ticket(job, candidate, 0)
        except Unfit as unfit:
            return Outcome.UNSUPPORTED_OPTION, unfit.reason
        found = refused(budgets, candidate.key_id, ticket.bound_usd_micros, ticket.bound_tokens, candidate.funds)
        return found or (None, None)


def _question(request: ExplainV1, alias: AliasV1) -> InvokeV1:
    embeds = alias.capability is Capability.EMBEDDING
    if (request.messages and embeds) or (request.embedding is not None and not embeds):
        wanted = "input" if embeds else "prompt or messages"
        raise invalid(f"This alias does {alias.capability}: give it {wanted}.", alias_name=alias.alias_name)
    embedding = EmbeddingV1(inputs=(_SHORT,)) if embeds else None
    return InvokeV1(
        workspace_id=request.workspace_id,
        call_id=_NOBODY,
        alias_name=alias.alias_name,
        messages=() if embeds else request.messages or (ChatMessageV1(role="user", content=_SHORT),),
        options=request.options,
        embedding=request.embedding or embedding,
    )
