"""A stand-in for a router on the stack's own message bus, with the router's own rights."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from shared.bus import Bus
from shared.messages.base import Service
from shared.settings import ServiceSettings
from shared.telemetry import Telemetry
from shared.testing.stack import Stack


@asynccontextmanager
async def router(stack: Stack) -> AsyncIterator[Bus]:
    """A connected bus."""
    seed = stack.home / "secrets" / "nkey-router.seed"
    settings = ServiceSettings(nats_url=stack.nats_url, nats_nkey_seed_file=seed)
    bus = Bus(Service.ROUTER, settings, Telemetry(Service.ROUTER, None), lambda: None)
    await bus.start()
    try:
        yield bus
    finally:
        await bus.stop()
