"""Locking and reading budgets. Every writer of balances locks here first, in id order, so that none waits in a ring.

Locking the budget row (and not only its period) makes a block or a new cap take effect between two transactions,
never inside one.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import date
from uuid import UUID

from psycopg import AsyncCursor
from psycopg.rows import class_row

from services.metering.connection import Raw
from services.metering.domain.ledger import Account, Amounts, Caps, Owner

_OWNED = """
    SELECT b.id FROM unnest(%(workspaces)s::bigint[], %(keys)s::uuid[]) AS o (workspace_id, key_id)
    JOIN ai_provider_budgets b ON b.workspace_id = o.workspace_id AND b.scope = 'key' AND b.key_id = o.key_id
    UNION ALL
    SELECT b.id FROM unnest(%(all_workspaces)s::bigint[]) AS o (workspace_id)
    JOIN ai_provider_budgets b ON b.workspace_id = o.workspace_id AND b.scope = 'workspace'
"""
_LOCK = (
    """
    SELECT id, workspace_id, key_id, cap_usd_micros, cap_tokens, cap_requests, blocked_at IS NOT NULL AS blocked
    FROM ai_provider_budgets WHERE id IN ("""  # noqa: S608 - constants of this module
    + _OWNED
    + ") ORDER BY id FOR NO KEY UPDATE"
)
_BALANCES = (
    """
    SELECT budget_id, spent_usd_micros, spent_tokens, spent_requests, held_usd_micros, held_tokens, held_requests
    FROM budget_periods WHERE period_start = %(period)s AND budget_id IN ("""  # noqa: S608 - constants of this module
    + _OWNED
    + ")"
)
_CREATE_WORKSPACES = """
    INSERT INTO ai_provider_budgets (workspace_id, scope, created_at, updated_at)
    SELECT o.workspace_id, 'workspace', now(), now() FROM unnest(%s::bigint[]) AS o (workspace_id)
    ON CONFLICT DO NOTHING
"""


@dataclass(frozen=True, slots=True)
class _BudgetRow:
    id: int
    workspace_id: int
    key_id: UUID | None
    cap_usd_micros: int | None
    cap_tokens: int | None
    cap_requests: int | None
    blocked: bool

    def account(self) -> Account:
        caps = Caps(self.cap_usd_micros, self.cap_tokens, self.cap_requests)
        return Account(self.id, self.workspace_id, self.key_id, caps, blocked=self.blocked)


@dataclass(frozen=True, slots=True)
class _BalanceRow:
    budget_id: int
    spent_usd_micros: int
    spent_tokens: int
    spent_requests: int
    held_usd_micros: int
    held_tokens: int
    held_requests: int

    def onto(self, account: Account) -> Account:
        spent = Amounts(self.spent_usd_micros, self.spent_tokens, self.spent_requests)
        return replace(account, spent=spent, held=Amounts(self.held_usd_micros, self.held_tokens, self.held_requests))


async def lock(raw: Raw, owners: Iterable[Owner]) -> dict[Owner, int]:
    """Lock the budgets of ``owners`` until the transaction ends; their ids."""
    cursor = raw.cursor(row_factory=class_row(_BudgetRow))
    await cursor.execute(_LOCK, _parameters(owners))
    return {(row.workspace_id, row.key_id): row.id for row in await cursor.fetchall()}


class Locked:
    """Budgets that are being locked: ask for what else is needed in the same round trip, then ``read``."""

    def __init__(self, budgets: AsyncCursor[_BudgetRow], balances: AsyncCursor[_BalanceRow]) -> None:
        self._budgets, self._balances = budgets, balances

    async def read(self) -> dict[Owner, Account]:
        """The accounts, once they are locked."""
        accounts = {row.id: row.account() for row in await self._budgets.fetchall()}
        for balance in await self._balances.fetchall():
            # A budget created between the two statements is not locked, so it is not there yet for this transaction.
            if balance.budget_id in accounts:
                accounts[balance.budget_id] = balance.onto(accounts[balance.budget_id])
        return {account.owner: account for account in accounts.values()}


async def lock_accounts(raw: Raw, owners: Iterable[Owner], period: date) -> Locked:
    """Lock the budgets of ``owners`` and read their balances in ``period``; needs a pipeline.

    The balances are read by a statement of their own, after the locks are had, so they include whatever was
    committed while waiting.
    """
    parameters = _parameters(owners) | {"period": period}
    budgets = raw.cursor(row_factory=class_row(_BudgetRow))
    await budgets.execute(_LOCK, parameters)
    balances = raw.cursor(row_factory=class_row(_BalanceRow))
    await balances.execute(_BALANCES, parameters)
    return Locked(budgets, balances)


async def create_workspaces(raw: Raw, workspaces: Iterable[int]) -> None:
    """Give each workspace its own budget, without caps, unless it has one."""
    await raw.execute(_CREATE_WORKSPACES, (sorted(workspaces),))


def _parameters(owners: Iterable[Owner]) -> dict[str, object]:
    keys = sorted((workspace, key) for workspace, key in owners if key is not None)
    return {
        "workspaces": [workspace for workspace, _ in keys],
        "keys": [key for _, key in keys],
        "all_workspaces": sorted(workspace for workspace, key in owners if key is None),
    }
