"""The only wiring of the edge: HTTP in, NATS out."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from uuid import UUID

import uvicorn
from fastapi import FastAPI
from starlette.routing import Route
from starlette.types import ASGIApp

from services.api.contents import Contents
from services.api.custody import Custody
from services.api.domain.access import Role, masked_token, token_hash
from services.api.domain.pace import FIRST
from services.api.domain.pages import Cursors
from services.api.exports import Exports
from services.api.http import (
    aliases,
    bookkeeping,
    budgets,
    compatible,
    contents,
    counting,
    custody,
    docs_page,
    document,
    errors,
    export,
    health,
    invoke,
    keys,
    models,
    platform_credits,
    providers,
    usage,
    webhooks,
    workspaces,
)
from services.api.http.caller import Doorkeeper
from services.api.http.direct import Direct
from services.api.http.gate import QUEUE, WAIT_S, Gate
from services.api.http.idempotent import Idempotent
from services.api.http.middleware import Edge as EdgeMiddleware
from services.api.http.protocol import IDLE_S, Wire
from services.api.idempotency import Idempotency
from services.api.idempotent_rows import IdempotentRows
from services.api.notifying import Notifying
from services.api.once import Calls
from services.api.pulse import Pulse
from services.api.rates import RateLimits
from services.api.service import Edge
from services.api.settings import Settings
from services.api.store import Store, TokenRow
from services.api.turnstile import Turnstile
from services.api.webhooks import Webhooks
from shared import logs, sealing
from shared.bus import Bus
from shared.clock import Clock, SystemClock
from shared.db import Database
from shared.destinations import parse_allowed
from shared.errors import OmniError
from shared.messages.base import Service
from shared.runtime import Stop, load_settings
from shared.settings import read_secret
from shared.telemetry import Telemetry

SCHEMA = "0006"
FIRST_WORKSPACE = 1
ADMIN_TOKEN = UUID(int=1)
SEED_EVERY_S = 0.25
SEED_AGAIN_S = 10.0


def http_app(edge: Edge, custodian: Custody, doorkeeper: Doorkeeper, seeded: asyncio.Event, hooks: Webhooks) -> FastAPI:
    """The routes, with their state."""
    app = FastAPI(title="OmniPost AI provider system", version="0.1.0", docs_url=None, redoc_url=None)
    app.state.edge, app.state.custody, app.state.webhooks = edge, custodian, hooks
    app.state.doorkeeper, app.state.seeded = doorkeeper, seeded
    app.router.routes.append(Route("/ai-invoke", invoke.invoke, methods=["POST"]))
    app.router.routes += [*compatible.routes(SystemClock()), *models.routes, *counting.routes, *docs_page.routes]
    for module in (
        bookkeeping,
        budgets,
        platform_credits,
        contents,
        keys,
        aliases,
        providers,
        usage,
        export,
        webhooks,
        workspaces,
        custody,
        health,
    ):
        app.include_router(module.routes)
    errors.install(app)
    document.install(app)
    return app


class _Server(uvicorn.Server):
    """uvicorn under our own signal handling."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _server(settings: Settings, app: ASGIApp) -> _Server:
    config = uvicorn.Config(
        app,
        host=settings.omnipost_host,
        port=settings.omnipost_port,
        loop="none",
        http=Wire().protocol,  # type: ignore[arg-type]  # called like the class it stands for
        ws="none",
        lifespan="off",
        access_log=False,
        log_config=None,
        server_header=False,
        backlog=2048,
        timeout_keep_alive=IDLE_S,
    )
    return _Server(config)


