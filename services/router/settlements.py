"""Telling metering how attempts ended: durably, again and again until the stream has it."""

import asyncio

from shared import logs
from shared.bus import Bus
from shared.errors import OmniError
from shared.messages.router import CallFinishedV1

FIRST_TRY_S = 2.0
MAX_DELAY_S = 5.0


class Settlements:
    """Publishes finished attempts. What a killed process could not publish, metering's sweeper charges in full."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._late: set[asyncio.Task[None]] = set()
        self._log = logs.get()

    async def publish(self, finished: CallFinishedV1) -> None:
        """Return when the stream has it, or after ``FIRST_TRY_S`` seconds; then it is tried on in the background.

        Cancelled meanwhile, too: what the attempt cost is known, and nobody else knows it.
        """
        try:
            await self._bus.record(finished, timeout=FIRST_TRY_S)
        except OmniError:
            self.publish_soon(finished)
        except asyncio.CancelledError:
            self.publish_soon(finished)
            raise

    def publish_soon(self, finished: CallFinishedV1) -> None:
        """Publish in the background."""
        task = asyncio.create_task(self._until_stored(finished))
        self._late.add(task)
        task.add_done_callback(self._late.discard)

    async def flush(self, grace_s: float) -> None:
        """Wait for what is still on its way, at most ``grace_s`` seconds."""
        if self._late:
            await asyncio.wait(self._late, timeout=grace_s)
        for task in self._late:
            self._log.error("a finished attempt could not be published; it will be charged in full")
            task.cancel()

    async def _until_stored(self, finished: CallFinishedV1) -> None:
        delay = 0.1
        while True:
            try:
                await self._bus.record(finished, timeout=FIRST_TRY_S)
            except OmniError:
                await asyncio.sleep(delay)
                delay = min(2 * delay, MAX_DELAY_S)
            else:
                return
