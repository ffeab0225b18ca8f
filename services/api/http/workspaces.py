"""``/ai-workspaces`` and ``/ai-tokens``: who exists, and who may come in."""

from typing import Any
from uuid import UUID

from fastapi import APIRouter, Request, Response

from services.api.domain.access import Action
from services.api.domain.pages import moment
from services.api.domain.rates import Rates
from services.api.http.caller import Caller, Doorkeeper, TheEdge
from services.api.http.idempotent import NewId
from services.api.http.paging import Page
from services.api.schemas import RatesIn, TokenChange, TokenIn, WorkspaceIn, WorkspacePath, WorkspaceQuery
from services.api.store import TokenRow
from shared.errors import not_found

routes = APIRouter(tags=["workspaces"])


@routes.get("/ai-workspaces")
async def list_workspaces(caller: Caller, edge: TheEdge, page: Page) -> dict[str, Any]:
    """Every workspace; platform admin only."""
    caller.may(Action.WRITE_WORKSPACES)
    rows, cursor = page.page("workspaces", None, await edge.store.workspaces(), lambda row: f"{row.id:020d}")
    items = [{"id": row.id, "name": row.name, "created_at": row.created_at} for row in rows]
    return {"items": items, "next_cursor": cursor}


@routes.post("/ai-workspaces", status_code=201)
async def add_workspace(caller: Caller, edge: TheEdge, body: WorkspaceIn) -> dict[str, Any]:
    """Create a workspace with the default aliases; platform admin only."""
    caller.may(Action.WRITE_WORKSPACES)
    return {"id": await edge.add_workspace(body.id, body.name), "name": body.name}


@routes.get("/ai-tokens")
async def list_tokens(caller: Caller, edge: TheEdge, page: Page, workspace_id: WorkspaceQuery = None) -> dict[str, Any]:
    """The workspace's access tokens, masked, newest first."""
    workspace = await edge.workspace(caller, Action.WRITE_TOKENS, workspace_id)
    tokens = await edge.store.tokens(workspace)
    rows, cursor = page.page("tokens", workspace, tokens, lambda row: moment(row.created_at, row.id), newest_first=True)
    return {"items": [_view(row) for row in rows], "next_cursor": cursor}


@routes.post("/ai-tokens", status_code=201)
async def add_token(caller: Caller, edge: TheEdge, new_id: NewId, body: TokenIn) -> dict[str, Any]:
    """Create an access token. It is shown in this answer and never again."""
    workspace = await edge.workspace(caller, Action.WRITE_TOKENS, body.workspace_id)
    row, token = await edge.add_token(workspace, new_id, body)
    return {**_view(row), "token": token}


@routes.put("/ai-tokens/{token_id}")
async def change_token(
    caller: Caller, edge: TheEdge, token_id: str, body: TokenChange, request: Request
) -> dict[str, Any]:
    """Change an access token's name or rate limits; what is left out stays. Everywhere within two seconds."""
    caller.may(Action.WRITE_TOKENS)
    row = await edge.change_token(_token_id(token_id), caller.workspace_id, body)
    _forget_tokens(request)
    return _view(row)


@routes.get("/ai-workspaces/{workspace_id}/limits")
async def workspace_limits(caller: Caller, edge: TheEdge, workspace_id: WorkspacePath) -> dict[str, Any]:
    """The workspace's rate limits; null: the deployment's default, usually none."""
    workspace = await edge.workspace(caller, Action.READ_USAGE, workspace_id)
    return _limits(workspace, await edge.rates_of(workspace))


@routes.put("/ai-workspaces/{workspace_id}/limits")
async def limit_workspace(caller: Caller, edge: TheEdge, workspace_id: WorkspacePath, body: RatesIn) -> dict[str, Any]:
    """Change the workspace's rate limits; platform admin only. Everywhere within two seconds."""
    workspace = await edge.workspace(caller, Action.LIMIT_WORKSPACES, workspace_id)
    return _limits(workspace, await edge.limit_workspace(workspace, body))


@routes.delete("/ai-tokens/{token_id}", status_code=204)
async def revoke_token(caller: Caller, edge: TheEdge, token_id: str, request: Request) -> Response:
    """Revoke an access token."""
    caller.may(Action.WRITE_TOKENS)
    await edge.revoke_token(_token_id(token_id), caller.workspace_id)
    _forget_tokens(request)
    return Response(status_code=204)


def _token_id(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise not_found("token") from None


def _forget_tokens(request: Request) -> None:
    doorkeeper: Doorkeeper = request.app.state.doorkeeper
    doorkeeper.forget_all()


def _limits(workspace_id: int, rates: Rates) -> dict[str, Any]:
    limits = {"requests_per_minute": rates.requests, "tokens_per_minute": rates.tokens}
    return {"workspace_id": workspace_id, **limits}


def _view(row: TokenRow) -> dict[str, Any]:
    return row.model_dump(exclude={"token_hash"})
