"""Alerts of the other services: written down for every webhook that asks, then announced to who listens now."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any
from uuid import UUID

import pydantic

from services.api.domain.webhooks import body
from services.api.webhook_rows import WebhookRows
from shared import failpoints, logs
from shared.bus import Bus
from shared.clock import Clock
from shared.errors import OmniError
from shared.messages.alerts import AlertKind, BudgetAlertV1, KeyAlertV1
from shared.messages.base import Event
from shared.messages.events import BudgetExhaustedV1, BudgetHaltedV1, BudgetWarningV1, KeyInvalidV1
from shared.records import Delivery

Alert = BudgetAlertV1 | KeyAlertV1
_CONTRACTS: Mapping[str, type[BudgetAlertV1] | type[KeyAlertV1]] = {
    BudgetAlertV1.subject: BudgetAlertV1,
    KeyAlertV1.subject: KeyAlertV1,
}
_EVENTS: Mapping[AlertKind, type[Event]] = {
    AlertKind.BUDGET_WARNING: BudgetWarningV1,
    AlertKind.BUDGET_EXHAUSTED: BudgetExhaustedV1,
    AlertKind.BUDGET_HALTED: BudgetHaltedV1,
    AlertKind.KEY_INVALID: KeyInvalidV1,
}
_LARGEST_ID = 2**63 - 1


class Alerts:
    """The handler of the stream ``ALERTS``."""

    def __init__(self, rows: WebhookRows, bus: Bus, clock: Clock, enqueued: Callable[[], None]) -> None:
        """``enqueued``: called when something may be due."""
        self._rows, self._bus, self._clock, self._enqueued = rows, bus, clock, enqueued
        self._log = logs.get()

    async def take(self, deliveries: Sequence[Delivery]) -> None:
        """Commit what follows from a batch. Raises OmniError ``unavailable``: then it comes again, and changes nothing.

        What does not match its contract is logged and left: it can only come from another version of ourselves, and
        the alert stays in its owner's table.
        """
        alerts = [alert for alert in map(self._parsed, deliveries) if alert is not None]
        await self._rows.enqueue([_enqueued(alert) for alert in alerts], self._clock.now())
        failpoints.passing("api.alerts.enqueued")
        self._enqueued()
        for alert in alerts:
            # Core NATS promises nothing: who must miss no event takes a webhook.
            with suppress(OmniError):
                await self._bus.announce(event_of(alert))

    def _parsed(self, delivery: Delivery) -> Alert | None:
        try:
            alert = _CONTRACTS[delivery.subject].model_validate_json(delivery.body)
            UUID(alert.alert_id)
        except (pydantic.ValidationError, ValueError, KeyError):
            self._log.error("alert ignored: it does not match its contract", count=len(delivery.body))
            return None
        return alert if 0 < alert.workspace_id <= _LARGEST_ID else None


def event_of(alert: Alert) -> Event:
    """What is announced of ``alert``."""
    return _EVENTS[alert.kind].model_validate({"workspace_id": alert.workspace_id, "alert": alert})


def _enqueued(alert: Alert) -> dict[str, Any]:
    return {
        "workspace_id": alert.workspace_id,
        "event_id": UUID(alert.alert_id),
        "type": alert.kind.value,
        "body": body(alert.kind.value, alert.at, alert.model_dump(mode="json")),
    }
