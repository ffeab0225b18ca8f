"""SQL of metering's control requests and queries; what every call passes through is in ``ledger`` and ``postings``."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime
from typing import Any, Literal
from uuid import UUID

from sqlmodel import text

from services.metering.domain.cursor import Place
from services.metering.domain.ledger import Account, Amounts, Caps
from services.metering.domain.usage import COUNTERS, Counters
from services.metering.postings import CALL_COLUMNS
from shared.clock import month_of
from shared.db import EVERY_WORKSPACE, Database
from shared.messages.metering import Unit

GroupBy = Literal["provider", "alias", "model", "key", "day"]

_BUDGETS = """
    SELECT b.id, b.workspace_id, b.key_id, b.cap_usd_micros, b.cap_tokens, b.cap_requests,
        b.blocked_at IS NOT NULL AS blocked,
        coalesce(p.spent_usd_micros, 0) AS spent_usd_micros, coalesce(p.spent_tokens, 0) AS spent_tokens,
        coalesce(p.spent_requests, 0) AS spent_requests, coalesce(p.held_usd_micros, 0) AS held_usd_micros,
        coalesce(p.held_tokens, 0) AS held_tokens, coalesce(p.held_requests, 0) AS held_requests
    FROM ai_provider_budgets b
    LEFT JOIN budget_periods p ON p.budget_id = b.id AND p.period_start = :period
    WHERE b.workspace_id = :workspace_id
"""
_BUDGETS_OF_WORKSPACE = text(_BUDGETS + " ORDER BY b.key_id IS NOT NULL, b.id")
_BUDGET_OF_KEY = text(_BUDGETS + " AND b.key_id = :key_id")
_SET_BUDGET = text("""
    INSERT INTO ai_provider_budgets AS b
        (workspace_id, scope, key_id, cap_usd_micros, cap_tokens, cap_requests, created_at, updated_at)
    VALUES (:workspace_id, 'key', :key_id, :usd_micros, :tokens, :requests, :now, :now)
    ON CONFLICT (workspace_id, scope, key_id) DO UPDATE SET
        cap_usd_micros = CASE WHEN :sets_usd_micros THEN excluded.cap_usd_micros ELSE b.cap_usd_micros END,
        cap_tokens = CASE WHEN :sets_tokens THEN excluded.cap_tokens ELSE b.cap_tokens END,
        cap_requests = CASE WHEN :sets_requests THEN excluded.cap_requests ELSE b.cap_requests END,
        updated_at = excluded.updated_at
""")
_BLOCK = text("""
    INSERT INTO ai_provider_budgets AS b (workspace_id, scope, key_id, blocked_at, created_at, updated_at)
    VALUES (:workspace_id, 'key', :key_id, :now, :now, :now)
    ON CONFLICT (workspace_id, scope, key_id) DO UPDATE SET
        blocked_at = coalesce(b.blocked_at, excluded.blocked_at), updated_at = excluded.updated_at
