"""The life of a call: plan it, walk along the plan, and put the answer together."""

from collections.abc import Mapping, Sequence
from functools import reduce

from services.router.attempt import Attempts
from services.router.catalogue import Entry
from services.router.domain import conclusion
from services.router.domain.direct import unknown_model
from services.router.domain.offer import Offer
from services.router.embedding import EmbeddingWalk
from services.router.job import Attempted, Job
from services.router.planning import Planner
from services.router.providers.base import ChatAnswer, EmbedAnswer
from services.router.retries import Retries
from services.router.telling import Telling
from services.router.vectors import in_parts
from services.router.walk import Walk, gone
from shared import failpoints
from shared.clock import Clock
from shared.errors import OmniError, invalid
from shared.messages.catalogue import AliasV1
from shared.messages.router import InvokedV1, InvokeV1, TokensV1
from shared.messages.vocabulary import Capability
from shared.streams import Asker, AskerGoneError, Sink


class Invoke:
    """Answers ``InvokeV1``."""

    def __init__(self, planner: Planner, attempts: Attempts, retries: Retries, clock: Clock) -> None:
        self._planner, self._attempts, self._retries, self._clock = planner, attempts, retries, clock

    async def __call__(self, request: InvokeV1, asker: Asker | None = None) -> InvokedV1:
        """The first good answer along the alias's chain. Raises OmniError as ``InvokeV1`` says."""
        began = self._clock.monotonic()
        failpoints.passing("router.received")
        alias = await self._planner.alias(request)
        _check(request, alias)
        planned = await self._planner.plan(alias, request)
        sink, telling = asker if isinstance(asker, Sink) else None, None
        if sink is not None and request.embedding is None:
            telling = Telling(sink, alias.on_stream_cut, plain=request.options.is_plain)
        job = Job(request, alias, deadline=began + alias.time_limits.total_s, telling=telling, asker=asker)
        walk = self._walk(job, planned.entries)
        try:
            attempted = await walk.along(planned.steps)
        except OmniError as error:
            raise unknown_model(error, alias, _offers(planned.entries)) from None
        try:
            await _deliver(attempted, telling, sink)
        except AskerGoneError:
            raise gone() from None
        failpoints.passing("router.replies")
        return self._answer(walk, job, attempted, began)

    def _walk(self, job: Job, entries: Mapping[str, Entry]) -> Walk:
        if job.request.embedding is not None:
            return EmbeddingWalk(job, self._attempts, self._retries, self._clock, entries)
        return Walk(job, self._attempts, self._retries, self._clock)

    def _answer(self, walk: Walk, job: Job, attempted: Attempted, began: float) -> InvokedV1:
        result = attempted.result
        text, telling = (result.text if isinstance(result, ChatAnswer) else ""), job.telling
        return InvokedV1(
            call_id=job.request.call_id,
            alias_name=job.alias.alias_name,
            capability=job.alias.capability,
            provider=attempted.view.provider,
            model=attempted.view.model,
            text=telling.text if telling is not None else text,
            tool_calls=result.tool_calls if isinstance(result, ChatAnswer) else (),
            finish_reason=result.finish_reason if isinstance(result, ChatAnswer) else "stop",
            tokens=_tokens(walk.parts),
            cost_usd_micros=_cost(walk.parts),
            fallback_reason=conclusion.fallback_reason(walk.done, attempted.view),
            attempts=tuple(walk.done),
            continued=tuple(walk.targets_of_parts()),
            warnings=conclusion.warnings(walk.done, attempted.near_cap),
            latency_ms=round(1000 * (self._clock.monotonic() - began)),
            funds=attempted.view.funds,
        )


def _offers(entries: Mapping[str, Entry]) -> Mapping[str, Offer]:
    return {provider: entry.offer for provider, entry in entries.items()}


def _check(request: InvokeV1, alias: AliasV1) -> None:
    if request.capability not in (None, alias.capability):
        raise invalid(f"This alias does {alias.capability}, not {request.capability}.", alias_name=alias.alias_name)
    if (alias.capability is Capability.EMBEDDING) != (request.embedding is not None):
        wanted = "input" if alias.capability is Capability.EMBEDDING else "prompt or messages"
        raise invalid(f"This alias does {alias.capability}: give it {wanted}.", alias_name=alias.alias_name)


async def _deliver(attempted: Attempted, telling: Telling | None, sink: Sink | None) -> None:
    if telling is not None and isinstance(attempted.result, ChatAnswer):
        await telling.whole(attempted.result, heard=attempted.heard)
    elif sink is not None and isinstance(attempted.result, EmbedAnswer):
        for part in in_parts(attempted.result.vectors):
            await sink.send(part)


def _tokens(parts: Sequence[Attempted]) -> TokensV1:
    """Usage of all attempts that delivered a part: their sum, unknown where one of them is."""
    told = [part.tokens for part in parts]
    return reduce(_plus, told[1:], told[0])


def _plus(one: TokensV1, other: TokensV1) -> TokensV1:
    pairs = {name: (getattr(one, name), getattr(other, name)) for name in TokensV1.model_fields}
    return TokensV1(**{name: None if None in pair else sum(pair) for name, pair in pairs.items()})


def _cost(parts: Sequence[Attempted]) -> int | None:
    costs = [part.cost_usd_micros for part in parts]
    return None if None in costs else sum(cost for cost in costs if cost is not None)
