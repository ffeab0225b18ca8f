"""Ends what is under way with a key at the moment the key ends."""

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager

MAX_ENDED = 10_000


class KeyEndedError(Exception):
    """The key has ended: what was under way with it is cut off, and nothing begins with it."""


class Cuts:
    """What is under way with which key in this process, whole answers and streams alike."""

    def __init__(self) -> None:
        self._under_way: dict[tuple[int, str], set[asyncio.Timeout]] = {}
        self._ended: dict[str, None] = {}

    @asynccontextmanager
    async def using(self, workspace_id: int, key_id: str) -> AsyncIterator[None]:
        """Work with a key. Raises KeyEndedError, at once when the key has ended before, else when it does.

        A cancellation from elsewhere stays what it is.
        """
        if key_id in self._ended:
            raise KeyEndedError
        mine = self._under_way.setdefault((workspace_id, key_id), set())
        limit = asyncio.timeout(None)  # a timeout tells its own cancellation from everybody else's
        try:
            async with limit:
                mine.add(limit)
                try:
                    yield
                finally:
                    mine.discard(limit)
                    if not mine:
                        self._under_way.pop((workspace_id, key_id), None)
        except TimeoutError:
            if limit.expired():
                raise KeyEndedError from None
            raise

    def end(self, workspace_id: int, key_id: str) -> None:
        """Cut off what is under way with the key, and let nothing begin with it."""
        while len(self._ended) >= MAX_ENDED:
            del self._ended[next(iter(self._ended))]
        self._ended[key_id] = None
        for limit in self._under_way.pop((workspace_id, key_id), set()):
            limit.reschedule(0.0)

    def under_way(self) -> Collection[tuple[int, str]]:
        """Workspace and id of every key something is under way with."""
        return tuple(self._under_way)
