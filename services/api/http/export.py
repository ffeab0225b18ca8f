"""``/ai-usage/export`` and ``/ai-usage/pull``: the call log for other programs. Contents of calls are in neither."""

import asyncio
from contextlib import aclosing
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response, StreamingResponse
from starlette.types import Send

from services.api.domain.access import Action
from services.api.exports import Exports
from services.api.http.caller import Caller, TheEdge
from services.api.http.moments import instant
from services.api.schemas import WorkspaceQuery
from shared.messages.export import ReadCallsV1

routes = APIRouter(prefix="/ai-usage", tags=["usage"])

Format = Literal["csv", "ndjson", "parquet", "focus"]
Moment = Annotated[str | None, Query(max_length=40)]
From = Annotated[str | None, Query(alias="from", max_length=40)]
Cursor = Annotated[str | None, Query(max_length=300)]
PullLimit = Annotated[int, Query(ge=1, le=1000)]
# Who takes longer than that over a file does not get the rest.
LIMIT_S = 3600.0
_MEDIA = {
    "csv": "text/csv; charset=utf-8",
    "focus": "text/csv; charset=utf-8",
    "ndjson": "application/x-ndjson",
    "parquet": "application/vnd.apache.parquet",
}
_NAMES = {"focus": "focus.csv"}


class _File(StreamingResponse):
    """A body that ends the moment its reader leaves, and after ``LIMIT_S``; what is cut is not ended as HTTP has it."""

    async def stream_response(self, send: Send) -> None:
        async with asyncio.timeout(LIMIT_S), aclosing(self.body_iterator):  # type: ignore[type-var]
            await super().stream_response(send)


@routes.get("/export")
async def export(
    request: Request,
    caller: Caller,
    edge: TheEdge,
    workspace_id: WorkspaceQuery = None,
    from_: From = None,
    to: Moment = None,
    format_: Annotated[Format, Query(alias="format")] = "csv",
) -> Response:
    """The call log of [from, to) as a file, newest first: a snapshot of the moment it was asked for."""
    workspace = await edge.workspace(caller, Action.READ_USAGE, workspace_id)
    query = ReadCallsV1(workspace_id=workspace, since=instant("from", from_), until=instant("to", to))
    exports: Exports = request.app.state.exports
    download = await exports.download(query, format_)
    headers = {"content-disposition": f'attachment; filename="ai-usage.{_NAMES.get(format_, format_)}"'}
    if download.total is not None:
        headers["x-omnipost-rows-total"] = str(download.total)
    return _File(download.chunks, media_type=_MEDIA[format_], headers=headers)


@routes.get("/pull")
async def pull(
    request: Request,
    caller: Caller,
    edge: TheEdge,
    workspace_id: WorkspaceQuery = None,
    cursor: Cursor = None,
    limit: PullLimit = 500,
) -> Response:
    """The next rows as they were written or corrected, as NDJSON; the headers say where to go on, and checksums."""
    workspace = await edge.workspace(caller, Action.READ_USAGE, workspace_id)
    exports: Exports = request.app.state.exports
    page = await exports.pull(workspace, cursor, limit)
    headers = {
        "x-omnipost-rows": str(page.rows),
        "x-omnipost-page-sha256": page.sha256,
        "x-omnipost-rows-so-far": str(page.pulled.rows),
        "x-omnipost-chain-sha256": page.pulled.chain.hex(),
        "x-omnipost-next-cursor": page.cursor,
        "x-omnipost-at-end": "true" if page.at_end else "false",
    }
    return Response(page.body, media_type=_MEDIA["ndjson"], headers=headers)
