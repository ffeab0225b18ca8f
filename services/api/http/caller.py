"""Who is calling: a bearer token becomes a principal. One generic 401 for every way of not having one."""

from ipaddress import ip_address
from typing import Annotated

from fastapi import Depends, Request

from services.api.domain.access import Principal, token_hash
from services.api.service import Edge
from services.api.store import Store
from shared.clock import Clock
from shared.errors import Code, OmniError
from shared.messages.custody import ActorV1
from shared.remembered import Remembered

REMEMBER_S = 2.0


class Doorkeeper:
    """Looks tokens up by keyed hash; remembers a valid one for ``REMEMBER_S`` seconds."""

    def __init__(self, store: Store, clock: Clock, pepper: bytes) -> None:
        self._pepper = pepper
        self._principals: Remembered[bytes, Principal | None] = Remembered(
            lambda hashed: store.principal(hashed, clock.now()),
            clock,
            keep_s=REMEMBER_S,
            worth=lambda found: found is not None,
        )

    async def principal(self, authorization: str | None) -> Principal:
        """The bearer of an ``Authorization`` header. Raises OmniError ``unauthorized``."""
        found = await self._principals.get(self.hash_of(authorization))
        if found is None:
            raise _unauthorized()
        return found

    def hash_of(self, authorization: str | None) -> bytes:
        """What stands for a header's token. Raises OmniError ``unauthorized`` for one that cannot be a token's."""
        scheme, _, token = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not 16 <= len(token) <= 256:
            raise _unauthorized()
        return token_hash(self._pepper, token)

    def forget_all(self) -> None:
        """Look every token up again: one has been revoked."""
        self._principals.forget_all()


def _unauthorized() -> OmniError:
    return OmniError(Code.UNAUTHORIZED, "Send a valid access token as 'Authorization: Bearer <token>'.")


async def _principal(request: Request) -> Principal:
    doorkeeper: Doorkeeper = request.app.state.doorkeeper
    return await doorkeeper.principal(request.headers.get("authorization"))


def _edge(request: Request) -> Edge:
    edge: Edge = request.app.state.edge
    return edge


async def _actor(request: Request, principal: Annotated[Principal, Depends(_principal)]) -> ActorV1:
    return principal.actor(address_of(request.client.host if request.client else None))


def address_of(host: str | None) -> str | None:
    """``host`` when it is an IP address: behind a proxy it is text that somebody else has written."""
    try:
        return None if host is None else ip_address(host).compressed
    except ValueError:
        return None


Caller = Annotated[Principal, Depends(_principal)]
Actor = Annotated[ActorV1, Depends(_actor)]
TheEdge = Annotated[Edge, Depends(_edge)]
