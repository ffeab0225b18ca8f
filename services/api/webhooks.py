"""Use cases of webhooks: adding, changing, trying, replaying. What is sent leaves through ``sender.py``."""

import secrets
from collections.abc import Callable
from uuid import UUID, uuid4

from services.api.courier import Courier
from services.api.domain.access import Action, Principal
from services.api.domain.webhook_secrets import NONCE_BYTES, SECRET_BYTES, Place, SecretBox, shown
from services.api.domain.webhooks import OLD_SECRET_FOR, TEST, body
from services.api.schemas_webhooks import WebhookChange, WebhookIn
from services.api.webhook_rows import DeliveryRow, WebhookRow, WebhookRows
from shared.clock import Clock
from shared.db import EVERY_WORKSPACE, Scope
from shared.errors import Code, OmniError, not_found

MOST = 20
"""Webhooks of one workspace."""


class Webhooks:
    """Every failure is an OmniError."""

    def __init__(
        self, rows: WebhookRows, courier: Courier, box: SecretBox, clock: Clock, enqueued: Callable[[], None]
    ) -> None:
        """``enqueued``: called when something is due."""
        self._rows, self._courier, self._box, self._clock, self._enqueued = rows, courier, box, clock, enqueued

    async def webhooks(self, workspace_id: int) -> list[WebhookRow]:
        """A workspace's, oldest first."""
        return await self._rows.webhooks(workspace_id)

    async def add(self, workspace_id: int, webhook_id: UUID, wish: WebhookIn) -> tuple[WebhookRow, str]:
        """A new webhook, and its secret, which is shown this once. Raises ``invalid_request``, ``conflict``.

        One with this id that nobody has been told of is made anew.
        """
        url, now = self._courier.check(wish.url), self._clock.now()
        place = Place(workspace_id, webhook_id)
        secret, sealed = self._new_secret(place)
        row = WebhookRow(
            id=place.webhook_id,
            workspace_id=workspace_id,
            url=url,
            events=sorted(wish.events),
            secret=sealed,
            created_at=now,
            updated_at=now,
        )
        if not await self._rows.add(row, MOST):
            raise OmniError(Code.CONFLICT, f"This workspace has {MOST} webhooks; delete one first.")
        return row, secret

    async def change(self, caller: Principal, webhook_id: str, wish: WebhookChange) -> tuple[WebhookRow, str | None]:
        """The webhook afterwards, and its new secret when one was asked for. Raises ``not_found``."""
        caller.may(Action.WRITE_WEBHOOKS)
        url = None if wish.url is None else self._courier.check(wish.url)
        now, given = self._clock.now(), list[str]()

        def changed(row: WebhookRow) -> None:
            row.url, row.updated_at = url or row.url, now
            row.events = row.events if wish.events is None else sorted(wish.events)
            if wish.enabled is True:
                row.disabled_at = row.disabled_why = row.failing_since = None
            elif wish.enabled is False and row.disabled_at is None:
                row.disabled_at, row.disabled_why = now, "by_owner"
            if wish.new_secret:
                secret, sealed = self._new_secret(row.place)
                row.previous_secret, row.previous_until, row.secret = row.secret, now + OLD_SECRET_FOR, sealed
                given.append(secret)

        row = await self._rows.change(_scope(caller), _uuid(webhook_id, "webhook"), changed)
        if row is None:
            raise not_found("webhook")
        self._enqueued()
        return row, given[0] if given else None

    async def remove(self, caller: Principal, webhook_id: str) -> None:
        """With what has not been sent. Raises ``not_found``."""
        caller.may(Action.WRITE_WEBHOOKS)
        if not await self._rows.remove(_scope(caller), _uuid(webhook_id, "webhook")):
            raise not_found("webhook")

    async def deliveries(self, caller: Principal, webhook_id: str, before: int | None, limit: int) -> list[DeliveryRow]:
        """Newest first. Raises ``not_found``."""
        webhook = await self._find(caller, Action.READ_WEBHOOKS, webhook_id)
        return await self._rows.deliveries(webhook, before, limit)

    async def test(self, caller: Principal, webhook_id: str) -> DeliveryRow:
        """Send something that says nothing. Raises ``not_found``, ``conflict`` (disabled)."""
        webhook = await self._sendable(caller, webhook_id)
        now, number = self._clock.now(), uuid4()
        data = {"workspace_id": webhook.workspace_id, "webhook_id": str(webhook.id)}
        row = DeliveryRow(
            id=uuid4(),
            webhook_id=webhook.id,
            workspace_id=webhook.workspace_id,
            event_id=number,
            type=TEST,
            body=body(TEST, now, data),
            next_at=now,
            created_at=now,
        )
        await self._rows.add_delivery(row)
        self._enqueued()
        return row

    async def replay(self, caller: Principal, webhook_id: str, delivery_id: str) -> DeliveryRow:
        """Send an event again, under its own id. Raises ``not_found``, ``conflict`` (disabled)."""
        webhook = await self._sendable(caller, webhook_id)
        row = await self._rows.replay(webhook, _uuid(delivery_id, "delivery"), self._clock.now())
        if row is None:
            raise not_found("delivery")
        self._enqueued()
        return row

    async def _sendable(self, caller: Principal, webhook_id: str) -> WebhookRow:
        webhook = await self._find(caller, Action.WRITE_WEBHOOKS, webhook_id)
        if webhook.disabled_at is not None:
            raise OmniError(Code.CONFLICT, "This webhook is disabled; enable it first.")
        return webhook

    async def _find(self, caller: Principal, action: Action, webhook_id: str) -> WebhookRow:
        caller.may(action)
        row = await self._rows.find(_scope(caller), _uuid(webhook_id, "webhook"))
        if row is None:
            raise not_found("webhook")
        return row

    def _new_secret(self, place: Place) -> tuple[str, bytes]:
        secret = secrets.token_bytes(SECRET_BYTES)
        return shown(secret), self._box.sealed(secret, place, secrets.token_bytes(NONCE_BYTES))


def _scope(caller: Principal) -> Scope:
    return EVERY_WORKSPACE if caller.workspace_id is None else caller.workspace_id


def _uuid(text: str, what: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise not_found(what) from None
