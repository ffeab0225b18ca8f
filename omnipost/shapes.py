"""The shapes of answers, as the API gives them: plain dictionaries with names. None is unknown, money is decimal text.

A newer server may add fields: what is not named here is still in the dictionary.
"""

from typing import Any, NotRequired, TypedDict


class Budget(TypedDict):
    """A budget as it stands. ``cap_…`` None: no limit; ``held_…``: for calls under way."""

    scope: str
    key_id: str | None
    funds: str
    period: str
    halted: str | None
    cap_usd: str | None
    cap_tokens: int | None
    cap_requests: int | None
    spent_usd: str
    spent_tokens: int
    spent_requests: int
    held_usd: str
    held_tokens: int
    held_requests: int
    period_start: str
    resets_at: str


class Restrictions(TypedDict):
    """Where a key may be used; None does not restrict."""

    models: list[str] | None
    regions: list[str] | None


class Key(TypedDict):
    """A stored provider key. The key itself never comes back. ``status``: active, invalid, unverified or revoked."""

    id: str
    workspace_id: int
    provider: str
    label: str
    masked_key: str
    scopes: dict[str, bool]
    restrictions: Restrictions
    status: str
    status_reason: str | None
    monthly_budget_usd: float | None
    monthly_budget_tokens: int | None
    monthly_budget_requests: int | None
    daily_budget_usd: float | None
    daily_budget_tokens: int | None
    daily_budget_requests: int | None
    budget: Budget | None
    daily_budget: Budget | None
    destination: str | None
    version: int
    last_verified_at: str | None
    created_at: str
    updated_at: str


class Target(TypedDict):
    """A model at a provider."""

    provider: str
    model: str


class Fallback(Target):
    """A further target of an alias; a lower ``priority`` comes first."""

    priority: int


class Alias(TypedDict):
    """A name for a chain of targets. ``available`` False: none of them can be called today."""

    id: str
    workspace_id: int
    alias_name: str
    display_name: str
    modality: str
    capability: str
    primary_provider: str
    primary_model: str
    fallback_chain: list[Fallback]
    routing_preference: str
    allow_aggregators: bool
    on_stream_cut: str
    time_limits: dict[str, float]
    is_default: bool
    available: bool
    unavailable_targets: list[Target]
    created_at: str
    updated_at: str


class Skipped(TypedDict):
    """Why a target would not be tried."""

    reason: str
    detail: str | None


class PlannedTarget(TypedDict):
    """A target as a call would consider it. ``position``: from 1; None: it would not be tried."""

    provider: str
    model: str
    key_id: str | None
    would_be_tried: bool
    position: int | None
    skipped: Skipped | None
    resting: bool
    forecast_usd: str | None
    at_most_usd: str | None
    price_version: str | None
    latency_ms: int | None


class Explained(TypedDict):
    """What a call would do."""

    alias_name: str
    routing_preference: str
    targets: list[PlannedTarget]


class CalledFunction(TypedDict):
    """Which function the model wants, with what: ``arguments`` is JSON."""

    name: str
    arguments: str


class ToolCall(TypedDict):
    """A call the model wants made, in OpenAI's shape."""

    id: str
    type: str
    function: CalledFunction


class Output(TypedDict, total=False):
    """What was answered: a text with or without calls of tools, or vectors (numbers, or base64 of 32-bit floats)."""

    text: str
    tool_calls: list[ToolCall]
    embeddings: list[list[float]] | list[str]


class Tokens(TypedDict):
    """Tokens of a call."""

    input_tokens: int | None
    output_tokens: int | None
    cache_read_tokens: int | None
    cache_write_tokens: int | None
    reasoning_tokens: int | None
    total_tokens: int | None


class FallbackUsed(TypedDict):
    """Whether another target than the first choice has answered, and why."""

    used: bool
    reason: str | None


class Attempt(Target):
    """A target that was considered. ``status``: the provider's HTTP status."""

    outcome: str
    status: int | None
    latency_ms: int
    detail: NotRequired[str]
    key_id: NotRequired[str]


class Warned(TypedDict):
    """What the caller should know although the call succeeded."""

    code: str
    detail: str


class Answer(TypedDict):
    """A complete answer. ``continued``: who began an answer that this target went on with."""

    call_id: str
    alias_name: str
    capability: str
    provider: str
    model: str
    output: Output
    finish_reason: str
    usage: Tokens
    cost_usd: str | None
    fallback: FallbackUsed
    attempts: list[Attempt]
    warnings: list[Warned]
    latency_ms: int
    continued: NotRequired[list[Target]]


class Usage(TypedDict):
    """What was used. ``groups``: sums as in ``totals``, each beside its group's name."""

    totals: dict[str, Any]
    groups: list[dict[str, Any]]
    errors: dict[str, Any]
    fallbacks: dict[str, Any]
    forecast: dict[str, Any] | None
    budgets: list[Budget]


class Call(TypedDict):
    """A row of the call log: one attempt. ``charged_usd``: what it took from the budget."""

    attempt_id: str
    call_id: str
    workspace_id: int
    key_id: str
    provider: str
    model: str
    alias_name: str
    capability: str
    attempt_index: int
    outcome: str
    billing: str
    status: int | None
    fallback_reason: str | None
    finish_reason: str | None
    input_tokens: int | None
    output_tokens: int | None
    cache_read_tokens: int | None
    cache_write_tokens: int | None
    reasoning_tokens: int | None
    cost_usd: str | None
    charged_usd: str
    latency_ms: int | None
    started_at: str
    finished_at: str
    trace_id: str | None
    provider_request_id: str | None
    price_version: str | None
    funds: str
    fallback_from: str | None
    first_token_ms: int | None
    reserved_usd: str | None


class CallPage(TypedDict):
    """Rows of the call log, newest first; ``next_cursor`` None on the last page."""

    items: list[Call]
    next_cursor: str | None
