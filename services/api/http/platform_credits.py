"""``/ai-workspaces/{id}/credits``: whether a workspace uses the platform credits it may have been given."""

from typing import Any

from fastapi import APIRouter

from services.api.domain.access import Action
from services.api.http.caller import Actor, Caller, TheEdge
from services.api.schemas import WorkspacePath
from services.api.schemas_budgets import CreditsIn
from shared.errors import invalid
from shared.messages.platform_credits import CreditsV1, GetCreditsV1, SetCreditsV1

routes = APIRouter(prefix="/ai-workspaces/{workspace_id}/credits", tags=["budgets"])


@routes.get("")
async def read(caller: Caller, edge: TheEdge, workspace_id: WorkspacePath) -> dict[str, Any]:
    """Whether credits are used here, and whether any were granted; how much, ``GET /ai-budgets`` says."""
    workspace = await edge.workspace(caller, Action.READ_USAGE, workspace_id)
    return (await edge.bus.request(GetCreditsV1(workspace_id=workspace), CreditsV1)).model_dump()


@routes.put("")
async def switch(
    caller: Caller, actor: Actor, edge: TheEdge, workspace_id: WorkspacePath, body: CreditsIn
) -> dict[str, Any]:
    """Allow credits or switch them off, at once. Who did it is among the ledger's actions."""
    workspace = await edge.workspace(caller, Action.SWITCH_CREDITS, workspace_id)
    if body.workspace_id not in (None, workspace):
        raise invalid("The body names another workspace than the path; leave it out.", field="workspace_id")
    request = SetCreditsV1(workspace_id=workspace, credits=body.credits, actor=actor)
    return (await edge.bus.request(request, CreditsV1)).model_dump()
