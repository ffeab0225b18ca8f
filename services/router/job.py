"""A call under way and its attempts, as values."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from uuid import uuid4

from services.router.catalogue import Entry
from services.router.domain.plan import Candidate
from services.router.domain.pricing import Price
from services.router.providers.base import (
    Adapter,
    ChatAnswer,
    Dialect,
    EmbedAnswer,
    Failure,
    HttpAnswer,
    HttpRequest,
    Pending,
)
from services.router.telling import Telling
from shared.messages.catalogue import AliasV1, TargetV1
from shared.messages.metering import BudgetV1
from shared.messages.router import AttemptV1, InvokeV1, TokensV1
from shared.messages.vocabulary import Outcome
from shared.streams import Asker

Answer = ChatAnswer | EmbedAnswer


@dataclass
class Job:
    """A call under way.

    Attributes:
        deadline: monotonic seconds.
        telling: where the answer goes piece by piece; None when it is wanted whole.
        asker: who waits for it; None when nobody can tell.
        is_last: no other target remains after this one.
        resume: what was delivered before a stream was cut, which the next attempt goes on with.
        prefill: whether the next attempt may be given it as the beginning of its own answer.
    """

    request: InvokeV1
    alias: AliasV1
    deadline: float
    telling: Telling | None = None
    asker: Asker | None = None
    is_last: bool = True
    fallback_reason: Outcome | None = None
    fallback_from: TargetV1 | None = None
    resume: str | None = field(default=None, repr=False)
    prefill: bool = True


@dataclass(frozen=True)
class Attempted:
    """How an attempt ended. ``result`` None: it was never sent. ``budget``: the one that refused it.

    ``heard``: the answer came in pieces and the caller has heard them. ``prefilled``: it was to go on with a beginning.
    """

    view: AttemptV1
    result: Answer | Failure | None = None
    cost_usd_micros: int | None = None
    near_cap: tuple[BudgetV1, ...] = ()
    budget: BudgetV1 | None = None
    sent: bool = False
    prefilled: bool = False
    heard: bool = False

    @property
    def tokens(self) -> TokensV1:
        """Usage as it is accounted for."""
        return TokensV1() if self.result is None else settled(self.result.tokens, self.result)


@dataclass
class Ticket:
    """Everything that is settled about an attempt before it is sent.

    Attributes:
        decode: reads a whole HTTP answer.
        dialect: reads a streamed answer; None for what does not stream.
        began: monotonic seconds.
        prefilled: the request ends with the beginning of the answer.
        heard: the answer came as a stream.
        sent_at: monotonic seconds at which it went out; ``first_s``: seconds until a streamed answer began.
    """

    job: Job
    candidate: Candidate
    index: int
    entry: Entry
    adapter: Adapter
    http: HttpRequest = field(repr=False)
    decode: Callable[[HttpAnswer], Answer | Failure | Pending]
    dialect: Dialect | None
    price: Price | None
    bound_usd_micros: int | None
    bound_tokens: int
    began: float
    started_at: datetime
    prefilled: bool = False
    heard: bool = False
    sent_at: float = 0.0
    first_s: float | None = None
    attempt_id: str = field(default_factory=lambda: str(uuid4()))

    @property
    def keyholder(self) -> int:
        """The workspace whose key it is: the caller's, or the platform's."""
        return self.candidate.funds.keyholder(self.job.request.workspace_id)


def settled(tokens: TokensV1, answer: Answer | Failure) -> TokensV1:
    """Usage as it is accounted for: an embedding has no output, and that is known."""
    if isinstance(answer, EmbedAnswer) and tokens.input_tokens is not None and tokens.output_tokens is None:
        return tokens.model_copy(update={"output_tokens": 0})
    return tokens


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
        funds=candidate.funds,
    )
