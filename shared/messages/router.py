"""Contracts of the router: invoking an alias and saying how it would go, verifying a key, and finished attempts."""

from datetime import datetime
from typing import Any, ClassVar

from pydantic import Field, model_validator

from shared.messages.base import Event, Hint, Part, Record, Request, Service
from shared.messages.catalogue import TargetV1
from shared.messages.chat import ChatMessageV1, ChatOptionsV1, DeltaV1, EmbeddingV1, ToolCallV1
from shared.messages.vocabulary import Billing, Capability, Funds, KeyStatus, Outcome

KEY_ID = "0190a5c8-5f5e-7c3e-9f7b-0a4b5c6d7e8f"
ATTEMPT_ID = "0190a5c8-6f5e-7c3e-9f7b-0a4b5c6d7e8f"
_API = (Service.API,)


class TokensV1(Part):
    """Normalised usage. ``input_tokens`` includes cache reads and writes, ``output_tokens`` includes reasoning."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_tokens: int | None = None
    cache_write_tokens: int | None = None
    reasoning_tokens: int | None = None


class AttemptV1(Part):
    """One target that was considered: called (``status`` is the provider's, None without an answer) or passed over.

    ``funds``: who would have paid.
    """

    provider: str
    model: str
    outcome: Outcome
    status: int | None = None
    latency_ms: int = 0
    detail: str | None = None
    key_id: str | None = None
    retry_after_s: float | None = None
    funds: Funds = Funds.OWN

    def public(self) -> dict[str, object]:
        """As the edge shows it; ``detail`` and ``key_id`` only where there is one."""
        shown: dict[str, object] = {
            "provider": self.provider,
            "model": self.model,
            "outcome": self.outcome.value,
            "status": self.status,
            "latency_ms": self.latency_ms,
            "funds": self.funds.value,
        }
        return shown | {name: value for name in ("detail", "key_id") if (value := getattr(self, name)) is not None}


class WarningV1(Part):
    """Something the caller should know although the call succeeded."""

    code: str
    detail: str


class InvokedV1(Part):
    """A complete answer: who gave it, what it cost, and what was tried before.

    Of an answer that was streamed ``text`` and ``tool_calls`` are whole here once more; embeddings come in parts only.
    ``continued``: the targets that began an answer this one went on with. ``funds``: who pays for it.
    """

    call_id: str
    alias_name: str
    capability: Capability
    provider: str
    model: str
    text: str = Field(default="", repr=False)
    tool_calls: tuple[ToolCallV1, ...] = ()
    finish_reason: str
    tokens: TokensV1
    cost_usd_micros: int | None
    fallback_reason: Outcome | None
    attempts: tuple[AttemptV1, ...]
    continued: tuple[TargetV1, ...] = ()
    warnings: tuple[WarningV1, ...] = ()
    latency_ms: int
    funds: Funds = Funds.OWN


class InvokeV1(Request):
    """Answer ``messages``, or embed, by the alias's chain. Never stored; core NATS only.

    ``stream`` (always for an embedding): the answer comes in parts (``DeltaV1``, see ``shared/streams.py``) before the
    final ``InvokedV1``.

    Problems: ``not_found`` (alias), ``missing_key``, ``budget_exceeded``, ``unsupported_scope``, ``provider_error``,
    ``timeout``, ``rate_limited``, ``content_policy``, ``context_length_exceeded``, ``invalid_request``,
    ``unavailable``; ``extra`` holds ``alias_name``, ``call_id`` and ``attempts``.
    """

    subject: ClassVar[str] = "ai.invoke.{workspace_id}"
    owner: ClassVar[Service] = Service.ROUTER
    callers: ClassVar[tuple[Service, ...]] = _API
    for_guests: ClassVar[bool] = True
    reply: ClassVar[type[Part]] = InvokedV1
    part: ClassVar[type[Part] | None] = DeltaV1
    max_replies: ClassVar[int] = 1_000_000
    example: ClassVar[dict[str, Any]] = {
        "workspace_id": 1, "call_id": ATTEMPT_ID, "alias_name": "fast-drafts",
        "messages": [{"role": "user", "content": "Hello!"}],
    }  # fmt: skip

    workspace_id: int
    call_id: str
    alias_name: str
    capability: Capability | None = None
    messages: tuple[ChatMessageV1, ...] = Field(default=(), max_length=2048)
    options: ChatOptionsV1 = ChatOptionsV1()
    embedding: EmbeddingV1 | None = None
    stream: bool = False

    @model_validator(mode="after")
    def _one_question(self) -> "InvokeV1":
        if bool(self.messages) == (self.embedding is not None):
            raise ValueError("either messages or an embedding")
        return self


class StreamCreditV1(Event):
    """An asker to the one router process that streams to it: how far it may go, or that nobody listens any more.

    ``upto``: the number of the last part it may send. Repeated every few seconds, so that a dead asker is noticed.
    """

    subject: ClassVar[str] = "ai.router.streams.{router}.v1"
    owner: ClassVar[Service] = Service.API
    listeners: ClassVar[tuple[Service, ...]] = (Service.ROUTER,)
    from_guests: ClassVar[bool] = True
    example: ClassVar[dict[str, Any]] = {"router": "f3b1c2", "stream": ATTEMPT_ID, "upto": 64}

    router: str = Field(pattern=r"^[0-9a-z]{1,32}$")
    stream: str
    upto: int
    gone: bool = False


class BreakerChangedV1(Hint):
    """A router to its replicas: a target, or a workspace's key (``model`` None: for every model), rests or is back.

    ``scope`` names it in a subject. ``rest_s``: for how much longer it rests; 0, without a ``reason``: it is back.
    ``level``: how often its rest has been doubled.
    """

    subject: ClassVar[str] = "$KV.ai_router_breakers.{scope}.v1"
    owner: ClassVar[Service] = Service.ROUTER
    listeners: ClassVar[tuple[Service, ...]] = (Service.ROUTER,)
    bucket: ClassVar[str] = "ai_router_breakers"
    keep_s: ClassVar[float] = 300.0
    example: ClassVar[dict[str, Any]] = {
        "scope": "9f86d081884c7d65", "router": "f3b1c2", "provider": "openai", "model": "gpt-4o-mini",
        "reason": "provider_error", "rest_s": 5.0,
    }  # fmt: skip

    scope: str = Field(pattern=r"^[0-9a-f]{16,64}$")
    router: str
    provider: str
    model: str | None
    workspace_id: int | None = None
    key_id: str | None = None
    reason: Outcome | None = None
    rest_s: float = Field(default=0.0, ge=0, le=3600)
    level: int = Field(default=0, ge=0, le=64)


class ForecastV1(Part):
    """What a call would cost at a target, in micro-dollars; None: it has no price.

    ``expected``: with input estimated from its size and all of the output limit used. ``at_most``: what is reserved.
    """

    expected_usd_micros: int | None
    at_most_usd_micros: int | None
    price_version: str | None = None


class PlannedTargetV1(Part):
    """One step of a plan. ``skipped``: why it would not be called, None when it would be; ``detail`` names what lacks.

    ``resting``: its breaker is open, so it comes after those that are not. ``funds``: who would pay.
    """

    provider: str
    model: str
    key_id: str | None = None
    skipped: Outcome | None = None
    detail: str | None = None
    resting: bool = False
    forecast: ForecastV1 | None = None
    latency_ms: int | None = None
    funds: Funds = Funds.OWN


class ExplainedV1(Part):
    """The plan of a call: what would be tried in this order, and what is passed over."""

    alias_name: str
    routing_preference: str
    targets: tuple[PlannedTargetV1, ...]


class ExplainV1(Request):
    """Say what a call would do, without calling anyone. Problem ``not_found`` (alias), ``invalid_request``."""

    subject: ClassVar[str] = "ai.router.aliases.explain.v1"
    owner: ClassVar[Service] = Service.ROUTER
    callers: ClassVar[tuple[Service, ...]] = _API
    reply: ClassVar[type[Part]] = ExplainedV1
    example: ClassVar[dict[str, Any]] = {"workspace_id": 1, "alias_id": KEY_ID}

    workspace_id: int
    alias_id: str
    messages: tuple[ChatMessageV1, ...] = Field(default=(), max_length=2048)
    options: ChatOptionsV1 = ChatOptionsV1()
    embedding: EmbeddingV1 | None = None


class VerdictV1(Part):
    """What a verification found. ``unverified``: the provider could not be asked; ``reason`` says why."""

    status: KeyStatus
    reason: str | None = None


class VerifyKeyV1(Request):
    """Ask the provider, by a call that costs nothing, whether it accepts the key; the vault records the verdict."""

    max_replies: ClassVar[int] = 20
    subject: ClassVar[str] = "ai.router.keys.verify.v1"
    owner: ClassVar[Service] = Service.ROUTER
    callers: ClassVar[tuple[Service, ...]] = (Service.API, Service.VAULT)
    reply: ClassVar[type[Part]] = VerdictV1
    example: ClassVar[dict[str, Any]] = {"workspace_id": 1, "key_id": KEY_ID}

    workspace_id: int
    key_id: str


class CallFinishedV1(Record):
    """An attempt has ended, whether it was sent or not: settle its reservation and write its row.

    ``sent`` False: nothing reached the provider (no row is written, the hold is released). ``tokens`` and
    ``cost_usd_micros`` None: unknown.
    """

    subject: ClassVar[str] = "ai.calls.finished.v1"
    owner: ClassVar[Service] = Service.ROUTER
    stream: ClassVar[str] = "CALLS"
    consumer: ClassVar[Service] = Service.METERING
    example: ClassVar[dict[str, Any]] = {
        "attempt_id": ATTEMPT_ID, "call_id": ATTEMPT_ID, "workspace_id": 1, "key_id": KEY_ID, "provider": "openai",
        "model": "gpt-4o-mini", "alias_name": "fast-drafts", "capability": "chat", "attempt_index": 0,
        "sent": True, "outcome": "success", "billing": "cost", "status": 200, "finish_reason": "stop",
        "tokens": {"input_tokens": 8, "output_tokens": 9}, "cost_usd_micros": 7, "latency_ms": 412,
        "started_at": "2026-11-23T10:00:00Z", "finished_at": "2026-11-23T10:00:00.412Z",
    }  # fmt: skip

    attempt_id: str
    call_id: str
    workspace_id: int
    key_id: str
    provider: str
    model: str
    alias_name: str
    capability: str
    attempt_index: int
    sent: bool
    outcome: Outcome
    billing: Billing
    status: int | None = None
    fallback_reason: Outcome | None = None
    finish_reason: str | None = None
    tokens: TokensV1 = TokensV1()
    cost_usd_micros: int | None = Field(default=None, ge=0)
    latency_ms: int | None = None
    started_at: datetime
    finished_at: datetime
    trace_id: str | None = None
    provider_request_id: str | None = None
    price_version: str | None = None
    funds: Funds = Funds.OWN
    fallback_from: TargetV1 | None = None
    first_token_ms: int | None = None

    def message_id(self) -> str:
        """One fact per attempt."""
        return self.attempt_id
