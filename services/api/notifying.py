"""The edge's part in live events, put together: alerts in, webhooks and announcements out."""

from collections.abc import Set as AbstractSet

from services.api.alerts import Alerts
from services.api.claims import Claims
from services.api.courier import Courier
from services.api.domain.webhook_secrets import SecretBox
from services.api.sender import Sender
from services.api.webhook_rows import WebhookRows
from services.api.webhooks import Webhooks
from shared.bus import Bus
from shared.clock import Clock
from shared.db import Database
from shared.messages.alerts import BudgetAlertV1
from shared.records import RecordConsumer


class Notifying:
    """Started once bus and schema are there. ``webhooks``: the use cases."""

    def __init__(
        self, bus: Bus, database: Database, clock: Clock, pepper: bytes, allowed_private_hosts: AbstractSet[str]
    ) -> None:
        rows, courier, box = WebhookRows(database), Courier(allowed_private_hosts), SecretBox(pepper)
        self._sender = Sender(Claims(database), courier, box, clock)
        self.webhooks = Webhooks(rows, courier, box, clock, self._sender.wake)
        alerts = Alerts(rows, bus, clock, self._sender.wake)
        self._consumer = RecordConsumer(bus, BudgetAlertV1, alerts.take)

    async def start(self) -> None:
        """Send, and hear alerts as soon as the stream is there: the edge serves without it."""
        self._sender.begin()
        await self._consumer.start()

    async def stop(self, grace_s: float) -> None:
        """Let what is under way end within ``grace_s`` seconds."""
        await self._consumer.stop(grace_s / 2)
        await self._sender.stop(grace_s / 2)
