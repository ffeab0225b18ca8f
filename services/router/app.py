"""The only wiring of the router."""

import asyncio
import socket
from uuid import uuid4

from services.router.admission import Admission
from services.router.attempt import Attempts
from services.router.breakers import Breakers
from services.router.catalogue import Catalogue
from services.router.catalogue_history import History
from services.router.catalogue_service import Providers
from services.router.client import ProviderClient
from services.router.contents import AccountsWithContents, Contents
from services.router.counting import Counting
from services.router.cuts import Cuts
from services.router.exchange import Exchanges
from services.router.explain import Explain
from services.router.invoke import Invoke
from services.router.keys import KeyDirectory, KeyNews, Leases
from services.router.latencies import Latencies
from services.router.planning import Planner
from services.router.retries import Retries
from services.router.service import Aliases
from services.router.settings import Settings
from services.router.settlements import Settlements
from services.router.store import Store
from services.router.subscribers import subscribe_calls, subscribe_catalogue, subscribe_news
from services.router.verification import Verdicts
from shared import logs, sealing
from shared.bus import Bus
from shared.clock import Clock, SystemClock
from shared.db import Database
from shared.destinations import parse_allowed
from shared.hints import Hints
from shared.messages.base import Service
from shared.messages.health import PingRouterV1, ReadyV1
from shared.messages.router import BreakerChangedV1
from shared.runtime import Stop, load_settings
from shared.settings import read_secret
from shared.telemetry import Telemetry

SCHEMA = "0006"
TIDY_EVERY_S = 5.0
FLUSH_S = 3.0


class Router:
    """A running router."""

    def __init__(self, settings: Settings, stop: Stop) -> None:
        clock: Clock = SystemClock()
        allowed = parse_allowed(settings.omnipost_allowed_private_hosts)
        vault = sealing.VaultPublic.parse(read_secret(settings.vault_public_file))
        self._telemetry = Telemetry(Service.ROUTER, settings.otel_exporter_otlp_endpoint)
        self._bus = Bus(Service.ROUTER, settings, self._telemetry, stop.give_up)
        self._database = Database(settings.database_url)
        store = Store(self._database)
        self._catalogue = Catalogue(store, clock)
        self._leases = Leases(self._bus, clock, vault, f"{socket.gethostname()}-{uuid4()}")
        self._client = ProviderClient(allowed)
        self._settlements = Settlements(self._bus)
        self._providers = Providers(self._bus, store, History(self._database), self._catalogue, clock, allowed)
        directory = KeyDirectory(self._bus, clock)
        cuts = Cuts()
        verdicts = Verdicts(self._bus, clock, self._catalogue, self._leases, self._client, cuts)
        breakers, latencies = Breakers(clock), Latencies(clock)
        self._hints = Hints(self._bus, clock, BreakerChangedV1, breakers.hear, breakers.open_now)
        breakers.share(self._hints.tell)
        planner = Planner(self._catalogue, directory, breakers, latencies, clock)
        self._contents = Contents(self._bus, clock, vault)
        accounts = AccountsWithContents(self._settlements, clock, self._contents)
        admission = Admission(self._bus, clock, self._catalogue, self._leases, accounts, cuts)
        exchanges = Exchanges(self._bus, clock, self._client, cuts)
        attempts = Attempts(clock, admission, exchanges, accounts, verdicts, breakers, latencies)
        explain = Explain(self._bus, self._catalogue, planner, admission)
        invoke, counting = Invoke(planner, attempts, Retries(clock), clock), Counting(self._catalogue)
        subscribe_calls(self._bus, invoke, explain, counting, verdicts)
        subscribe_catalogue(self._bus, Aliases(self._bus, store, self._catalogue, clock), self._providers)
        subscribe_news(self._bus, self._catalogue, KeyNews(directory, self._leases, cuts, breakers))
        self._bus.answer(PingRouterV1, self._ready)
        self._tidying: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Begin to serve."""
        await self._database.wait_for_schema(SCHEMA)
        await self._providers.seed()
        await self._catalogue.entries()
        await self._bus.start()
        self._hints.start()
        self._contents.start()
        self._tidying = asyncio.create_task(self._tidy())

    async def stop(self, grace_s: float) -> None:
        """Finish the calls in flight, publish what is still unpublished, release everything."""
        await self._bus.finish(grace_s - FLUSH_S)
        await asyncio.gather(self._settlements.flush(FLUSH_S), self._contents.stop(FLUSH_S))
        await self._hints.stop()
        await self._bus.stop()
        if self._tidying is not None:
            self._tidying.cancel()
        await self._client.aclose()
        await self._database.close()
        self._telemetry.stop()

    async def _ready(self, _: PingRouterV1) -> ReadyV1:
        await self._catalogue.entries()
        self._settlements.check()
        return ReadyV1(service=Service.ROUTER)

    async def _tidy(self) -> None:
        while True:
            await asyncio.sleep(TIDY_EVERY_S)
            self._leases.drop_expired()


async def start(stop: Stop) -> Router:
    """Start a router process. Raises OmniError when settings or schema are not right."""
    router = Router(load_settings(Settings, Service.ROUTER), stop)
    await router.run()
    logs.get().info("serving", version=SCHEMA)
    return router
