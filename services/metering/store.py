"""SQL of metering's queries; budgets are in ``budgets``, the path of calls in ``granting`` and ``postings``."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlmodel import text

from services.metering.domain.cursor import Place
from services.metering.postings import CALL_COLUMNS
from shared.db import EVERY_WORKSPACE, Database

# Among so many rows a page of a common sort of call is found; who looks for a rare one has lost little time.
NEWEST = 2_000

_COLUMNS = ", ".join(CALL_COLUMNS)
_TIMES = {
    "since": "started_at >= :since",
    "until": "started_at < :until",
    # The first one only finds the months to look into.
    "before_at": "started_at <= :before_at AND (started_at, attempt_id) < (:before_at, :before_id)",
}
_DAYS = {
    "since": "day >= date_trunc('day', CAST(:since AS timestamptz), 'UTC')",
    "until": "day < :until",
    "before_at": "day <= :before_at",
}
# A day that is over before the page begins: all of its rows may stand on it.
_WHOLE = {"until": "day + interval '1 day' <= :until", "before_at": "day + interval '1 day' <= :before_at"}
_SORT = {name: f"{name} = :{name}" for name in ("provider", "alias_name", "model", "key_id", "outcome")}
_CALL = {"call_id": "call_id = :call_id"}
# A page comes from an index in its order, whatever the planner believes of policies and of a table that has just grown.
_IN_ORDER = text("""
    SELECT set_config('enable_sort', 'off', true), set_config('enable_bitmapscan', 'off', true),
        set_config('max_parallel_workers_per_gather', '0', true)
""")
_ORDER = "ORDER BY started_at DESC, attempt_id DESC LIMIT"


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

    async def calls(self, wanted: CallFilter, limit: int) -> Sequence[Mapping[str, Any]]:
        """At most ``limit`` rows of the call log, newest first."""
        parameters: dict[str, Any] = {name: value for name, value in asdict(wanted).items() if value is not None}
        parameters["limit"] = limit
        if wanted.before is not None:
            parameters["before_at"], parameters["before_id"] = parameters.pop("before")
        async with self._database.session(wanted.workspace_id) as session:
            connection = await session.connection()

            async def rows(statement: str) -> Sequence[Mapping[str, Any]]:
                return [dict(row) for row in (await connection.execute(text(statement), parameters)).mappings()]

            if wanted.call_id is not None:
                return await rows(_plain(parameters))
            await connection.execute(_IN_ORDER)
            if not parameters.keys() & _SORT.keys():
                return await rows(_plain(parameters))
            found = await rows(_among_newest(parameters))
            return found if len(found) == limit else await rows(_by_sort(parameters))


def _where(parameters: Mapping[str, object], *conditions: Mapping[str, str]) -> str:
    chosen = (condition for some in conditions for name, condition in some.items() if name in parameters)
    return " AND ".join(("workspace_id = :workspace_id", *chosen))


def _plain(parameters: Mapping[str, object]) -> str:
    return f"SELECT {_COLUMNS} FROM ai_call_logs WHERE {_where(parameters, _TIMES, _CALL, _SORT)} {_ORDER} :limit"  # noqa: S608 - own names


def _among_newest(parameters: Mapping[str, object]) -> str:
    return f"""
        SELECT {_COLUMNS} FROM (SELECT * FROM ai_call_logs WHERE {_where(parameters, _TIMES)} {_ORDER} {NEWEST}) newest
        WHERE {_where(parameters, _SORT)} {_ORDER} :limit
    """  # noqa: S608 - own names


def _by_sort(parameters: Mapping[str, object]) -> str:
    """From the sums by day: which sorts there are, and since when there are enough of them; a page of each sort."""
    return f"""
        WITH days AS MATERIALIZED (
            SELECT workspace_id, day, call_sort(key_id, model, alias_name, outcome) AS sort, sum(requests) AS requests
            FROM usage_days WHERE {_where(parameters, _DAYS, _SORT)} GROUP BY 1, 2, 3
        ), enough AS MATERIALIZED (
            SELECT coalesce(max(day), '-infinity') AS day FROM (
                SELECT day, sum(sum(requests)) OVER (ORDER BY day DESC) AS number
                FROM days WHERE {_where(parameters, _WHOLE)} GROUP BY day
            ) counted WHERE number >= :limit
        )
        SELECT {_COLUMNS} FROM (SELECT DISTINCT sort FROM days WHERE day >= (SELECT day FROM enough)) sorts
        CROSS JOIN LATERAL (
            SELECT * FROM ai_call_logs log WHERE {_where(parameters, _TIMES, _SORT)} AND log.sort = sorts.sort
                AND started_at >= (SELECT day FROM enough) {_ORDER} :limit
        ) page {_ORDER} :limit
    """  # noqa: S608 - own names
