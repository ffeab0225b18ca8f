"""``/ai-usage``: what has been used, and the call log."""

from typing import Annotated, Any

from fastapi import APIRouter, Query

from services.api.domain.access import Action
from services.api.domain.columns import KINDS, shown_name, usd
from services.api.http.caller import Caller, TheEdge
from services.api.http.moments import instant
from services.api.http.paging import TheCursors
from services.api.http.usage_report import report_view
from services.api.schemas import WorkspaceQuery
from services.api.schemas_queries import CallsQuery
from shared.messages.usage import CallsV1, CallV1, GroupBy, QueryCallsV1, QueryUsageV1, UsageReportV1

routes = APIRouter(prefix="/ai-usage", tags=["usage"])

From = Annotated[str | None, Query(alias="from", max_length=40)]
To = Annotated[str | None, Query(max_length=40)]


@routes.get("")
async def usage(
    caller: Caller,
    edge: TheEdge,
    workspace_id: WorkspaceQuery = None,
    from_: From = None,
    to: To = None,
    group_by: GroupBy | None = None,
) -> dict[str, Any]:
    """What was used in [from, to), in whole hours; ISO dates or instants. One request is one attempt."""
    workspace = await edge.workspace(caller, Action.READ_USAGE, workspace_id)
    query = QueryUsageV1(
        workspace_id=workspace, since=instant("from", from_), until=instant("to", to), group_by=group_by
    )
    report = await edge.bus.request(query, UsageReportV1, timeout=10)
    return report_view(report, group_by)


@routes.get("/calls")
async def calls(
    caller: Caller, edge: TheEdge, cursors: TheCursors, asked: Annotated[CallsQuery, Query()]
) -> dict[str, Any]:
    """Rows of the call log, newest first, one for every attempt. Null is unknown."""
    workspace = await edge.workspace(caller, Action.READ_USAGE, asked.workspace_id)
    query = QueryCallsV1(
        workspace_id=workspace,
        since=instant("from", asked.from_),
        until=instant("to", asked.to),
        cursor=cursors.opened("calls", workspace, asked.cursor),
        **asked.model_dump(exclude={"workspace_id", "from_", "to", "cursor"}),
    )
    page = await edge.bus.request(query, CallsV1, timeout=10)
    onward = cursors.sealed("calls", workspace, page.next_cursor)
    return {"items": [_row(call) for call in page.items], "next_cursor": onward}


def _row(call: CallV1) -> dict[str, Any]:
    row = call.model_dump(mode="json")
    return {shown_name(name): usd(row[name]) if kind == "usd" else row[name] for name, kind in KINDS.items()}