""")
_HELD = text(
    "SELECT count(*) FROM reservations WHERE state = 'held' AND workspace_id = :workspace_id AND key_id = :key_id"
)
_GROUPS: Mapping[GroupBy | None, str] = {
    None: "NULL::text",
    "provider": "provider",
    "alias": "alias_name",
    "model": "model",
    "key": "key_id::text",
    "day": "to_char(hour AT TIME ZONE 'UTC', 'YYYY-MM-DD')",
}
_SUMS = ", ".join(f"coalesce(sum({name}), 0)::bigint" for name in COUNTERS)
_USAGE = {
    group: text(f"""
        SELECT {expression} AS group_name, {_SUMS} FROM usage_rollups
        WHERE workspace_id = :workspace_id
            AND hour >= coalesce(CAST(:since AS timestamptz), '-infinity')
            AND hour < coalesce(CAST(:until AS timestamptz), 'infinity')
        GROUP BY 1 ORDER BY coalesce(sum(cost_usd_micros), 0) DESC, 1
    """)  # noqa: S608 - the expressions are this module's own
    for group, expression in _GROUPS.items()
}
_CALLS = f"SELECT {', '.join(CALL_COLUMNS)} FROM ai_call_logs WHERE workspace_id = :workspace_id"  # noqa: S608
_CALL_CONDITIONS = {
    "since": "started_at >= :since",
    "until": "started_at < :until",
    "provider": "provider = :provider",
    "alias_name": "alias_name = :alias_name",
    "model": "model = :model",
    "key_id": "key_id = :key_id",
    "call_id": "call_id = :call_id",
    "outcome": "outcome = :outcome",
    "before": "(started_at, attempt_id) < (:before_at, :before_id)",
}


@dataclass(frozen=True, slots=True)
class CallFilter:
    """Which rows of the call log; None leaves a condition out. ``before``: only rows older than this place."""

    workspace_id: int
    since: datetime | None = None
    until: datetime | None = None
    provider: str | None = None
    alias_name: str | None = None
    model: str | None = None
    key_id: UUID | None = None
    call_id: str | None = None
    outcome: str | None = None
    before: Place | None = None


class Store:
    """Every method raises OmniError ``unavailable`` when the database is away."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def ping(self) -> None:
        """Return when the database answers."""
        async with self._database.session(EVERY_WORKSPACE) as session:
            await (await session.connection()).execute(text("SELECT 1"))

    async def budgets(self, workspace_id: int, period: date) -> list[Account]:
        """Every account of a workspace, its own first."""
        rows = await self._rows(workspace_id, _BUDGETS_OF_WORKSPACE, {"workspace_id": workspace_id, "period": period})
        return [_account(row) for row in rows]

    async def set_key_budget(
        self, workspace_id: int, key_id: UUID, caps: Mapping[Unit, int | None], now: datetime
    ) -> Account:
        """Create the budget, or change the caps in ``caps`` and leave the others and all balances alone."""
        key = {"workspace_id": workspace_id, "key_id": key_id}
        new = {unit: caps.get(unit) for unit in ("usd_micros", "tokens", "requests")}
        sets = {f"sets_{unit}": unit in caps for unit in new}
        async with self._database.session(workspace_id) as session:
            connection = await session.connection()
            await connection.execute(_SET_BUDGET, key | new | sets | {"now": now})
            result = await connection.execute(_BUDGET_OF_KEY, key | {"period": month_of(now).date()})
            return _account(dict(result.mappings().one()))

    async def block_key(self, workspace_id: int, key_id: UUID, now: datetime) -> int:
        """Block for good; committed when this returns. Waits for the reservations that hold the row.

        Returns how many of those granted before are still held.
        """
        key = {"workspace_id": workspace_id, "key_id": key_id}
        async with self._database.session(workspace_id) as session:
            connection = await session.connection()
            await connection.execute(_BLOCK, key | {"now": now})
            # A statement of its own: its snapshot is younger than the row lock, so no grant escapes it.
            return int((await connection.execute(_HELD, key)).scalar_one())

    async def usage(
        self, workspace_id: int, since: datetime | None, until: datetime | None, group_by: GroupBy | None
    ) -> list[tuple[str | None, Counters]]:
        """Sums of the hours in [``since``, ``until``), biggest cost first; one nameless group without ``group_by``."""
        parameters = {"workspace_id": workspace_id, "since": since, "until": until}
        async with self._database.session(workspace_id) as session:
            result = await (await session.connection()).execute(_USAGE[group_by], parameters)
            return [(row[0], Counters(*row[1:])) for row in result]

    async def calls(self, wanted: CallFilter, limit: int) -> Sequence[Mapping[str, Any]]:
        """At most ``limit`` rows of the call log, newest first."""
        parameters = {name: value for name, value in asdict(wanted).items() if value is not None}
        conditions = [condition for name, condition in _CALL_CONDITIONS.items() if name in parameters]
        if wanted.before is not None:
            parameters["before_at"], parameters["before_id"] = parameters.pop("before")
        statement = " AND ".join([_CALLS, *conditions]) + " ORDER BY started_at DESC, attempt_id DESC LIMIT :limit"
        return await self._rows(wanted.workspace_id, text(statement), parameters | {"limit": limit})

    async def _rows(
        self,
        workspace_id: int,
        statement: Any,  # noqa: ANN401 - a text clause, which SQLModel does not re-export
        parameters: Mapping[str, object],
    ) -> Sequence[Mapping[str, Any]]:
        async with self._database.session(workspace_id) as session:
            result = await (await session.connection()).execute(statement, parameters)
            return [dict(row) for row in result.mappings()]


def _account(row: Mapping[str, Any]) -> Account:
    return Account(
        budget_id=row["id"],
        workspace_id=row["workspace_id"],
        key_id=row["key_id"],
        caps=Caps(row["cap_usd_micros"], row["cap_tokens"], row["cap_requests"]),
        spent=Amounts(row["spent_usd_micros"], row["spent_tokens"], row["spent_requests"]),
        held=Amounts(row["held_usd_micros"], row["held_tokens"], row["held_requests"]),
        blocked=row["blocked"],
    )
