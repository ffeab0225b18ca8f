"""``/ai-keys``: a workspace's own provider keys. The key itself never comes back."""

from typing import Any

from fastapi import APIRouter, Response

from services.api.domain.access import Action
from services.api.domain.pages import moment
from services.api.http.caller import Actor, Caller, TheEdge
from services.api.http.idempotent import NewId
from services.api.http.paging import Page
from services.api.schemas import KeyChange, KeyIn, WorkspaceQuery
from services.api.service import KeyWithBudget
from shared.messages.metering import BudgetV1
from shared.messages.vocabulary import Modality
from shared.money import usd_from_micros

routes = APIRouter(prefix="/ai-keys", tags=["keys"])


@routes.get("")
async def list_keys(caller: Caller, edge: TheEdge, page: Page, workspace_id: WorkspaceQuery = None) -> dict[str, Any]:
    """Every key of a workspace, masked, oldest first."""
    workspace = await edge.workspace(caller, Action.READ_KEYS, workspace_id)
    keys = await edge.keys(workspace)
    items, cursor = page.page("keys", workspace, keys, lambda item: moment(item.key.created_at, item.key.id))
    return {"items": [key_view(item) for item in items], "next_cursor": cursor}


@routes.post("", status_code=201)
async def add_key(caller: Caller, actor: Actor, edge: TheEdge, new_id: NewId, body: KeyIn) -> dict[str, Any]:
    """Store a key and verify it with the provider, at no cost. A refused key is stored as ``invalid``."""
    workspace = await edge.workspace(caller, Action.WRITE_KEYS, body.workspace_id)
    return key_view(await edge.add_key(workspace, new_id, body, actor))


@routes.get("/{key_id}")
async def get_key(caller: Caller, edge: TheEdge, key_id: str) -> dict[str, Any]:
    """One key, masked."""
    key = await edge.find_key(caller, Action.READ_KEYS, key_id)
    return key_view(await edge.key(key.workspace_id, key.id))


@routes.put("/{key_id}")
async def change_key(caller: Caller, actor: Actor, edge: TheEdge, key_id: str, body: KeyChange) -> dict[str, Any]:
    """Change label, scopes, restrictions or budgets, or replace the key; what is left out stays."""
    key = await edge.find_key(caller, Action.WRITE_KEYS, key_id)
    return key_view(await edge.change_key(key, body, actor))


@routes.delete("/{key_id}", status_code=204)
async def revoke_key(caller: Caller, actor: Actor, edge: TheEdge, key_id: str) -> Response:
    """Revoke for good: calls under way are cut, and none starts with the key once this has answered."""
    key = await edge.find_key(caller, Action.WRITE_KEYS, key_id)
    await edge.revoke_key(key, actor)
    return Response(status_code=204)


@routes.post("/{key_id}/verify")
async def verify_key(caller: Caller, edge: TheEdge, key_id: str) -> dict[str, Any]:
    """Ask the provider again whether it accepts the key, at no cost."""
    key = await edge.find_key(caller, Action.WRITE_KEYS, key_id)
    return key_view(await edge.verify_key(key))


def key_view(item: KeyWithBudget) -> dict[str, Any]:
    """A key as the contract has it."""
    key, budget = item.key, item.budget
    return {
        "id": key.id,
        "workspace_id": key.workspace_id,
        "provider": key.provider,
        "label": key.label,
        "masked_key": key.masked_key,
        "scopes": {modality.value: modality in key.scopes for modality in Modality},
        "restrictions": {
            name: sorted(allowed) if (allowed := getattr(key.restrictions, name)) is not None else None
            for name in ("models", "regions")
        },
        "status": key.status.value,
        "status_reason": key.status_reason,
        **_limits("monthly", budget),
        **_limits("daily", item.day),
        "budget": budget.public() if budget else None,
        "daily_budget": item.day.public() if item.day else None,
        "destination": key.host,
        "version": key.version,
        "last_verified_at": key.last_verified_at,
        "created_at": key.created_at,
        "updated_at": key.updated_at,
    }


def _limits(period: str, budget: BudgetV1 | None) -> dict[str, float | int | None]:
    caps = budget.caps if budget else None
    usd = caps.usd_micros if caps else None
    return {
        f"{period}_budget_usd": None if usd is None else float(usd_from_micros(usd)),
        f"{period}_budget_tokens": caps.tokens if caps else None,
        f"{period}_budget_requests": caps.requests if caps else None,
    }
