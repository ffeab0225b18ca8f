"""``/ai-usage``: what has been used, the call log, and its export."""

import csv
import io
import json
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from fastapi.responses import StreamingResponse

from services.api.domain.access import Action
from services.api.http.caller import Caller, TheEdge
from services.api.schemas import CallsQuery, WorkspaceQuery
from services.api.service import Edge
from shared.errors import invalid
from shared.messages.usage import CallsV1, CallV1, QueryCallsV1, QueryUsageV1, UsageReportV1, UsageV1
from shared.money import format_usd

routes = APIRouter(prefix="/ai-usage", tags=["usage"])

From = Annotated[str | None, Query(alias="from", max_length=40)]
To = Annotated[str | None, Query(max_length=40)]
GroupBy = Literal["provider", "alias", "model", "key", "day"]
EXPORT_PAGE = 500


@routes.get("")
async def usage(
    caller: Caller,
    edge: TheEdge,
    workspace_id: WorkspaceQuery = None,
    from_: From = None,
    to: To = None,
    group_by: GroupBy | None = None,
) -> dict[str, Any]:
    """Totals, groups and budgets of [from, to), in whole hours; ISO dates or instants. One request is one attempt."""
    workspace = await edge.workspace(caller, Action.READ_USAGE, workspace_id)
    query = QueryUsageV1(
        workspace_id=workspace, since=_instant("from", from_), until=_instant("to", to), group_by=group_by
    )
    report = await edge.bus.request(query, UsageReportV1, timeout=10)
    return {
        "totals": _sums(report.totals),
        "groups": [{group_by or "group": item.group, **_sums(item)} for item in report.groups],
        "budgets": [budget.public() for budget in report.budgets],
    }


@routes.get("/calls")
async def calls(caller: Caller, edge: TheEdge, asked: Annotated[CallsQuery, Query()]) -> dict[str, Any]:
    """Rows of the call log, newest first, one for every attempt. Null is unknown."""
    workspace = await edge.workspace(caller, Action.READ_USAGE, asked.workspace_id)
    query = QueryCallsV1(
        workspace_id=workspace,
        since=_instant("from", asked.from_),
        until=_instant("to", asked.to),
        **asked.model_dump(exclude={"workspace_id", "from_", "to"}),
    )
    page = await edge.bus.request(query, CallsV1, timeout=10)
    return {"items": [_row(call) for call in page.items], "next_cursor": page.next_cursor}


@routes.get("/export")
async def export(
    caller: Caller,
    edge: TheEdge,
    workspace_id: WorkspaceQuery = None,
    from_: From = None,
    to: To = None,
    format_: Annotated[Literal["csv", "ndjson"], Query(alias="format")] = "csv",
) -> StreamingResponse:
    """The call log of [from, to) as a download, newest first, page by page."""
    workspace = await edge.workspace(caller, Action.READ_USAGE, workspace_id)
    query = QueryCallsV1(
        workspace_id=workspace, since=_instant("from", from_), until=_instant("to", to), limit=EXPORT_PAGE
    )
    first = await edge.bus.request(query, CallsV1, timeout=10)
    lines = _csv if format_ == "csv" else _ndjson
    media_type = "text/csv" if format_ == "csv" else "application/x-ndjson"
    headers = {"content-disposition": f'attachment; filename="ai-usage.{format_}"'}
    return StreamingResponse(lines(_pages(edge, query, first)), media_type=media_type, headers=headers)


async def _pages(edge: Edge, query: QueryCallsV1, page: CallsV1) -> AsyncIterator[CallsV1]:
    yield page
    while page.next_cursor:
        query = query.model_copy(update={"cursor": page.next_cursor})
        page = await edge.bus.request(query, CallsV1, timeout=10)
        yield page


async def _ndjson(pages: AsyncIterator[CallsV1]) -> AsyncIterator[str]:
    async for page in pages:
        yield "".join(json.dumps(_row(call), ensure_ascii=False) + "\n" for call in page.items)


async def _csv(pages: AsyncIterator[CallsV1]) -> AsyncIterator[str]:
    columns = list(_columns())
    yield ",".join(columns) + "\r\n"
    async for page in pages:
        text = io.StringIO()
        writer = csv.DictWriter(text, columns)
        writer.writerows(_row(call) for call in page.items)
        yield text.getvalue()


def _columns() -> list[str]:
    renamed = {"cost_usd_micros": "cost_usd", "charged_usd_micros": "charged_usd"}
    return [renamed.get(name, name) for name in CallV1.model_fields]


def _row(call: CallV1) -> dict[str, Any]:
    row = call.model_dump(mode="json")
    money = {"cost_usd_micros": "cost_usd", "charged_usd_micros": "charged_usd"}
    return {money.get(name, name): format_usd(value) if name in money else value for name, value in row.items()}


def _sums(sums: UsageV1) -> dict[str, Any]:
    return {
        "requests": sums.requests,
        "succeeded": sums.succeeded,
        "failed": sums.failed,
        "unknown": sums.unknown,
        "input_tokens": sums.input_tokens,
        "output_tokens": sums.output_tokens,
        "cost_usd": format_usd(sums.cost_usd_micros),
        "charged_usd": format_usd(sums.charged_usd_micros),
        "fallbacks": sums.fallbacks,
        "average_latency_ms": round(sums.latency_ms_sum / sums.requests) if sums.requests else None,
    }


def _instant(name: str, text: str | None) -> datetime | None:
    if not text:
        return None
    try:
        if len(text) == len("2026-11-23"):
            day = datetime.combine(date.fromisoformat(text), time(), UTC)
            # A whole day as the end means that day included.
            return day + timedelta(days=1) if name == "to" else day
        moment = datetime.fromisoformat(text.replace(" ", "+"))
    except (ValueError, OverflowError):
        raise invalid(f"'{name}' is not an ISO 8601 date or instant, such as 2026-11-23.", field=name) from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
