"""Metering's use cases: check what came in, let the ledger or the store do it, answer with a contract."""

import asyncio
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from uuid import UUID

from services.metering import published
from services.metering.budgets import Budgets, owner_of_key
from services.metering.domain import cursor, intake
from services.metering.domain.forecast import forecast
from services.metering.domain.ledger import Ask
from services.metering.ledger import Ledger
from services.metering.reported import usage_report
from services.metering.reports import Reports
from services.metering.store import CallFilter, Store
from shared.clock import Clock
from shared.errors import invalid
from shared.messages.base import Done, Service
from shared.messages.health import PingMeteringV1, ReadyV1
from shared.messages.metering import (
    BlockedV1,
    BlockKeyV1,
    BudgetsV1,
    BudgetV1,
    ListBudgetsV1,
    ReservationV1,
    ReserveV1,
    ResumeBudgetV1,
    SetKeyBudgetV1,
    SetWorkspaceBudgetV1,
    Unit,
)
from shared.messages.platform_credits import AdmitPlatformKeyV1
from shared.messages.usage import CallsV1, QueryCallsV1, QueryUsageV1, UsageReportV1
from shared.messages.vocabulary import PLATFORM_WORKSPACE, Funds

LONGEST_WAIT_S = 3.0
"""Below the time after which an asker takes silence for death; it asks again when it can wait longer."""
_EARLIEST, _LATEST = datetime(2000, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)


class MeteringService:
    """Each method answers one request. ``check``: raises OmniError while the call stream cannot be read."""

    def __init__(
        self,
        ledger: Ledger,
        budgets: Budgets,
        reports: Reports,
        store: Store,
        clock: Clock,
        check: Callable[[], None],
    ) -> None:
        self._ledger, self._budgets, self._reports = ledger, budgets, reports
        self._store, self._clock, self._check = store, clock, check

    async def reserve(self, request: ReserveV1) -> ReservationV1:
        """Hold an attempt's upper bound, or say which budget refuses; committed before the answer."""
        decision = await self._ledger.reserve(_ask(request, self._clock.now()))
        return published.reservation(decision, self._clock.now())

    async def set_key_budget(self, request: SetKeyBudgetV1) -> BudgetV1:
        """Create a key's budget or change the caps named. Keys of workspace 0 are the platform's."""
        owner = owner_of_key(*_key(request.workspace_id, request.key_id))
        caps, day_caps, now = _caps(request.caps, "caps"), _caps(request.day_caps, "day_caps"), self._clock.now()
        return published.budget(await self._budgets.set_caps(owner, caps, day_caps, now), "month", now)

    async def admit_platform_key(self, request: AdmitPlatformKeyV1) -> Done:
        """Give a key of the platform its account, without caps; what it has and what was spent stays."""
        owner = owner_of_key(*_key(PLATFORM_WORKSPACE, request.key_id))
        await self._budgets.set_caps(owner, {}, {}, self._clock.now())
        return Done()

    async def set_workspace_budget(self, request: SetWorkspaceBudgetV1) -> BudgetsV1:
        """Change the caps named of a workspace's own budget, or of its platform credits."""
        owner = intake.check_workspace(request.workspace_id), None, request.funds
        caps, day_caps, now = _caps(request.caps, "caps"), _caps(request.day_caps, "day_caps"), self._clock.now()
        return BudgetsV1(items=published.budgets(await self._budgets.set_caps(owner, caps, day_caps, now), now))

    async def resume_budget(self, request: ResumeBudgetV1) -> BudgetsV1:
        """Admit calls again on a budget that was halted. Raises OmniError ``not_found``."""
        now = self._clock.now()
        if request.key_id is not None:
            owner = owner_of_key(*_key(request.workspace_id, request.key_id))
        else:
            owner = intake.check_workspace(request.workspace_id), None, request.funds
            if request.funds is Funds.OWN:
                # It comes by itself with a workspace's first call, so it is there for whoever asks.
                await self._budgets.set_caps(owner, {}, {}, now)
        account = await self._budgets.resume(owner, now)
        return BudgetsV1(items=published.budgets(account, now))

    async def block_key(self, request: BlockKeyV1) -> BlockedV1:
        """Refuse every reservation for this key from now on; committed before the answer."""
        workspace_id, key_id = _key(request.workspace_id, request.key_id)
        return BlockedV1(held=await self._budgets.block_key(workspace_id, key_id, self._clock.now()))

    async def list_budgets(self, request: ListBudgetsV1) -> BudgetsV1:
        """A workspace's budgets: its own first, then its credits, then its keys' in order of creation."""
        return BudgetsV1(items=await self._all_budgets(intake.check_workspace(request.workspace_id)))

    async def query_usage(self, request: QueryUsageV1) -> UsageReportV1:
        """Sums from the rollups, how the month will end, and the budgets as they stand."""
        workspace_id = intake.check_workspace(request.workspace_id)
        since, until = _moment(request.since, "since"), _moment(request.until, "until")
        now = self._clock.now()
        if request.group_by == "hour":
            intake.check_hours(since, until or now)
        report, accounts = await asyncio.gather(
            self._reports.report(workspace_id, since, until, request.group_by, now),
            self._budgets.all(workspace_id, now),
        )
        budgets = [budget for account in accounts for budget in published.budgets(account, now)]
        return usage_report(report, forecast(report.charges, accounts, now), budgets)

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
        """Answers only when the database does and calls can be settled."""
        self._check()
        await self._store.ping()
        return ReadyV1(service=Service.METERING)

    async def _all_budgets(self, workspace_id: int) -> tuple[BudgetV1, ...]:
        now = self._clock.now()
        accounts = await self._budgets.all(workspace_id, now)
        return tuple(budget for account in accounts for budget in published.budgets(account, now))


def _ask(request: ReserveV1, now: datetime) -> Ask:
    workspace_id, key_id = intake.check_workspace(request.workspace_id), intake.uuid_of(request.key_id, "key_id")
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
        since=now - timedelta(seconds=request.waited_s),
        wait_s=min(request.wait_s, LONGEST_WAIT_S),
        funds=request.funds,
    )


def _key(workspace_id: int, key_id: str) -> tuple[int, UUID]:
    return intake.check_key_owner(workspace_id), intake.uuid_of(key_id, "key_id")


def _caps(caps: Mapping[Unit, int | None], name: str) -> dict[Unit, int | None]:
    return {unit: intake.check_amount(cap, f"{name}.{unit}") for unit, cap in caps.items()}


def _text(text: str | None, name: str) -> str | None:
    return None if text is None else intake.check_text(text, name)


def _moment(moment: datetime | None, name: str) -> datetime | None:
    if moment is not None and (moment.tzinfo is None or not _EARLIEST <= moment < _LATEST):
        raise invalid(f"{name} must be a date and time with a time zone, between 2000 and 2200.")
    return moment
