"""An answer in parts, at the side that asked: read in order, paid for with credit, given up when a part is lost.

How parts, credit and the final answer travel: ``shared/streams.py``.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Generic, Self, TypeVar

import pydantic
from nats.aio.msg import Msg

from shared.beat import Beat
from shared.errors import OmniError, Problem, unavailable
from shared.inbox import PROBLEM, Asked
from shared.messages.base import Part
from shared.messages.chat import DeltaV1
from shared.messages.router import StreamCreditV1
from shared.streams import PART, PARTS, STREAM, WINDOW, WINDOW_BYTES

P = TypeVar("P", bound=Part)

# How much is read before the credit for more is sent; and how often it is repeated, as a sign of life.
RENEW_EVERY = 16
RENEW_EVERY_BYTES = WINDOW_BYTES // 4
ALIVE_EVERY_S = 5.0

Tell = Callable[[StreamCreditV1], Awaitable[None]]


def gone(address: str) -> StreamCreditV1:
    """To the process that answers at ``address`` (``<process>/<stream>``): nobody listens any more."""
    process, _, stream = address.partition("/")
    return StreamCreditV1(router=process, stream=stream, upto=0, gone=True)


def unknown_form() -> OmniError:
    """The problem of an answer that does not match its contract: what was asked for may have been done."""
    return unavailable("Another part of the system answered in an unknown form.", carried_out="unknown")


class Arriving(Asked, Generic[P]):
    """``async for delta in arriving`` gives the pieces; then ``final`` is the whole answer.

    Raises OmniError while it is iterated: the owner's problem, or ``unavailable`` when the owner fell silent, time is
    up, or a part was lost. Whatever arrived before is given first.
    """

    def __init__(self, owner: str, timeout: float, reply: type[P], tell: Tell) -> None:
        super().__init__(owner, timeout)
        self._reply, self._tell = reply, tell
        self._parts: deque[bytes] = deque()
        self._news = asyncio.Event()
        self._arrived = self._read = self._renewed = self._read_bytes = 0
        self._address: str | None = None
        self._alive: Beat | None = None
        self._end: P | OmniError | None = None
        self._owner_knows = False
        self._telling: asyncio.Future[None] | None = None

    @property
    def final(self) -> P:
        """The whole answer. Raises OmniError ``unavailable`` before all parts were read."""
        if self._end is None or isinstance(self._end, OmniError) or self._parts:
            raise unavailable("The answer has not been read to its end.")
        return self._end

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> DeltaV1:
        if self._read - self._renewed >= RENEW_EVERY or self._read_bytes >= RENEW_EVERY_BYTES:
            await self._renew()
        while not self._parts and self._end is None:
            self._news.clear()
            await self._news.wait()
        if self._parts:
            part = self._parts.popleft()
            self._read += 1
            self._read_bytes += len(part)
            return DeltaV1.model_validate_json(part)
        if isinstance(self._end, OmniError):
            raise self._end
        raise StopAsyncIteration

    async def leave(self) -> None:
        """Nothing more is read; whoever answers is told, unless it has ended the answer itself."""
        self.close()
        if self._alive is not None:
            self._alive.cancel()
        if self._address is not None and not self._owner_knows:
            self._owner_knows = True
            await self._tell(gone(self._address))

    def fail(self, error: OmniError) -> None:
        """Give up."""
        if self._end is None:
            self._end = error
            self._news.set()

    def take(self, message: Msg, headers: dict[str, str]) -> None:
        """What has arrived for this question."""
        if self._end is not None:
            return
        if PROBLEM in headers:
            self._owner_knows = True
            self.fail(Problem.model_validate_json(message.data).error())
        elif STREAM in headers:
            self._open(headers[STREAM])
        elif PART in headers:
            self._take_part(message.data, headers[PART])
        else:
            self._owner_knows = True
            self._take_final(message.data, headers.get(PARTS, "0"))

    def _open(self, address: str) -> None:
        self.heard()
        self._address = address
        self._alive = Beat(ALIVE_EVERY_S, self._renew)

    def _take_part(self, body: bytes, number: str) -> None:
        self.heard()
        if number != str(self._arrived + 1):
            self._lose()
            return
        self._arrived += 1
        self._parts.append(body)
        self._news.set()

    def _take_final(self, body: bytes, sent: str) -> None:
        if sent != str(self._arrived):
            self._lose()
            return
        try:
            self._end = self._reply.model_validate_json(body)
        except pydantic.ValidationError:
            self.fail(unknown_form())
        self._news.set()

    def _lose(self) -> None:
        self.fail(unavailable("A part of the answer was lost on the message bus; try again.", carried_out="unknown"))
        if self._address is not None and not self._owner_knows:
            self._owner_knows = True
            self._telling = asyncio.ensure_future(self._tell(gone(self._address)))

    async def _renew(self) -> None:
        if self._address is None or self._end is not None:
            return
        process, _, stream = self._address.partition("/")
        self._renewed, self._read_bytes = self._read, 0
        await self._tell(StreamCreditV1(router=process, stream=stream, upto=self._read + WINDOW))
