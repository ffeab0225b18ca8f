"""Locking and reading budgets. Every writer of balances locks here first, in id order, so that none waits in a ring.

Locking the budget row (and not only its periods) makes a block, a halt or a new cap take effect between two
transactions, never inside one.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime
from uuid import UUID

from psycopg import AsyncCursor
from psycopg.rows import class_row

from services.metering.connection import Raw
from services.metering.domain.ledger import NO_CAPS, Account, Amounts, Caps, Owner, Place, Span, Window, starts_of
from shared.messages.vocabulary import Funds

_OWNED = """
    SELECT b.id FROM unnest(%(workspaces)s::bigint[], %(keys)s::uuid[], %(funds)s::text[])
        AS o (workspace_id, key_id, funds)
    JOIN ai_provider_budgets b
        ON b.workspace_id = o.workspace_id AND b.scope = 'key' AND b.key_id = o.key_id AND b.funds = o.funds
    UNION ALL
    SELECT b.id FROM unnest(%(all_workspaces)s::bigint[], %(all_funds)s::text[]) AS o (workspace_id, funds)
    JOIN ai_provider_budgets b
        ON b.workspace_id = o.workspace_id AND b.scope = 'workspace' AND b.key_id IS NULL AND b.funds = o.funds
"""
BUDGET_COLUMNS = (
    "id, workspace_id, key_id, funds, cap_usd_micros, cap_tokens, cap_requests, day_cap_usd_micros, day_cap_tokens, "
    "day_cap_requests, blocked_at IS NOT NULL AS blocked, halted_why, line, credits_allowed"
)
_LOCK = (
    f"SELECT {BUDGET_COLUMNS} FROM ai_provider_budgets WHERE id IN ("  # noqa: S608 - constants of this module
    + _OWNED
    + ") ORDER BY id FOR NO KEY UPDATE"
)
BALANCE_COLUMNS = (
    "budget_id, span, period_start, spent_usd_micros, spent_tokens, spent_requests, "
    "held_usd_micros, held_tokens, held_requests, alerts"
)
_BALANCES = (
    f"SELECT {BALANCE_COLUMNS} FROM budget_periods "  # noqa: S608 - constants of this module
    "WHERE (span, period_start) IN (('month', %(month)s), ('day', %(day)s)) AND budget_id IN (" + _OWNED + ")"
)
_CREATE_WORKSPACES = """
    INSERT INTO ai_provider_budgets (workspace_id, scope, created_at, updated_at)
    SELECT o.workspace_id, 'workspace', now(), now() FROM unnest(%s::bigint[]) AS o (workspace_id)
    ON CONFLICT DO NOTHING
