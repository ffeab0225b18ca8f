"""Feels how quickly our own parts answer while there is much to do, and sets how many requests come in at once."""

import asyncio
from contextlib import suppress

from services.api.domain.pace import LEAST, Pace
from services.api.turnstile import Turnstile
from shared.bus import Bus
from shared.clock import Clock
from shared.errors import OmniError
from shared.messages.health import PingMeteringV1, PingRouterV1, ReadyV1

EVERY_S = 0.1
# Nobody answers within this: as slow as can be.
PATIENCE_S = 1.0


class Pulse:
    """Asks router and metering something small, ten times a second, while half of the fewest places are taken."""

    def __init__(self, bus: Bus, clock: Clock, places: Turnstile) -> None:
        self._bus, self._clock, self._places = bus, clock, places
        self._pace = Pace()
        self._feeling: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin."""
        self._feeling = asyncio.create_task(self._feel())

    async def stop(self) -> None:
        """Let the places be as they are."""
        if self._feeling is not None:
            self._feeling.cancel()
            await asyncio.gather(self._feeling, return_exceptions=True)

    async def _feel(self) -> None:
        while True:
            await asyncio.sleep(EVERY_S)
            if (taken := self._places.taken) >= LEAST // 2:
                self._places.resize(self._pace.heard(await self._delay_s(), taken))

    async def _delay_s(self) -> float:
        began = self._clock.monotonic()
        await asyncio.gather(self._ask(PingRouterV1()), self._ask(PingMeteringV1()))
        return self._clock.monotonic() - began

    async def _ask(self, ping: PingRouterV1 | PingMeteringV1) -> None:
        # Whether it can do its part is another question; that it answers is all that counts here.
        with suppress(OmniError):
            await self._bus.request(ping, ReadyV1, timeout=PATIENCE_S)
