"""Places for a limited number at once, with a queue for each caller: short, fair, and closed when it is full."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager

from shared.errors import Code, OmniError
from shared.shares import Shares

RETRY_AFTER_S = 1


class FullError(OmniError):
    """``unavailable``: there is no place for this caller, and none to wait at."""

    def __init__(self) -> None:
        detail = "More is asked than can be served at the moment; try again shortly."
        super().__init__(Code.UNAVAILABLE, detail, extra={"retry_after_s": RETRY_AFTER_S})


class Turnstile:
    """``most`` places at once (it may change), ``queue`` waiting at most, for ``wait_s`` seconds at most.

    Both are shared fairly: of those who wait, whoever holds least comes next, and a full queue is full only for those
    who fill it.
    """

    def __init__(self, most: int, *, queue: int, wait_s: float) -> None:
        self._places: Shares[Hashable] = Shares(most)
        self._queue: Shares[Hashable] = Shares(queue)
        self._waiting: dict[Hashable, deque[tuple[asyncio.Future[None], int]]] = {}
        self._wait_s = wait_s

    @property
    def most(self) -> int:
        """How many places there are."""
        return self._places.most

    @property
    def taken(self) -> int:
        """How many places are taken."""
        return self._places.total

    @property
    def waiting(self) -> int:
        """How many wait."""
        return self._queue.total

    def check(self, who: Hashable) -> None:
        """Raises OmniError ``unavailable`` when ``who`` could not even wait."""
        if who in self._waiting and not self._queue.has_room(who):
            raise FullError

    @asynccontextmanager
    async def place(self, who: Hashable, amount: int = 1) -> AsyncIterator[None]:
        """A body that holds ``amount`` places. Raises OmniError ``unavailable`` when none becomes free in time."""
        await self._enter(who, amount)
        try:
            yield
        finally:
            self._places.give_back(who, amount)
            self._let_in()

    def resize(self, most: int) -> None:
        """There are ``most`` places from now on."""
        self._places.most = most
        self._let_in()

    async def _enter(self, who: Hashable, amount: int) -> None:
        if who not in self._waiting and self._places.has_room(who, amount):
            self._places.take(who, amount)
            return
        if not self._queue.has_room(who):
            raise FullError
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.take(who)
        self._waiting.setdefault(who, deque()).append((turn, amount))
        try:
            async with asyncio.timeout(self._wait_s):
                await turn
        except TimeoutError:
            self._forget(who, turn, amount)
            raise FullError from None
        except BaseException:
            self._forget(who, turn, amount)
            raise

    def _forget(self, who: Hashable, turn: "asyncio.Future[None]", amount: int) -> None:
        if turn.done() and not turn.cancelled():
            # It was let in at the very moment it gave up.
            self._places.give_back(who, amount)
        else:
            self._left(who, (turn, amount))
        self._let_in()

    def _left(self, who: Hashable, entry: "tuple[asyncio.Future[None], int]") -> None:
        line = self._waiting.get(who, deque())
        if entry not in line:
            return
        line.remove(entry)
        self._queue.give_back(who)
        if not line:
            del self._waiting[who]

    def _let_in(self) -> None:
        while self._waiting:
            who = min(self._waiting, key=self._places.held)
            turn, amount = self._waiting[who][0]
            if not self._places.has_room(who, amount):
                return
            self._left(who, (turn, amount))
            if not turn.done():
                self._places.take(who, amount)
                turn.set_result(None)
