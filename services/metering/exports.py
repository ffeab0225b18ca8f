"""The call log in bulk: pages as columns, put together by PostgreSQL, so that no row costs this process anything.

Between two pages nothing is kept here: any replica answers the next one, and an export nobody reads asks for none.
"""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import TextClause
from sqlmodel import text

from services.metering.domain import cursor, intake
from services.metering.postings import CALL_COLUMNS
from shared.db import Database
from shared.errors import OmniError, invalid
from shared.messages.export import CallPageV1, ReadCallsV1

Order = Literal["newest", "changed"]
# Longer than that the caller of an export does not wait for its number of rows.
COUNT_MS = 2000
# Bytes of a page's JSON: less than any NATS server takes.
MAX_PAGE = 900_000
_MOMENTS = ("started_at", "finished_at")
_UTC = """to_char({0} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')"""
_COLUMNS = ", ".join(f"'{name}', json_agg({_UTC.format(name) if name in _MOMENTS else name})" for name in CALL_COLUMNS)
# A page comes from an index in its order, whatever the planner believes about a table that has just grown.
_UPTO = text("""
    SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint,
        set_config('enable_sort', 'off', true), set_config('enable_bitmapscan', 'off', true)
""")
_ORDERS: Mapping[Order, str] = {"newest": "started_at DESC, attempt_id DESC", "changed": "changed_in, attempt_id"}
_CONDITIONS = {
    "since": "started_at >= :since",
    "until": "started_at < :until",
    # The first one only finds the months to look into.
    "at": "started_at <= :at AND (started_at, attempt_id) < (:at, :id)",
    "change": "(changed_in, attempt_id) > (CAST(CAST(:change AS text) AS xid8), :id)",
}
_BEFORE: Mapping[Order, str] = {
    "newest": "logged_in < CAST(CAST(:upto AS text) AS xid8)",
    "changed": "changed_in < CAST(CAST(:upto AS text) AS xid8)",
}


class Exports:
    """Raises OmniError as ``ReadCallsV1`` says, and ``unavailable``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def read(self, request: ReadCallsV1) -> CallPageV1:
        """A page, a short one where rows are long; the first of a snapshot counts it on demand."""
        wanted = _wanted(request)
        async with self._database.session(wanted["workspace_id"]) as session:
            connection = await session.connection()
            now: int = (await connection.execute(_UPTO)).one()[0]
            upto = now if request.upto is None else min(request.upto, now)
            parameters = wanted | _place(request) | {"upto": str(upto), "limit": request.limit}
            rows, columns, *last = (await connection.execute(_page(request.order, parameters), parameters)).one()
        if len((columns or "").encode()) > MAX_PAGE and request.limit > 1:
            return await self.read(request.model_copy(update={"limit": request.limit // 2}))
        return CallPageV1(
            rows=rows,
            columns=json.loads(columns) if rows else {name: [] for name in CALL_COLUMNS},
            next=_behind(request.order, *last) if rows else request.after,
            more=rows == request.limit,
            upto=upto,
            total=await self._count(request.order, wanted | {"upto": str(upto)}) if request.count else None,
        )

    async def _count(self, order: Order, wanted: dict[str, Any]) -> int | None:
        statement = text(f"SELECT count(*) FROM ai_call_logs WHERE {_where(order, wanted)}")  # noqa: S608 - own names
        try:
            async with self._database.session(wanted["workspace_id"]) as session:
                connection = await session.connection()
                await connection.execute(text(f"SET LOCAL statement_timeout = {COUNT_MS}"))
                total: int = (await connection.execute(statement, wanted)).scalar_one()
        except OmniError:
            return None
        return total


def _wanted(request: ReadCallsV1) -> dict[str, Any]:
    for name in ("since", "until"):
        moment: datetime | None = getattr(request, name)
        if moment is not None and moment.tzinfo is None:
            raise invalid(f"{name} must be a date and time with a time zone.")
    wanted = {"workspace_id": intake.check_workspace(request.workspace_id)}
    return wanted | {name: at for name in ("since", "until") if (at := getattr(request, name)) is not None}


def _place(request: ReadCallsV1) -> dict[str, Any]:
    if request.after is None:
        return {}
    if request.order == "newest":
        at, attempt = cursor.decode(request.after)
        return {"at": at, "id": attempt}
    transaction, attempt = cursor.decode_change(request.after)
    return {"change": str(transaction), "id": attempt}


def _behind(order: Order, started_at: datetime, transaction: str, attempt_id: UUID) -> str:
    if order == "newest":
        return cursor.encode((started_at.astimezone(UTC), attempt_id))
    return cursor.encode_change(int(transaction), attempt_id)


def _where(order: Order, parameters: Mapping[str, Any]) -> str:
    conditions = [condition for name, condition in _CONDITIONS.items() if name in parameters]
    return " AND ".join(["workspace_id = :workspace_id", _BEFORE[order], *conditions])


def _page(order: Order, parameters: Mapping[str, Any]) -> TextClause:
    # Aggregates take the rows in the order of the sub-select.
    return text(f"""
        SELECT count(*), json_build_object({_COLUMNS})::text, (array_agg(started_at))[count(*)::int],
            (array_agg(changed_in::text))[count(*)::int], (array_agg(attempt_id))[count(*)::int]
        FROM (
            SELECT * FROM ai_call_logs WHERE {_where(order, parameters)} ORDER BY {_ORDERS[order]} LIMIT :limit
        ) page
    """)  # noqa: S608 - the names are this module's own
