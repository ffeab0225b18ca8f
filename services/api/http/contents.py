"""Retention: how long the call log is kept, whether what calls were about is stored, and reading it."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Request

from services.api.contents import Contents
from services.api.domain.access import Action
from services.api.http.caller import Actor, Caller, TheEdge
from services.api.schemas import WorkspacePath, WorkspaceQuery
from services.api.schemas_bookkeeping import RetentionIn
from shared.errors import invalid, not_found
from shared.messages.bookkeeping import RetentionV1
from shared.messages.contents import ContentPolicyV1

routes = APIRouter(tags=["retention"])


def _contents(request: Request) -> Contents:
    contents: Contents = request.app.state.contents
    return contents


TheContents = Annotated[Contents, Depends(_contents)]


@routes.get("/ai-workspaces/{workspace_id}/retention")
async def retention(
    caller: Caller, edge: TheEdge, contents: TheContents, workspace_id: WorkspacePath
) -> dict[str, Any]:
    """How many days the call log is kept (null: for ever), and whether and how long the content of calls is."""
    workspace = await edge.workspace(caller, Action.READ_USAGE, workspace_id)
    return _view(*await contents.retention(workspace))


@routes.put("/ai-workspaces/{workspace_id}/retention")
async def set_retention(
    caller: Caller, actor: Actor, edge: TheEdge, contents: TheContents, workspace_id: WorkspacePath, body: RetentionIn
) -> dict[str, Any]:
    """Change what is named. ``zero_retention`` forbids storing content, and destroys what is stored, for good."""
    workspace = await edge.workspace(caller, Action.WRITE_RETENTION, workspace_id)
    if body.workspace_id not in (None, workspace):
        raise invalid("The body names another workspace than the path; leave it out.", field="workspace_id")
    return _view(*await contents.set_retention(workspace, body, actor))


@routes.get("/ai-usage/calls/{attempt_id}/content")
async def content(
    caller: Caller,
    actor: Actor,
    edge: TheEdge,
    contents: TheContents,
    attempt_id: str,
    workspace_id: WorkspaceQuery = None,
) -> dict[str, Any]:
    """What a call was asked and what it answered, if its workspace stores that. Whoever reads it is in the audit."""
    workspace = await edge.workspace(caller, Action.READ_CONTENT, workspace_id)
    try:
        attempt = str(UUID(attempt_id))
    except ValueError:
        raise not_found("content") from None
    stored, told = await contents.read(workspace, attempt, actor)
    about = {"attempt_id": stored.attempt_id, "call_id": stored.call_id, "stored_at": stored.stored_at}
    return about | told.model_dump(mode="json", exclude_none=True)


def _view(rows: RetentionV1, policy: ContentPolicyV1) -> dict[str, Any]:
    return rows.model_dump() | policy.model_dump()
