"""A short memory in front of something slow: read once for all who ask at the same time, dropped when told."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

from shared.clock import Clock

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Remembered(Generic[K, V]):
    """Values by key, each remembered for ``keep_s`` seconds, at most ``most`` of them.

    ``load`` reads one; what it raises goes to everyone who waits for it and is not remembered. ``keep_s`` may differ
    from value to value; one of 0 or less is not remembered. ``worth`` says which values to remember at all.
    """

    def __init__(
        self,
        load: Callable[[K], Awaitable[V]],
        clock: Clock,
        *,
        keep_s: float | Callable[[V], float],
        most: int = 10_000,
        worth: Callable[[V], bool] = lambda _: True,
    ) -> None:
        self._load, self._clock, self._most, self._worth = load, clock, most, worth
        self._keep_s = keep_s
        self._known: dict[K, tuple[float, V]] = {}
        self._asking: dict[K, asyncio.Task[V]] = {}

    async def get(self, key: K) -> V:
        """The value of ``key``. Raises what ``load`` raises."""
        known = self._known.get(key)
        if known and self._clock.monotonic() < known[0]:
            return known[1]
        asking = self._asking.get(key)
        if asking is None:
            asking = self._asking[key] = asyncio.ensure_future(self._load(key))
            asking.add_done_callback(lambda task: self._answered(key, task))
        return await asyncio.shield(asking)

    def peek(self, key: K) -> V | None:
        """The value of ``key`` if it is known at this moment; nothing is read."""
        known = self._known.get(key)
        return known[1] if known and self._clock.monotonic() < known[0] else None

    def forget(self, key: K) -> None:
        """Drop what is known, and what is being read: that may be older than the change."""
        self._known.pop(key, None)
        self._asking.pop(key, None)

    def forget_where(self, fits: Callable[[K], bool]) -> None:
        """``forget`` for every key that ``fits``."""
        for key in [key for key in (*self._known, *self._asking) if fits(key)]:
            self.forget(key)

    def forget_all(self) -> None:
        """Drop everything."""
        self._known.clear()
        self._asking.clear()

    def drop_expired(self) -> None:
        """Take values whose time is over out of memory; they are not given to anybody even before."""
        now = self._clock.monotonic()
        for key in [key for key, (until, _) in self._known.items() if until <= now]:
            del self._known[key]

    def _answered(self, key: K, task: "asyncio.Task[V]") -> None:
        failed = task.cancelled() or task.exception() is not None
        if self._asking.get(key) is not task:
            return
        del self._asking[key]
        self._known.pop(key, None)
        if not failed and self._worth(task.result()):
            self._keep(key, task.result())

    def _keep(self, key: K, value: V) -> None:
        keep_s = self._keep_s(value) if callable(self._keep_s) else self._keep_s
        if keep_s <= 0:
            return
        while len(self._known) >= self._most:
            del self._known[next(iter(self._known))]
        self._known[key] = (self._clock.monotonic() + keep_s, value)
