"""``/ai-webhooks``: where a workspace's events are sent, and how that went."""

from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response

from services.api.domain.access import Action
from services.api.domain.pages import moment
from services.api.http.caller import Caller, TheEdge
from services.api.http.idempotent import NewId
from services.api.http.paging import Page, TheCursors
from services.api.schemas import WorkspaceQuery
from services.api.schemas_webhooks import DeliveriesQuery, WebhookChange, WebhookIn
from services.api.webhook_rows import DeliveryRow, WebhookRow
from services.api.webhooks import Webhooks

routes = APIRouter(prefix="/ai-webhooks", tags=["webhooks"])


def _webhooks(request: Request) -> Webhooks:
    webhooks: Webhooks = request.app.state.webhooks
    return webhooks


TheWebhooks = Annotated[Webhooks, Depends(_webhooks)]


@routes.get("")
async def list_webhooks(
    caller: Caller, edge: TheEdge, webhooks: TheWebhooks, page: Page, workspace_id: WorkspaceQuery = None
) -> dict[str, Any]:
    """A workspace's webhooks, oldest first, without their secrets."""
    workspace = await edge.workspace(caller, Action.READ_WEBHOOKS, workspace_id)
    found = await webhooks.webhooks(workspace)
    rows, cursor = page.page("webhooks", workspace, found, lambda row: moment(row.created_at, row.id))
    return {"items": [webhook_view(row) for row in rows], "next_cursor": cursor}


@routes.post("", status_code=201)
async def add_webhook(
    caller: Caller, edge: TheEdge, webhooks: TheWebhooks, new_id: NewId, body: WebhookIn
) -> dict[str, Any]:
    """Add a webhook. Its secret is shown in this answer and never again."""
    workspace = await edge.workspace(caller, Action.WRITE_WEBHOOKS, body.workspace_id)
    row, secret = await webhooks.add(workspace, new_id, body)
    return {**webhook_view(row), "secret": secret}


@routes.put("/{webhook_id}")
async def change_webhook(caller: Caller, webhooks: TheWebhooks, webhook_id: str, body: WebhookChange) -> dict[str, Any]:
    """Change a webhook; what is left out stays. A new secret is shown in this answer and never again."""
    row, secret = await webhooks.change(caller, webhook_id, body)
    return {**webhook_view(row), **({"secret": secret} if secret else {})}


@routes.delete("/{webhook_id}", status_code=204)
async def delete_webhook(caller: Caller, webhooks: TheWebhooks, webhook_id: str) -> Response:
    """Delete a webhook and what has not been sent to it."""
    await webhooks.remove(caller, webhook_id)
    return Response(status_code=204)


@routes.post("/{webhook_id}/test", status_code=202)
async def test_webhook(caller: Caller, webhooks: TheWebhooks, webhook_id: str) -> dict[str, Any]:
    """Send a ``webhook.test``, as every event is sent; its deliveries say how that went."""
    return delivery_view(await webhooks.test(caller, webhook_id))


@routes.get("/{webhook_id}/deliveries")
async def list_deliveries(
    caller: Caller,
    webhooks: TheWebhooks,
    cursors: TheCursors,
    webhook_id: str,
    asked: Annotated[DeliveriesQuery, Query()],
) -> dict[str, Any]:
    """What was sent in the last 30 days, newest first."""
    of = f"deliveries {webhook_id}"
    before = cursors.before(of, None, asked.cursor, asked.before)
    rows = await webhooks.deliveries(caller, webhook_id, before, asked.limit)
    cursor = cursors.older(of, None, rows, "seq", asked.limit)
    return {"items": [delivery_view(row) for row in rows], "next_cursor": cursor}


@routes.post("/{webhook_id}/deliveries/{delivery_id}/replay", status_code=202)
async def replay_delivery(caller: Caller, webhooks: TheWebhooks, webhook_id: str, delivery_id: str) -> dict[str, Any]:
    """Send an event again, under the same ``webhook-id``."""
    return delivery_view(await webhooks.replay(caller, webhook_id, delivery_id))


def webhook_view(row: WebhookRow) -> dict[str, Any]:
    """A webhook as its owner sees it."""
    return {
        "id": row.id,
        "workspace_id": row.workspace_id,
        "url": row.url,
        "events": row.events,
        "enabled": row.disabled_at is None,
        "disabled_at": _utc(row.disabled_at),
        "disabled_why": row.disabled_why,
        "failing_since": _utc(row.failing_since),
        "old_secret_until": _utc(row.previous_until),
        "created_at": _utc(row.created_at),
        "updated_at": _utc(row.updated_at),
    }


def delivery_view(row: DeliveryRow) -> dict[str, Any]:
    """A delivery: what the receiver answered, never with which words."""
    return {
        "id": row.id,
        "seq": row.seq,
        "event_id": row.event_id,
        "type": row.type,
        "status": row.status,
        "attempts": row.attempts,
        "last_code": row.last_code,
        "last_trouble": row.last_trouble,
        "next_at": _utc(row.next_at) if row.status == "pending" else None,
        "created_at": _utc(row.created_at),
        "delivered_at": _utc(row.delivered_at),
    }


def _utc(moment: datetime | None) -> datetime | None:
    return moment and moment.astimezone(UTC)
