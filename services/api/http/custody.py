"""``/ai-vault``, ``/ai-audit`` and the end of a workspace: what keys are kept with, and who did what to them."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response

from services.api.custody import Custody
from services.api.domain.access import Action
from services.api.http.caller import Actor, Caller, Doorkeeper, TheEdge
from services.api.http.paging import TheCursors
from services.api.schemas import AuditWorkspace, WorkspacePath
from services.api.schemas_queries import AuditQuery
from shared.messages.custody import QueryAuditV1

routes = APIRouter(tags=["custody"])


def _custody(request: Request) -> Custody:
    custody: Custody = request.app.state.custody
    return custody


TheCustody = Annotated[Custody, Depends(_custody)]


@routes.post("/ai-vault/kek-rotation", status_code=202)
async def rotate_kek(caller: Caller, actor: Actor, custody: TheCustody) -> dict[str, Any]:
    """Rewrap every data key under the active KEK, online; ask with GET how far it has come. Platform admin only."""
    caller.may(Action.ROTATE_MASTER_KEYS)
    return (await custody.rotate_kek(actor)).model_dump()


@routes.get("/ai-vault/kek-rotation")
async def kek_rotation(caller: Caller, custody: TheCustody) -> dict[str, Any]:
    """The last rotation of the key-encryption key. Platform admin only."""
    caller.may(Action.ROTATE_MASTER_KEYS)
    return (await custody.kek_rotation()).model_dump()


@routes.post("/ai-workspaces/{workspace_id}/dek-rotation")
async def rotate_dek(
    caller: Caller, actor: Actor, edge: TheEdge, custody: TheCustody, workspace_id: WorkspacePath
) -> dict[str, Any]:
    """Give a workspace a new data key, and encrypt its keys anew with it."""
    workspace = await edge.workspace(caller, Action.ROTATE_DATA_KEYS, workspace_id)
    return (await custody.rotate_dek(workspace, actor)).model_dump()


@routes.delete("/ai-workspaces/{workspace_id}", status_code=204)
async def delete_workspace(
    caller: Caller, actor: Actor, custody: TheCustody, workspace_id: WorkspacePath, request: Request
) -> Response:
    """End a workspace: its tokens, its keys and what they are encrypted with are destroyed. Platform admin only."""
    caller.may(Action.WRITE_WORKSPACES)
    try:
        await custody.delete_workspace(workspace_id, actor)
    finally:
        doorkeeper: Doorkeeper = request.app.state.doorkeeper
        doorkeeper.forget_all()
    return Response(status_code=204)


@routes.get("/ai-audit")
async def audit(
    caller: Caller, custody: TheCustody, cursors: TheCursors, asked: Annotated[AuditQuery, Query()]
) -> dict[str, Any]:
    """What was done to keys, by whom and from where, newest first; ``workspace_id=0``: to the platform's own."""
    workspace = await custody.audit_scope(caller, asked.workspace_id)
    of = f"audit {asked.key_id}"
    before = cursors.before(of, workspace, asked.cursor, asked.before)
    query = QueryAuditV1(workspace_id=workspace, key_id=asked.key_id, before=before, limit=asked.limit)
    page = await custody.audit(query)
    onward = None if page.next_before is None else str(page.next_before)
    return page.model_dump(mode="json") | {"next_cursor": cursors.sealed(of, workspace, onward)}


@routes.get("/ai-audit/verification")
async def verify_audit(caller: Caller, custody: TheCustody, workspace_id: AuditWorkspace = None) -> dict[str, Any]:
    """Recompute the hash chain. A platform admin who names no workspace asks for all of them."""
    caller.may(Action.READ_AUDIT)
    if caller.workspace_id is None and workspace_id is None:
        chains = await custody.every_chain()
    else:
        chains = [await custody.audit_scope(caller, workspace_id)]
    verdicts = await custody.verify_audit(chains)
    return {
        "intact": all(verdict.intact for verdict in verdicts),
        "chains": len(verdicts),
        "entries": sum(verdict.entries for verdict in verdicts),
        "broken": [verdict.model_dump() for verdict in verdicts if not verdict.intact],
        "head": verdicts[0].head if len(verdicts) == 1 else None,
    }
