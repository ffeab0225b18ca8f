"""Metering's use cases: check what came in, let the ledger or the store do it, answer with a contract."""

import asyncio
from datetime import UTC, datetime
from typing import get_args
from uuid import UUID

from services.metering import published
from services.metering.domain import cursor, intake
from services.metering.domain.ledger import Ask
from services.metering.domain.usage import Counters, hour_after, hour_of
from services.metering.ledger import Ledger
from services.metering.store import CallFilter, Store
from shared.clock import Clock, month_of
from shared.errors import invalid
from shared.messages.base import Service
from shared.messages.health import PingMeteringV1, ReadyV1
from shared.messages.metering import (
    BlockedV1,
    BlockKeyV1,
    BudgetsV1,
    BudgetV1,
    ListBudgetsV1,
    ReservationV1,
    ReserveV1,
    SetKeyBudgetV1,
    Unit,
)
from shared.messages.usage import CallsV1, QueryCallsV1, QueryUsageV1, UsageGroupV1, UsageReportV1, UsageV1

UNITS: tuple[Unit, ...] = get_args(Unit)
_EARLIEST, _LATEST = datetime(2000, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)


class MeteringService:
    """Each method answers one request."""

    def __init__(self, ledger: Ledger, store: Store, clock: Clock) -> None:
        self._ledger, self._store, self._clock = ledger, store, clock

    async def reserve(self, request: ReserveV1) -> ReservationV1:
        """Hold an attempt's upper bound, or say which budget refuses; committed before the answer."""
        decision = await self._ledger.reserve(_ask(request))
        return published.reservation(decision, month_of(self._clock.now()).date())

    async def set_key_budget(self, request: SetKeyBudgetV1) -> BudgetV1:
        """Create a key's budget or change the caps named."""
        workspace_id, key_id = _key(request.workspace_id, request.key_id)
        caps = {unit: intake.check_amount(cap, f"caps.{unit}") for unit, cap in request.caps.items()}
        now = self._clock.now()
        account = await self._store.set_key_budget(workspace_id, key_id, caps, now)
        return published.budget(account, month_of(now).date())

    async def block_key(self, request: BlockKeyV1) -> BlockedV1:
        """Refuse every reservation for this key from now on; committed before the answer."""
        workspace_id, key_id = _key(request.workspace_id, request.key_id)
        return BlockedV1(held=await self._store.block_key(workspace_id, key_id, self._clock.now()))

    async def list_budgets(self, request: ListBudgetsV1) -> BudgetsV1:
        """A workspace's budgets: its own first, then its keys' in order of creation."""
        return BudgetsV1(items=await self._budgets(intake.check_workspace(request.workspace_id)))

    async def query_usage(self, request: QueryUsageV1) -> UsageReportV1:
        """Sums from the rollups, and the budgets as they stand."""
        workspace_id = intake.check_workspace(request.workspace_id)
        since, until = _moment(request.since, "since"), _moment(request.until, "until")
        groups, budgets = await asyncio.gather(
            self._store.usage(
                workspace_id,
                hour_of(since) if since else None,
                hour_after(until) if until else None,
                request.group_by,
            ),
            self._budgets(workspace_id),
        )
        totals = sum((counters for _, counters in groups), Counters())
        return UsageReportV1(
            totals=UsageV1.model_validate(totals, from_attributes=True),
            groups=tuple(
                UsageGroupV1(group=name, **UsageV1.model_validate(counters, from_attributes=True).model_dump())
                for name, counters in groups
                if name is not None
            ),
            budgets=budgets,
        )

    async def query_calls(self, request: QueryCallsV1) -> CallsV1:
        """A page of the call log, newest first."""
        wanted = CallFilter(
            workspace_id=intake.check_workspace(request.workspace_id),
            since=_moment(request.since, "since"),
            until=_moment(request.until, "until"),
            provider=_text(request.provider, "provider"),
            alias_name=_text(request.alias_name, "alias_name"),
            model=_text(request.model, "model"),
            key_id=None if request.key_id is None else intake.uuid_of(request.key_id, "key_id"),
            call_id=_text(request.call_id, "call_id"),
            outcome=request.outcome.value if request.outcome else None,
            before=None if request.cursor is None else cursor.decode(request.cursor),
        )
        rows = await self._store.calls(wanted, request.limit + 1)
        page = rows[: request.limit]
        last = cursor.encode((page[-1]["started_at"], page[-1]["attempt_id"])) if len(rows) > len(page) else None
        return CallsV1(items=tuple(published.call(row) for row in page), next_cursor=last)

    async def ping(self, _: PingMeteringV1) -> ReadyV1:
        """Answers only when the database does."""
        await self._store.ping()
        return ReadyV1(service=Service.METERING)

    async def _budgets(self, workspace_id: int) -> tuple[BudgetV1, ...]:
        period = month_of(self._clock.now()).date()
        accounts = await self._store.budgets(workspace_id, period)
        return tuple(published.budget(account, period) for account in accounts)


def _ask(request: ReserveV1) -> Ask:
    workspace_id, key_id = _key(request.workspace_id, request.key_id)
    tokens = intake.check_amount(request.tokens, "tokens")
    return Ask(
        attempt_id=intake.uuid_of(request.attempt_id, "attempt_id"),
        call_id=intake.check_text(request.call_id, "call_id"),
        workspace_id=workspace_id,
        key_id=key_id,
        provider=intake.check_text(request.provider, "provider"),
        model=intake.check_text(request.model, "model"),
        alias_name=intake.check_text(request.alias_name, "alias_name"),
        capability=intake.check_text(request.capability, "capability"),
        attempt_index=intake.check_index(request.attempt_index),
        trace_id=_text(request.trace_id, "trace_id"),
        usd_micros=intake.check_amount(request.usd_micros, "usd_micros"),
        tokens=tokens or 0,
        ttl_s=request.ttl_s,
    )


def _key(workspace_id: int, key_id: str) -> tuple[int, UUID]:
    return intake.check_workspace(workspace_id), intake.uuid_of(key_id, "key_id")


def _text(text: str | None, name: str) -> str | None:
    return None if text is None else intake.check_text(text, name)


def _moment(moment: datetime | None, name: str) -> datetime | None:
    if moment is not None and (moment.tzinfo is None or not _EARLIEST <= moment < _LATEST):
        raise invalid(f"{name} must be a date and time with a time zone, between 2000 and 2200.")
    return moment