class App:
    """A running edge."""

    def __init__(self, settings: Settings, stop: Stop) -> None:
        self._settings, self._stop = settings, stop
        self._clock: Clock = SystemClock()
        self._telemetry = Telemetry(Service.API, settings.otel_exporter_otlp_endpoint)
        self._bus = Bus(Service.API, settings, self._telemetry, stop.give_up)
        self._database = Database(settings.database_url)
        self._store = Store(self._database)
        self._pepper = sealing.decode(read_secret(settings.token_pepper_file))
        vault = sealing.VaultPublic.parse(read_secret(settings.vault_public_file))
        self._edge = Edge(self._bus, self._store, self._clock, vault, self._pepper)
        self._seeded = asyncio.Event()
        self._idempotency = Idempotency(IdempotentRows(self._database), self._clock, self._pepper)
        doorkeeper = Doorkeeper(self._store, self._clock, self._pepper)
        self._custody = Custody(self._edge, self._clock)
        allowed = parse_allowed(settings.omnipost_allowed_private_hosts)
        self._notifying = Notifying(self._bus, self._database, self._clock, self._pepper, allowed)
        routes = http_app(self._edge, self._custody, doorkeeper, self._seeded, self._notifying.webhooks)
        routes.state.contents = Contents(self._bus, vault, self._idempotency.drop_answers)
        routes.state.exports = Exports(self._bus, self._pepper)
        routes.state.cursors = Cursors(self._pepper)
        routes.state.calls = Calls(self._idempotency, self._bus, self._clock)
        defaults = settings.default_rates
        self._rates = RateLimits(self._bus, self._clock, token=defaults["token"], workspace=defaults["workspace"])
        routes.state.rates = self._rates
        places = Turnstile(FIRST, queue=QUEUE, wait_s=WAIT_S)
        self._pulse = Pulse(self._bus, self._clock, places)
        once = Idempotent(Direct(routes, self._clock), doorkeeper, self._idempotency)
        gate = Gate(once, doorkeeper, places, self._clock, compatible.refused)
        self._server = _server(settings, EdgeMiddleware(gate, self._telemetry))
        self._tasks: list[asyncio.Task[None]] = []

    async def run(self) -> None:
        """Come up in the order that lets ``/healthz`` and ``/readyz`` tell the truth."""
        self._tasks.append(asyncio.create_task(self._serve()))
        await self._bus.start()
        await self._database.wait_for_schema(SCHEMA)
        await self._first_rows()
        self._tasks.append(asyncio.create_task(self._complete()))
        self._rates.start()
        self._pulse.start()
        await self._notifying.start()

    async def stop(self, grace_s: float) -> None:
        """Take no more requests, let those in flight finish."""
        self._server.config.timeout_graceful_shutdown = max(1, int(grace_s))
        self._server.should_exit = True
        serving, seeding = self._tasks
        seeding.cancel()
        await asyncio.wait({serving}, timeout=grace_s + 1)
        await self._pulse.stop()
        await self._rates.stop()
        await self._notifying.stop(2)
        await self._bus.stop(1)
        await self._database.close()
        self._telemetry.stop()

    async def _serve(self) -> None:
        await self._server.serve()
        self._stop.request(0 if self._server.started else 1)

    async def _first_rows(self) -> None:
        now = self._clock.now()
        await self._store.ensure_workspace(FIRST_WORKSPACE, "Workspace 1", now)
        if self._settings.admin_token_file is None:
            return
        token = read_secret(self._settings.admin_token_file)
        hashed, masked = token_hash(self._pepper, token), masked_token(token)
        row = TokenRow(
            id=ADMIN_TOKEN, role=Role.PLATFORM_ADMIN, name="admin", masked=masked, token_hash=hashed, created_at=now
        )
        await self._store.put_token(row)

    async def _complete(self) -> None:
        # What was begun and not finished: a workspace without its aliases, a deleted one with its keys.
        while True:
            with suppress(OmniError):
                await self._edge.seed_workspaces()
                self._seeded.set()
                await self._custody.finish_deletions()
                await self._idempotency.purge()
            await asyncio.sleep(SEED_AGAIN_S if self._seeded.is_set() else SEED_EVERY_S)


async def start(stop: Stop) -> App:
    """Start an edge process."""
    settings = load_settings(Settings, Service.API)
    app = App(settings, stop)
    await app.run()
    logs.get().info("ready", port=settings.omnipost_port)
    return app
