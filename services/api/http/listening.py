"""As long as the client listens: what is done for one that has left is given up."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from starlette.responses import Response
from starlette.types import Receive, Scope, Send


@asynccontextmanager
async def while_listening(receive: Receive, limit_s: float) -> AsyncIterator[None]:
    """A body that ends, without an exception, the moment the client leaves, or after ``limit_s`` seconds.

    The request's body must have been read. A cancellation from elsewhere stays one.
    """
    limit = asyncio.timeout(limit_s)
    watch: asyncio.Task[None] | None = None
    try:
        async with limit:
            watch = asyncio.create_task(_end_when_left(receive, limit))
            yield
    except TimeoutError:
        if not limit.expired():
            raise
    finally:
        if watch is not None:
            watch.cancel()


class WhileListening:
    """An answer that is made while the client waits for it, and given up when it leaves.

    ``give`` makes the response; an OmniError it raises is answered like any other. ``limit_s``: for everything.
    """

    def __init__(self, give: Callable[[], Awaitable[Response]], limit_s: float) -> None:
        self._give, self._limit_s = give, limit_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, unless the client leaves before."""
        async with while_listening(receive, self._limit_s):
            response = await self._give()
            await response(scope, receive, send)


async def _end_when_left(receive: Receive, limit: asyncio.Timeout) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    if not limit.expired():
        limit.reschedule(0.0)
