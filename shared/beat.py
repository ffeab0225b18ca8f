"""Something done again and again while something else takes long."""

import asyncio
from collections.abc import Awaitable, Callable


class Beat:
    """Does ``act`` every ``every_s`` seconds until cancelled; costs one timer when it is cancelled before."""

    def __init__(self, every_s: float, act: Callable[[], Awaitable[None]]) -> None:
        self._every_s, self._act = every_s, act
        self._task: asyncio.Future[None] | None = None
        self._timer = asyncio.get_running_loop().call_later(every_s, self._due)

    def _due(self) -> None:
        self._task = asyncio.ensure_future(self._act())
        self._timer = asyncio.get_running_loop().call_later(self._every_s, self._due)

    def cancel(self) -> None:
        """Do it no more."""
        self._timer.cancel()
