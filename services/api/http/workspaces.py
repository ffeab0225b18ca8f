"""``/ai-workspaces`` and ``/ai-tokens``: who exists, and who may come in."""

from typing import Any
from uuid import UUID

from fastapi import APIRouter, Request, Response

from services.api.domain.access import Action
from services.api.http.caller import Caller, Doorkeeper, TheEdge
from services.api.schemas import TokenIn, WorkspaceIn, WorkspaceQuery
from services.api.store import TokenRow
from shared.errors import not_found

routes = APIRouter(tags=["workspaces"])


@routes.get("/ai-workspaces")
async def list_workspaces(caller: Caller, edge: TheEdge) -> dict[str, Any]:
    """Every workspace; platform admin only."""
    caller.may(Action.WRITE_WORKSPACES)
    rows = await edge.store.workspaces()
    return {"items": [{"id": row.id, "name": row.name, "created_at": row.created_at} for row in rows]}


@routes.post("/ai-workspaces", status_code=201)
async def add_workspace(caller: Caller, edge: TheEdge, body: WorkspaceIn) -> dict[str, Any]:
    """Create a workspace with the default aliases; platform admin only."""
    caller.may(Action.WRITE_WORKSPACES)
    return {"id": await edge.add_workspace(body.id, body.name), "name": body.name}


@routes.get("/ai-tokens")
async def list_tokens(caller: Caller, edge: TheEdge, workspace_id: WorkspaceQuery = None) -> dict[str, Any]:
    """The workspace's access tokens, masked, newest first."""
    workspace = await edge.workspace(caller, Action.WRITE_TOKENS, workspace_id)
    return {"items": [_view(row) for row in await edge.store.tokens(workspace)]}


@routes.post("/ai-tokens", status_code=201)
async def add_token(caller: Caller, edge: TheEdge, body: TokenIn) -> dict[str, Any]:
    """Create an access token. It is shown in this answer and never again."""
    workspace = await edge.workspace(caller, Action.WRITE_TOKENS, body.workspace_id)
    row, token = await edge.add_token(workspace, body)
    return {**_view(row), "token": token}


@routes.delete("/ai-tokens/{token_id}", status_code=204)
async def revoke_token(caller: Caller, edge: TheEdge, token_id: str, request: Request) -> Response:
    """Revoke an access token."""
    caller.may(Action.WRITE_TOKENS)
    try:
        parsed = UUID(token_id)
    except ValueError:
        raise not_found("token") from None
    await edge.revoke_token(parsed, caller.workspace_id)
    doorkeeper: Doorkeeper = request.app.state.doorkeeper
    doorkeeper.forget_all()
    return Response(status_code=204)


def _view(row: TokenRow) -> dict[str, Any]:
    return row.model_dump(exclude={"token_hash"})
