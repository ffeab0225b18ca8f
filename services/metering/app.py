"""The only wiring of metering."""

from nats.errors import Error as NatsError

from services.metering.connection import Connection
from services.metering.ledger import Ledger
from services.metering.service import MeteringService
from services.metering.settings import Settings
from services.metering.settler import Settler
from services.metering.store import Store
from services.metering.subscribers import subscribe
from services.metering.sweeper import Sweeper
from shared import logs
from shared.bus import Bus
from shared.clock import Clock, SystemClock
from shared.db import Database
from shared.errors import unavailable
from shared.messages.base import Service
from shared.messages.router import CallFinishedV1
from shared.records import RecordConsumer
from shared.runtime import Stop, load_settings
from shared.telemetry import Telemetry

SCHEMA = "0002"
DURABLE = "metering-calls"


class Metering:
    """Metering's parts, started and stopped in order."""

    def __init__(self, settings: Settings, clock: Clock, stop: Stop) -> None:
        self.telemetry = Telemetry(Service.METERING, settings.otel_exporter_otlp_endpoint)
        self.database = Database(settings.database_url)
        self.bus = Bus(Service.METERING, settings, self.telemetry, stop.give_up)
        self.ledger = Ledger(Connection(self.database), clock)
        self.settler = Settler(Connection(self.database), clock, self.telemetry)
        self.sweeper = Sweeper(
            Connection(self.database), clock, settings.metering_sweep_s, lambda: self.consumer.is_current
        )
        self.consumer = RecordConsumer(self.bus, CallFinishedV1, DURABLE, self.settler.settle)
        subscribe(self.bus, MeteringService(self.ledger, Store(self.database), clock))

    async def start(self) -> None:
        """Serve, once the schema is there. Raises OmniError ``unavailable``."""
        await self.database.wait_for_schema(SCHEMA)
        await self.ledger.start()
        await self.bus.start()
        try:
            await self.consumer.start()
        except NatsError as error:
            raise unavailable("The call stream cannot be set up; is JetStream enabled?") from error
        await self.sweeper.start()

    async def stop(self, grace_s: float) -> None:
        """Commit and acknowledge what is in flight, within ``grace_s`` seconds, then release everything."""
        await self.sweeper.stop()
        await self.consumer.stop(grace_s / 2)
        await self.bus.stop(grace_s / 2)
        await self.ledger.stop()
        await self.settler.close()
        await self.database.close()
        self.telemetry.stop()


async def start(stop: Stop) -> Metering:
    """Start metering with the settings of the environment."""
    metering = Metering(load_settings(Settings, Service.METERING), SystemClock(), stop)
    await metering.start()
    logs.get().info("serving", version=SCHEMA)
    return metering