"""


@dataclass(frozen=True, slots=True)
class BudgetRow:
    """A row of ``ai_provider_budgets``: ``BUDGET_COLUMNS``."""

    id: int
    workspace_id: int
    key_id: UUID | None
    funds: str
    cap_usd_micros: int | None
    cap_tokens: int | None
    cap_requests: int | None
    day_cap_usd_micros: int | None
    day_cap_tokens: int | None
    day_cap_requests: int | None
    blocked: bool
    halted_why: str | None
    line: list[tuple[str, str, str]] | None
    credits_allowed: bool

    def account(self) -> Account:
        """The account, with nothing in it yet."""
        return Account(
            budget_id=self.id,
            workspace_id=self.workspace_id,
            key_id=self.key_id,
            funds=Funds(self.funds),
            month=Window(_caps(self.cap_usd_micros, self.cap_tokens, self.cap_requests)),
            day=Window(_caps(self.day_cap_usd_micros, self.day_cap_tokens, self.day_cap_requests)),
            blocked=self.blocked,
            halted=self.halted_why,
            line=tuple(_place(*place) for place in self.line or ()),
            credits_allowed=self.credits_allowed,
        )


@dataclass(frozen=True, slots=True)
class BalanceRow:
    """A row of ``budget_periods``: ``BALANCE_COLUMNS``."""

    budget_id: int
    span: Span
    period_start: date
    spent_usd_micros: int
    spent_tokens: int
    spent_requests: int
    held_usd_micros: int
    held_tokens: int
    held_requests: int
    alerts: int

    def onto(self, account: Account) -> Account:
        """``account`` with this balance in its window."""
        spent = Amounts(self.spent_usd_micros, self.spent_tokens, self.spent_requests)
        held = Amounts(self.held_usd_micros, self.held_tokens, self.held_requests)
        if self.span == "day":
            return replace(account, day=Window(account.day.caps, spent, held, self.alerts))
        return replace(account, month=Window(account.month.caps, spent, held, self.alerts))


class Locked:
    """Budgets that are being locked: ask for what else is needed in the same round trip, then ``read``."""

    def __init__(self, budgets: AsyncCursor[BudgetRow], balances: AsyncCursor[BalanceRow] | None) -> None:
        self._budgets, self._balances = budgets, balances

    async def read(self) -> dict[Owner, Account]:
        """The accounts, once they are locked."""
        accounts = {row.id: row.account() for row in await self._budgets.fetchall()}
        balances = [] if self._balances is None else await self._balances.fetchall()
        return {account.owner: account for account in with_balances(accounts, balances).values()}


def with_balances(accounts: Mapping[int, Account], balances: Iterable[BalanceRow]) -> dict[int, Account]:
    """``accounts`` by budget id, with what stands in them."""
    filled = dict(accounts)
    for balance in balances:
        # A budget created between the two statements is not locked, so it is not there yet for this transaction.
        if balance.budget_id in filled:
            filled[balance.budget_id] = balance.onto(filled[balance.budget_id])
    return filled


def periods_of(moment: datetime) -> dict[Span, date]:
    """When the month and the day of ``moment`` begin, in UTC."""
    return {span: start.date() for span, start in starts_of(moment).items()}


async def lock(raw: Raw, owners: Iterable[Owner]) -> Locked:
    """Lock the budgets of ``owners`` until the transaction ends, without their balances."""
    return Locked(await _lock(raw, _parameters(owners)), None)


async def lock_accounts(raw: Raw, owners: Iterable[Owner], now: datetime) -> Locked:
    """Lock the budgets of ``owners`` and read their balances of this month and day; needs a pipeline.

    The balances are read by a statement of their own, after the locks are had, so they include whatever was
    committed while waiting.
    """
    parameters = _parameters(owners) | periods_of(now)
    budgets = await _lock(raw, parameters)
    balances = raw.cursor(row_factory=class_row(BalanceRow))
    await balances.execute(_BALANCES, parameters)
    return Locked(budgets, balances)


async def create_workspaces(raw: Raw, workspaces: Iterable[int]) -> None:
    """Give each workspace its own budget, without caps, unless it has one."""
    await raw.execute(_CREATE_WORKSPACES, (sorted(workspaces),))


def _caps(usd_micros: int | None, tokens: int | None, requests: int | None) -> Caps:
    caps = Caps(usd_micros, tokens, requests)
    return NO_CAPS if caps == NO_CAPS else caps


def _place(attempt: str, since: str, until: str) -> Place:
    return Place(UUID(attempt), datetime.fromisoformat(since), datetime.fromisoformat(until))


async def _lock(raw: Raw, parameters: Mapping[str, object]) -> AsyncCursor[BudgetRow]:
    budgets = raw.cursor(row_factory=class_row(BudgetRow))
    await budgets.execute(_LOCK, parameters)
    return budgets


def _parameters(owners: Iterable[Owner]) -> dict[str, object]:
    everyone = list(owners)
    keys = sorted((workspace, key, funds.value) for workspace, key, funds in everyone if key is not None)
    whole = sorted((workspace, funds.value) for workspace, key, funds in everyone if key is None)
    return {
        "workspaces": [workspace for workspace, _, _ in keys],
        "keys": [key for _, key, _ in keys],
        "funds": [funds for _, _, funds in keys],
        "all_workspaces": [workspace for workspace, _ in whole],
        "all_funds": [funds for _, funds in whole],
    }
