"""Contracts of the router: invoking an alias, verifying a key, and the record of a finished attempt."""

from datetime import datetime
from typing import Any, ClassVar, Literal

from pydantic import Field

from shared.messages.base import Part, Record, Request, Service
from shared.messages.vocabulary import Billing, Capability, KeyStatus, Outcome

KEY_ID = "0190a5c8-5f5e-7c3e-9f7b-0a4b5c6d7e8f"
ATTEMPT_ID = "0190a5c8-6f5e-7c3e-9f7b-0a4b5c6d7e8f"
_API = (Service.API,)


class ChatMessageV1(Part):
    """One turn of a conversation."""

    role: Literal["system", "user", "assistant"]
    content: str = Field(repr=False)


class ChatOptionsV1(Part):
    """How to answer. None leaves the choice to the provider (``max_tokens``: to the catalogue)."""

    max_tokens: int | None = Field(default=None, ge=1, le=1_000_000, strict=True)
    temperature: float | None = Field(default=None, ge=0, le=2, strict=True)
    top_p: float | None = Field(default=None, gt=0, le=1, strict=True)
    stop: tuple[str, ...] | None = Field(default=None, min_length=1, max_length=4)
    seed: int | None = Field(default=None, ge=-(2**31), lt=2**31, strict=True)


class TokensV1(Part):
    """Normalised usage. ``input_tokens`` includes cache reads and writes, ``output_tokens`` includes reasoning."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_tokens: int | None = None
    cache_write_tokens: int | None = None
    reasoning_tokens: int | None = None


class AttemptV1(Part):
    """One target that was considered: called (``status`` is the provider's, None without an answer) or passed over."""

    provider: str
    model: str
    outcome: Outcome
    status: int | None = None
    latency_ms: int = 0
    detail: str | None = None
    key_id: str | None = None
    retry_after_s: float | None = None

    def public(self) -> dict[str, object]:
        """As the edge shows it; ``detail`` and ``key_id`` only where there is one."""
        shown: dict[str, object] = {
            "provider": self.provider,
            "model": self.model,
            "outcome": self.outcome.value,
            "status": self.status,
            "latency_ms": self.latency_ms,
        }
        return shown | {name: value for name in ("detail", "key_id") if (value := getattr(self, name)) is not None}


class WarningV1(Part):
    """Something the caller should know although the call succeeded."""

    code: str
    detail: str


class InvokedV1(Part):
    """A complete answer: who gave it, what it cost, and what was tried before."""

    call_id: str
    alias_name: str
    capability: Capability
    provider: str
    model: str
    text: str = Field(repr=False)
    finish_reason: str
    tokens: TokensV1
    cost_usd_micros: int | None
    fallback_reason: Outcome | None
    attempts: tuple[AttemptV1, ...]
    warnings: tuple[WarningV1, ...] = ()
    latency_ms: int


class InvokeV1(Request):
    """Answer ``messages`` by the alias's chain. Never stored; core NATS only.

    Problems: ``not_found`` (alias), ``missing_key``, ``budget_exceeded``, ``unsupported_scope``, ``provider_error``,
    ``timeout``, ``rate_limited``, ``content_policy``, ``context_length_exceeded``, ``invalid_request``,
    ``unavailable``; ``extra`` holds ``alias_name``, ``call_id`` and ``attempts``.
    """

    subject: ClassVar[str] = "ai.invoke.{workspace_id}"
    owner: ClassVar[Service] = Service.ROUTER
    callers: ClassVar[tuple[Service, ...]] = _API
    reply: ClassVar[type[Part]] = InvokedV1
    max_replies: ClassVar[int] = 1000
    example: ClassVar[dict[str, Any]] = {
        "workspace_id": 1, "call_id": ATTEMPT_ID, "alias_name": "fast-drafts",
        "messages": [{"role": "user", "content": "Hello!"}],
    }  # fmt: skip

    workspace_id: int
    call_id: str
    alias_name: str
    capability: Capability | None = None
    messages: tuple[ChatMessageV1, ...] = Field(min_length=1, max_length=2048)
    options: ChatOptionsV1 = ChatOptionsV1()


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

    def message_id(self) -> str:
        """One fact per attempt."""
        return self.attempt_id
