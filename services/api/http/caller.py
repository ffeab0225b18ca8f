"""Who is calling: a bearer token becomes a principal. One generic 401 for every way of not having one."""

import asyncio
from typing import Annotated

from fastapi import Depends, Request

from services.api.domain.access import Principal, token_hash
from services.api.service import Edge
from services.api.store import Store
from shared.clock import Clock
from shared.errors import Code, OmniError

REMEMBER_S = 2.0
MAX_REMEMBERED = 10_000


class Doorkeeper:
    """Looks tokens up by keyed hash, once for all who ask at the same time; remembers for ``REMEMBER_S`` seconds."""

    def __init__(self, store: Store, clock: Clock, pepper: bytes) -> None:
        self._store, self._clock, self._pepper = store, clock, pepper
        self._known: dict[bytes, tuple[float, Principal]] = {}
        self._asking: dict[bytes, asyncio.Task[Principal | None]] = {}

    async def principal(self, authorization: str | None) -> Principal:
        """The bearer of an ``Authorization`` header. Raises OmniError ``unauthorized``."""
        scheme, _, token = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not 16 <= len(token) <= 256:
            raise _unauthorized()
        hashed = token_hash(self._pepper, token)
        known = self._known.get(hashed)
        if known and self._clock.monotonic() < known[0]:
            return known[1]
        found = await self._look_up(hashed)
        if found is None:
            raise _unauthorized()
        return found

    def forget_all(self) -> None:
        """Look every token up again: one has been revoked."""
        self._known.clear()
        self._asking.clear()

    async def _look_up(self, hashed: bytes) -> Principal | None:
        asking = self._asking.get(hashed)
        if asking is None:
            asking = self._asking[hashed] = asyncio.create_task(self._store.principal(hashed, self._clock.now()))
            asking.add_done_callback(lambda task: self._found(hashed, task))
        return await asyncio.shield(asking)

    def _found(self, hashed: bytes, task: "asyncio.Task[Principal | None]") -> None:
        failed = task.cancelled() or task.exception() is not None
        if self._asking.get(hashed) is not task:
            return
        del self._asking[hashed]
        self._known.pop(hashed, None)
        if not failed and (principal := task.result()):
            if len(self._known) >= MAX_REMEMBERED:
                self._known.clear()
            self._known[hashed] = (self._clock.monotonic() + REMEMBER_S, principal)


def _unauthorized() -> OmniError:
    return OmniError(Code.UNAUTHORIZED, "Send a valid access token as 'Authorization: Bearer <token>'.")


async def _principal(request: Request) -> Principal:
    doorkeeper: Doorkeeper = request.app.state.doorkeeper
    return await doorkeeper.principal(request.headers.get("authorization"))


def _edge(request: Request) -> Edge:
    edge: Edge = request.app.state.edge
    return edge


Caller = Annotated[Principal, Depends(_principal)]
TheEdge = Annotated[Edge, Depends(_edge)]
