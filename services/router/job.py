"""A call under way and its attempts, as values."""

from dataclasses import dataclass, field
from datetime import datetime
from uuid import uuid4

from services.router.catalogue import Entry
from services.router.domain.plan import Candidate
from services.router.domain.pricing import Price
from services.router.providers.base import Adapter, ChatAnswer, Failure, HttpRequest
from shared.messages.catalogue import AliasV1
from shared.messages.metering import BudgetV1
from shared.messages.router import AttemptV1, InvokeV1
from shared.messages.vocabulary import Outcome


@dataclass
class Job:
    """A call under way. ``deadline``: monotonic seconds. ``is_last``: no other target remains after this one."""

    request: InvokeV1
    alias: AliasV1
    deadline: float
    is_last: bool = True
    fallback_reason: Outcome | None = None


@dataclass(frozen=True)
class Attempted:
    """How an attempt ended. ``result`` None: it was never sent. ``budget``: the one that refused it."""

    view: AttemptV1
    result: ChatAnswer | Failure | None = None
    cost_usd_micros: int | None = None
    near_cap: tuple[BudgetV1, ...] = ()
    budget: BudgetV1 | None = None


@dataclass
class Ticket:
    """Everything that is settled about an attempt before it is sent. ``began``: monotonic seconds."""

    job: Job
    candidate: Candidate
    index: int
    entry: Entry
    adapter: Adapter
    http: HttpRequest
    price: Price | None
    bound_usd_micros: int | None
    bound_tokens: int
    began: float
    started_at: datetime
    attempt_id: str = field(default_factory=lambda: str(uuid4()))


def view_of(
    candidate: Candidate,
    outcome: Outcome,
    *,
    status: int | None = None,
    latency_ms: int = 0,
    detail: str | None = None,
    retry_after_s: float | None = None,
) -> AttemptV1:
    """The attempt as the caller will see it."""
    return AttemptV1(
        provider=candidate.target.provider,
        model=candidate.target.model,
        outcome=outcome,
        status=status,
        latency_ms=latency_ms,
        detail=detail,
        key_id=candidate.key_id,
        retry_after_s=retry_after_s,
    )
