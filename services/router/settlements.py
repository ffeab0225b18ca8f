"""Telling metering how attempts ended: durably, again and again until the stream has it, and once more if it is lost.

The stream is transport and may be lost whole, with facts that were taken and not yet read. So what was stored lately is
kept here and published again after every reconnection; what is told twice is settled once.
"""

import asyncio
from collections import deque

from shared import failpoints, logs
from shared.bus import Bus
from shared.clock import Clock, SystemClock
from shared.errors import OmniError, unavailable
from shared.messages.router import CallFinishedV1

FIRST_TRY_S = 2.0
MAX_DELAY_S = 5.0
# Metering reads within a second; longer than it takes to notice that the server has lost its files.
KEEP_S = 30.0
KEEP_AT_MOST = 20_000
UNREADY_AFTER_S = 3.0


class Settlements:
    """Publishes finished attempts. What a killed process could not publish, metering's sweeper charges in full."""

    def __init__(self, bus: Bus, clock: Clock | None = None) -> None:
        self._bus = bus
        self._clock = clock or SystemClock()
        self._late: set[asyncio.Task[None]] = set()
        self._stored: deque[tuple[float, CallFinishedV1]] = deque(maxlen=KEEP_AT_MOST)
        self._refused_since: float | None = None
        self._log = logs.get()
        bus.on_reconnected(self._tell_again)

    async def publish(self, finished: CallFinishedV1) -> None:
        """Return when the stream has it, or after ``FIRST_TRY_S`` seconds; then it is tried on in the background.

        Cancelled meanwhile, too: what the attempt cost is known, and nobody else knows it.
        """
        stored = False
        try:
            stored = await self._try(finished)
        finally:
            if not stored:
                self.publish_soon(finished)

    def publish_soon(self, finished: CallFinishedV1) -> None:
        """Publish in the background."""
        task = asyncio.create_task(self._until_stored(finished))
        self._late.add(task)
        task.add_done_callback(self._late.discard)

    def check(self) -> None:
        """Raises OmniError ``unavailable`` when nothing could be published for ``UNREADY_AFTER_S`` seconds."""
        since = self._refused_since
        if self._late and since is not None and self._clock.monotonic() - since > UNREADY_AFTER_S:
            raise unavailable("Finished calls cannot be recorded: the call stream does not take them.")

    async def flush(self, grace_s: float) -> None:
        """Wait for what is still on its way, at most ``grace_s`` seconds."""
        if self._late:
            await asyncio.wait(self._late, timeout=grace_s)
        for task in self._late:
            self._log.error("a finished attempt could not be published; it will be charged in full")
            task.cancel()

    async def _try(self, finished: CallFinishedV1) -> bool:
        failpoints.passing("router.record")
        try:
            await self._bus.record(finished, timeout=FIRST_TRY_S)
        except OmniError:
            if self._refused_since is None:
                self._refused_since = self._clock.monotonic()
            return False
        failpoints.passing("router.recorded")
        self._refused_since = None
        self._keep(finished)
        return True

    def _keep(self, finished: CallFinishedV1) -> None:
        now = self._clock.monotonic()
        while self._stored and self._stored[0][0] < now - KEEP_S:
            self._stored.popleft()
        self._stored.append((now, finished))

    def _tell_again(self) -> None:
        earliest = self._clock.monotonic() - KEEP_S
        lately = [finished for at, finished in self._stored if at >= earliest]
        self._stored.clear()
        if lately:
            self._log.info("telling again what the stream may have lost", count=len(lately))
        for finished in lately:
            self.publish_soon(finished)

    async def _until_stored(self, finished: CallFinishedV1) -> None:
        delay = 0.1
        while not await self._try(finished):
            await asyncio.sleep(delay)
            delay = min(2 * delay, MAX_DELAY_S)
