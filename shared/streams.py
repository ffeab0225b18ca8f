"""An answer in parts, at the side that gives it: numbered, no faster than the asker reads, ended when it leaves.

On the asker's inbox arrive part 0, which says where to send credit (``Omnipost-Stream: <process>/<stream>``), then the
parts 1, 2, … (``Omnipost-Part``: their number; body: a ``DeltaV1``), then the final answer with the number of parts
(``Omnipost-Parts``), or a problem. The asker's side is ``shared/arriving.py``.

Of an answer that is wanted whole nothing arrives but heartbeats. They say where the answer is made as well, so that an
asker that no longer waits says so as soon as it hears one (``Inbox``'s strays): a quick answer pays nothing for that.
"""

import asyncio
import secrets
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

from shared.deltas import JOINED_AT_MOST, encoded, is_text, parts
from shared.messages.chat import DeltaV1
from shared.messages.router import StreamCreditV1

PART = "Omnipost-Part"
PARTS = "Omnipost-Parts"
STREAM = "Omnipost-Stream"
# How many parts may be under way that the asker has not used up yet, and about how many bytes of them.
WINDOW = 64
WINDOW_BYTES = 512 * 1024
# An asker that has not given a sign of life for so long is gone; it gives one every few seconds.
GONE_AFTER_S = 15.0

Publish = Callable[[str, bytes, dict[str, str] | None], Awaitable[None]]


class AskerGoneError(Exception):
    """Nobody listens to this answer any more."""


class Asker:
    """Who waits for an answer: it may go. ``address``: what it needs to say so (``<process>/<stream>``)."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.gone = False
        self._bodies: set[asyncio.Timeout] = set()

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        """A body that ends with AskerGoneError the moment the asker goes. A cancellation from elsewhere stays one."""
        if self.gone:
            raise AskerGoneError
        limit = asyncio.timeout(None)  # a timeout tells its own cancellation from everybody else's
        try:
            async with limit:
                self._bodies.add(limit)
                try:
                    yield
                finally:
                    self._bodies.discard(limit)
        except TimeoutError:
            if limit.expired():
                raise AskerGoneError from None
            raise

    async def credit(self, upto: int) -> None:
        """It reads on; who waits for a whole answer has nothing to read yet."""

    def leave(self) -> None:
        """The asker is gone."""
        self.gone = True
        for limit in self._bodies:
            limit.reschedule(0.0)
        self._bodies.clear()


class Sink(Asker):
    """Where an answer in parts goes. ``sent``: how many parts there were so far."""

    def __init__(self, address: str, reply: str, publish: Publish) -> None:
        super().__init__(address)
        self._loop = asyncio.get_running_loop()
        self._reply, self._publish = reply, publish
        self._upto = WINDOW
        self._unread: deque[int] = deque()
        self._unread_bytes = 0
        self._gathered: list[str] = []
        self._gathered_bytes = 0
        self._room = asyncio.Event()
        self._heard_at = self._loop.time()
        self._timer = self._loop.call_later(GONE_AFTER_S, self._listen_for_life)
        self.sent = 0

    async def send(self, delta: DeltaV1) -> None:
        """Pass on a piece; waits while the asker does not read. Raises AskerGoneError.

        Text an asker has no credit for is gathered, up to ``JOINED_AT_MOST`` bytes, and sent as one part later.
        """
        if self.gone:
            raise AskerGoneError
        if not self._has_room and self._gather(delta):
            return
        for body in parts(delta):
            await self._wait_for_room()
            await self._send_part(body)

    async def credit(self, upto: int) -> None:
        """The asker reads on: parts up to the number ``upto`` may be sent."""
        self._heard_at = self._loop.time()
        if upto > self._upto:
            for _ in range(min(upto - self._upto, len(self._unread))):
                self._unread_bytes -= self._unread.popleft()
            self._upto = upto
            await self.flush()
            self._room.set()

    def leave(self) -> None:
        """The asker is gone."""
        super().leave()
        self._room.set()

    async def flush(self) -> None:
        """Send what was gathered, which is little enough to need no credit."""
        gathered, self._gathered, self._gathered_bytes = self._gathered, [], 0
        if gathered and not self.gone:
            await self._send_part(encoded(DeltaV1(text="".join(gathered))))

    def close(self) -> None:
        """Nothing is sent any more."""
        self._timer.cancel()

    @property
    def _has_room(self) -> bool:
        return not self._gathered and self.sent < self._upto and self._unread_bytes < WINDOW_BYTES

    async def _wait_for_room(self) -> None:
        while not self.gone and not self._has_room:
            self._room.clear()
            await self._room.wait()
        if self.gone:
            raise AskerGoneError

    def _gather(self, delta: DeltaV1) -> bool:
        size = self._gathered_bytes + len(delta.text.encode())
        if not is_text(delta) or size > JOINED_AT_MOST:
            return False
        self._gathered.append(delta.text)
        self._gathered_bytes = size
        return True

    async def _send_part(self, body: bytes) -> None:
        # Numbered before anything is awaited, so that whoever else sends comes after.
        self.sent += 1
        self._unread.append(len(body))
        self._unread_bytes += len(body)
        await self._publish(self._reply, body, {PART: str(self.sent)})

    def _listen_for_life(self) -> None:
        left = self._heard_at + GONE_AFTER_S - self._loop.time()
        if left <= 0:
            self.leave()
        else:
            self._timer = self._loop.call_later(left, self._listen_for_life)


class Sinks:
    """Who waits for answers of this process, whole or in parts. ``process``: where they give credit or leave."""

    def __init__(self, publish: Publish) -> None:
        self.process = secrets.token_hex(8)
        self._publish = publish
        self._open: dict[str, Asker] = {}

    @property
    def subject(self) -> str:
        """Where this process hears of credit."""
        return StreamCreditV1.subject.format(router=self.process)

    @asynccontextmanager
    async def opened(self, reply: str) -> AsyncIterator[Sink]:
        """An answer in parts to ``reply``, while the block lasts; what is gathered then is sent at its end."""
        stream = secrets.token_hex(8)
        address = f"{self.process}/{stream}"
        sink = Sink(address, reply, self._publish)
        self._open[stream] = sink
        try:
            await self._publish(reply, b"", {PART: "0", STREAM: address})
            try:
                yield sink
            finally:
                await sink.flush()
        finally:
            sink.close()
            del self._open[stream]

    @contextmanager
    def awaited(self) -> Iterator[Asker]:
        """Somebody who waits for a whole answer, while the block lasts. The address goes out with heartbeats only."""
        stream = secrets.token_hex(8)
        asker = self._open[stream] = Asker(f"{self.process}/{stream}")
        try:
            yield asker
        finally:
            del self._open[stream]

    async def heard(self, credit: StreamCreditV1) -> None:
        """An asker reads on, is still there, or is gone."""
        asker = self._open.get(credit.stream)
        if asker is None:
            return
        if credit.gone:
            asker.leave()
        else:
            await asker.credit(credit.upto)
