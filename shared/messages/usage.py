"""Contracts of metering's reports: sums over the call log, and its rows."""

from datetime import datetime
from typing import Any, ClassVar, Literal

from pydantic import Field

from shared.messages.base import Part, Request, Service
from shared.messages.metering import BudgetV1, Unit
from shared.messages.vocabulary import Billing, Funds, Outcome

_API = (Service.API,)
MAX_HOURS = 3 * 24


GroupBy = Literal["provider", "alias", "model", "key", "capability", "outcome", "day", "hour"]


class QuantilesV1(Part):
    """Milliseconds that 50, 95 and 99 of 100 attempts did not pass, within 5 %; None: ``count`` is 0."""

    count: int = 0
    p50: int | None = None
    p95: int | None = None
    p99: int | None = None


class UsageV1(Part):
    """Sums over the call log. Tokens and cost leave out attempts whose usage is unknown (``unknown`` counts them).

    ``reserved_usd_micros``: what had been held for the attempts whose cost is known and charged. ``first_token_ms``: of
    streamed attempts only.
    """

    requests: int = 0
    succeeded: int = 0
    failed: int = 0
    unknown: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd_micros: int = 0
    charged_usd_micros: int = 0
    fallbacks: int = 0
    latency_ms_sum: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    reserved_usd_micros: int = 0
    latency_ms: QuantilesV1 = QuantilesV1()
    first_token_ms: QuantilesV1 = QuantilesV1()


class UsageGroupV1(UsageV1):
    """Sums of one group.

    ``group`` is the provider, alias, model, key id, capability, outcome, day (``YYYY-MM-DD``) or hour
    (``YYYY-MM-DDTHH:00Z``).
    """

    group: str


class FallbackV1(Part):
    """Attempts at ``target`` in place of ``fallback_from`` (both provider/model; None: not known), and why."""

    fallback_from: str | None
    target: str
    reason: Outcome
    requests: int
    succeeded: int


class FailureV1(Part):
    """How many attempts at a provider ended so; never ``success``."""

    provider: str
    outcome: Outcome
    requests: int


class ExhaustionV1(Part):
    """When a budget of the month would be used up at the pace of the last days: first in ``unit``."""

    scope: Literal["key", "workspace"]
    key_id: str | None
    funds: Funds
    unit: Unit
    at: datetime


class UsageForecastV1(Part):
    """What the calendar month (UTC) would be charged in the end, in micro-dollars, from the pace of the last days.

    ``low`` to ``high`` holds it in four of five months whose days differ as the last ones did; both None: fewer than
    two whole days to judge by. ``days``: how many whole days the pace is from, 7 at most. ``budgets``: those that would
    not last until they are reset.
    """

    month_ends_at: datetime
    charged_usd_micros: int
    expected_usd_micros: int
    low_usd_micros: int | None
    high_usd_micros: int | None
    days: int
    budgets: tuple[ExhaustionV1, ...] = ()


class UsageReportV1(Part):
    """Totals, groups, failures, fallbacks, the month's forecast and the workspace's budgets.

    Groups: biggest cost first, days and hours in their order. ``forecast`` does not depend on the range asked for.
    """

    totals: UsageV1
    groups: tuple[UsageGroupV1, ...]
    budgets: tuple[BudgetV1, ...]
    failures: tuple[FailureV1, ...] = ()
    fallbacks: tuple[FallbackV1, ...] = ()
    forecast: UsageForecastV1 | None = None


class QueryUsageV1(Request):
    """Usage of a workspace in [``since``, ``until``); whole hours, from the rollups.

    Problem ``invalid_request``: by hour over more than ``MAX_HOURS`` hours.
    """

    subject: ClassVar[str] = "ai.metering.usage.query.v1"
    owner: ClassVar[Service] = Service.METERING
    callers: ClassVar[tuple[Service, ...]] = _API
    reply: ClassVar[type[Part]] = UsageReportV1
    example: ClassVar[dict[str, Any]] = {"workspace_id": 1, "group_by": "provider"}

    workspace_id: int
    since: datetime | None = None
    until: datetime | None = None
    group_by: GroupBy | None = None


class CallV1(Part):
    """One row of the call log: one attempt. Null means unknown.

    ``fallback_from``: provider/model of the first choice, when another answers. ``reserved_usd_micros``: what was held.
    """

    attempt_id: str
    call_id: str
    workspace_id: int
    key_id: str
    provider: str
    model: str
    alias_name: str
    capability: str
    attempt_index: int
    outcome: Outcome
    billing: Billing
    status: int | None
    fallback_reason: Outcome | None
    finish_reason: str | None
    input_tokens: int | None
    output_tokens: int | None
    cache_read_tokens: int | None
    cache_write_tokens: int | None
    reasoning_tokens: int | None
    cost_usd_micros: int | None
    charged_usd_micros: int
    latency_ms: int | None
    started_at: datetime
    finished_at: datetime
    trace_id: str | None
    provider_request_id: str | None
    price_version: str | None
    funds: Funds = Funds.OWN
    fallback_from: str | None = None
    first_token_ms: int | None = None
    reserved_usd_micros: int | None = None


class CallsV1(Part):
    """A page of the call log, newest first; ``next_cursor`` None on the last page."""

    items: tuple[CallV1, ...]
    next_cursor: str | None = None


class QueryCallsV1(Request):
    """Rows of the call log, newest first. Problem ``invalid_request``: a cursor this service did not make."""

    subject: ClassVar[str] = "ai.metering.calls.query.v1"
    owner: ClassVar[Service] = Service.METERING
    callers: ClassVar[tuple[Service, ...]] = _API
    reply: ClassVar[type[Part]] = CallsV1
    example: ClassVar[dict[str, Any]] = {"workspace_id": 1, "limit": 50}

    workspace_id: int
    since: datetime | None = None
    until: datetime | None = None
    provider: str | None = None
    alias_name: str | None = None
    model: str | None = None
    key_id: str | None = None
    call_id: str | None = None
    outcome: Outcome | None = None
    cursor: str | None = None
    limit: int = Field(default=50, ge=1, le=500)
