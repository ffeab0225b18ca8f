"""SQL of budgets outside of the path of calls: caps, halts, blocks, and how they stand."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, LiteralString
from uuid import UUID

from sqlmodel import text

from services.metering.accounts import BALANCE_COLUMNS, BUDGET_COLUMNS, BalanceRow, BudgetRow, periods_of, with_balances
from services.metering.consequences import ROOM
from services.metering.domain.ledger import Account, Owner
from shared.db import EVERY_WORKSPACE, Database
from shared.errors import not_found
from shared.messages.metering import Unit
from shared.messages.vocabulary import PLATFORM_WORKSPACE, Funds

_CAPS: tuple[LiteralString, ...] = (
    "cap_usd_micros", "cap_tokens", "cap_requests", "day_cap_usd_micros", "day_cap_tokens", "day_cap_requests",
)  # fmt: skip

_WORKSPACE_IS = "b.workspace_id = :workspace_id"
_OWNER_IS = _WORKSPACE_IS + " AND b.key_id IS NOT DISTINCT FROM CAST(:key_id AS uuid) AND b.funds = :funds"
_BUDGETS = f"SELECT {BUDGET_COLUMNS} FROM ai_provider_budgets b WHERE "  # noqa: S608 - constants
_BALANCES = (
    f"SELECT {BALANCE_COLUMNS} FROM budget_periods "  # noqa: S608 - constants
    "WHERE (span, period_start) IN (('month', :month), ('day', :day)) "
    "AND budget_id IN (SELECT b.id FROM ai_provider_budgets b WHERE "
)
ALL_OF_WORKSPACE = text(_BUDGETS + _WORKSPACE_IS + " ORDER BY b.key_id IS NOT NULL, b.funds, b.id")
BALANCES_OF_WORKSPACE = text(_BALANCES + _WORKSPACE_IS + ")")
ONE = text(_BUDGETS + _OWNER_IS)
BALANCES_OF_ONE = text(_BALANCES + _OWNER_IS + ")")
_SET = text(f"""
    INSERT INTO ai_provider_budgets AS b
        (workspace_id, scope, key_id, funds, {", ".join(_CAPS)}, created_at, updated_at)
    VALUES (:workspace_id, :scope, :key_id, :funds, {", ".join(f":{cap}" for cap in _CAPS)}, :now, :now)
    ON CONFLICT (workspace_id, scope, key_id, funds) DO UPDATE SET
        {", ".join(f"{cap} = CASE WHEN :sets_{cap} THEN excluded.{cap} ELSE b.{cap} END" for cap in _CAPS)},
        updated_at = excluded.updated_at
    RETURNING id
""")  # noqa: S608 - the names are this module's own
_RESUME = text(f"""
    UPDATE ai_provider_budgets b SET halted_at = NULL, halted_why = NULL, updated_at = :now
    WHERE {_OWNER_IS} RETURNING id
""")  # noqa: S608 - the names are this module's own
_TELL = text("SELECT pg_notify(:channel, CAST(:budget_id AS text))")
_BLOCK = text("""
    INSERT INTO ai_provider_budgets AS b (workspace_id, scope, key_id, funds, blocked_at, created_at, updated_at)
    VALUES (:workspace_id, 'key', :key_id, :funds, :now, :now, :now)
    ON CONFLICT (workspace_id, scope, key_id, funds) DO UPDATE SET
        blocked_at = coalesce(b.blocked_at, excluded.blocked_at), updated_at = excluded.updated_at
""")
# A key of the platform is held for by any workspace.
_HELD = text("""
    SELECT count(*) FROM reservations
    WHERE state = 'held' AND key_id = :key_id AND funds = :funds AND (workspace_id = :workspace_id OR :workspace_id = 0)
""")


class Budgets:
    """Every method raises OmniError ``unavailable`` when the database is away."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def all(self, workspace_id: int, now: datetime) -> list[Account]:
        """Every account of a workspace in its current month and day: its own first, its credits, then its keys'."""
        wanted: dict[str, object] = {"workspace_id": workspace_id}
        async with self._database.session(workspace_id) as session:
            connection = await session.connection()
            rows = (await connection.execute(ALL_OF_WORKSPACE, wanted)).mappings().all()
            balances = (await connection.execute(BALANCES_OF_WORKSPACE, wanted | _periods(now))).mappings().all()
        return _accounts(rows, balances)

    async def set_caps(
        self, owner: Owner, caps: Mapping[Unit, int | None], day_caps: Mapping[Unit, int | None], now: datetime
    ) -> Account:
        """Create the budget, or change the caps named and leave the others and all balances alone."""
        given = {f"cap_{unit}": cap for unit, cap in caps.items()} | {
            f"day_cap_{u}": cap for u, cap in day_caps.items()
        }
        whose = _whose(owner)
        values = {cap: given.get(cap) for cap in _CAPS} | {f"sets_{cap}": cap in given for cap in _CAPS}
        async with self._database.session(owner[0]) as session:
            connection = await session.connection()
            budget_id = (await connection.execute(_SET, whose | values | {"now": now})).scalar_one()
            # A higher cap is room for who waits.
            await connection.execute(_TELL, {"channel": ROOM, "budget_id": budget_id})
            return await self._one(connection, whose, now)

    async def resume(self, owner: Owner, now: datetime) -> Account:
        """Lift a halt. Raises OmniError ``not_found``."""
        whose = _whose(owner)
        async with self._database.session(owner[0]) as session:
            connection = await session.connection()
            if (await connection.execute(_RESUME, whose | {"now": now})).first() is None:
                raise not_found("a budget of this workspace or key")
            return await self._one(connection, whose, now)

    async def block_key(self, workspace_id: int, key_id: UUID, now: datetime) -> int:
        """Block for good; committed when this returns. Waits for the reservations that hold the row.

        Returns how many of those granted before are still held.
        """
        whose = _whose(owner_of_key(workspace_id, key_id))
        # Only the platform's own keys hold for other workspaces than their own.
        async with self._database.session(workspace_id or EVERY_WORKSPACE) as session:
            connection = await session.connection()
            await connection.execute(_BLOCK, whose | {"now": now})
            # A statement of its own: its snapshot is younger than the row lock, so no grant escapes it.
            return int((await connection.execute(_HELD, whose)).scalar_one())

    async def _one(self, connection: Any, whose: dict[str, object], now: datetime) -> Account:  # noqa: ANN401 - SQLModel does not re-export it
        rows = (await connection.execute(ONE, whose)).mappings().all()
        balances = (await connection.execute(BALANCES_OF_ONE, whose | _periods(now))).mappings().all()
        return _accounts(rows, balances)[0]


def owner_of_key(workspace_id: int, key_id: UUID) -> Owner:
    """The account of a key. Keys of workspace 0 are the platform's, and only they are paid with its funds."""
    return workspace_id, key_id, Funds.PLATFORM if workspace_id == PLATFORM_WORKSPACE else Funds.OWN


def _whose(owner: Owner) -> dict[str, object]:
    workspace_id, key_id, funds = owner
    scope = "workspace" if key_id is None else "key"
    return {"workspace_id": workspace_id, "key_id": key_id, "funds": funds.value, "scope": scope}


def _periods(now: datetime) -> dict[str, object]:
    return {str(span): start for span, start in periods_of(now).items()}


def _accounts(rows: Any, balances: Any) -> list[Account]:  # noqa: ANN401 - rows as mappings
    accounts = {row["id"]: BudgetRow(**row).account() for row in rows}
    return list(with_balances(accounts, (BalanceRow(**row) for row in balances)).values())
