"""The only wiring of metering."""

from services.metering.actions import Actions
from services.metering.budgets import Budgets
from services.metering.connection import Connection
from services.metering.consequences import ALERTS, ROOM
from services.metering.contents import Contents
from services.metering.credits import Credits
from services.metering.exports import Exports
from services.metering.forgetting import Forgetter
from services.metering.ledger import Ledger
from services.metering.letters import Letters
from services.metering.notices import Notices
from services.metering.reconciling import Reconciliation
from services.metering.reports import Reports
from services.metering.retention import Purger, Retention
from services.metering.service import MeteringService
from services.metering.settings import Settings
from services.metering.settler import BATCH, Settler
from services.metering.store import Store
from services.metering.subscribers import (
    subscribe,
    subscribe_books,
    subscribe_contents,
    subscribe_credits,
    subscribe_exports,
)
from services.metering.sweeper import Sweeper
from shared import logs
from shared.bus import Bus
from shared.clock import Clock, SystemClock
from shared.db import Database
from shared.messages.alerts import BudgetAlertV1
from shared.messages.base import Service
from shared.messages.router import CallFinishedV1
from shared.outbox import Outbox
from shared.records import RecordConsumer
from shared.runtime import Stop, load_settings
from shared.telemetry import Telemetry

SCHEMA = "0009"


class Metering:
    """Metering's parts, started and stopped in order."""

    def __init__(self, settings: Settings, clock: Clock, stop: Stop) -> None:
        self.telemetry = Telemetry(Service.METERING, settings.otel_exporter_otlp_endpoint)
        self.database = Database(settings.database_url)
        self.bus = Bus(Service.METERING, settings, self.telemetry, stop.give_up)
        self.ledger = Ledger(Connection(self.database), clock)
        # While the database works for one, the other prepares its batch.
        self.settler = Settler(Connection(self.database), clock, self.telemetry)
        self.second = Settler(Connection(self.database), clock, self.telemetry)
        self.sweeper = Sweeper(
            Connection(self.database), clock, settings.metering_sweep_s, lambda: self.consumer.is_current
        )
        settlers = self.settler.settle, self.second.settle
        self.consumer = RecordConsumer(self.bus, CallFinishedV1, *settlers, batch=BATCH)
        store, reports = Store(self.database), Reports(self.database)
        budgets = Budgets(self.database)
        subscribe(self.bus, MeteringService(self.ledger, budgets, reports, store, clock, self.consumer.check))
        self.teller = Outbox(self.database, self.bus, clock, BudgetAlertV1, "budget_alerts")
        self.books = Connection(self.database)
        subscribe_books(
            self.bus,
            Letters(self.books, clock),
            Reconciliation(self.books, clock),
            Retention(self.books, clock),
            Actions(self.database),
        )
        subscribe_credits(self.bus, Credits(self.books, clock))
        subscribe_exports(self.bus, Exports(self.database))
        self.forgetter = Forgetter(Connection(self.database), clock)
        self.kept = Connection(self.database)
        subscribe_contents(self.bus, Contents(self.kept, clock, self.bus.announce, self.forgetter.wake))
        self.purger = Purger(Connection(self.database), clock)
        self.notices = Notices(self.database, {ROOM: self._room, ALERTS: lambda _: self.teller.wake()})

    async def start(self) -> None:
        """Serve, once the schema is there. Raises OmniError ``unavailable``."""
        await self.database.wait_for_schema(SCHEMA)
        await self.ledger.start()
        await self.bus.start()
        await self.consumer.start()
        await self.sweeper.start()
        await self.purger.start()
        await self.forgetter.start()
        self.teller.begin()
        await self.notices.start()

    async def stop(self, grace_s: float) -> None:
        """Commit and acknowledge what is in flight, within ``grace_s`` seconds, then release everything."""
        await self.sweeper.stop()
        await self.purger.stop()
        await self.forgetter.stop()
        await self.notices.stop()
        await self.teller.stop()
        self.ledger.close_room()
        await self.consumer.stop(grace_s / 2)
        await self.bus.stop(grace_s / 2)
        await self.ledger.stop()
        await self.settler.close()
        await self.second.close()
        await self.books.close()
        await self.kept.close()
        await self.database.close()
        self.telemetry.stop()

    def _room(self, budgets: str) -> None:
        self.ledger.room_in(map(int, budgets.split(",")))


async def start(stop: Stop) -> Metering:
    """Start metering with the settings of the environment."""
    metering = Metering(load_settings(Settings, Service.METERING), SystemClock(), stop)
    await metering.start()
    logs.get().info("serving", version=SCHEMA)
    return metering
