"""Names become addresses only where we may connect to: the half of ``shared.destinations`` that needs the network."""

from collections.abc import Set as AbstractSet
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from shared.destinations import is_listed, is_public


class ForbiddenAddressError(OSError):
    """A name resolves to an address that must not be connected to."""


class CheckedResolver(AbstractResolver):
    """Resolves names to public addresses, or to any for hosts that are listed. The connection uses just these.

    The library asks it of no host that is written as an address: those are judged with the URL.
    """

    def __init__(self, allowed: AbstractSet[str]) -> None:
        self._allowed = allowed
        self._system = aiohttp.ThreadedResolver()

    async def resolve(self, host: str, port: int = 0, family: Any = 0) -> list[ResolveResult]:  # noqa: ANN401 - aiohttp's own type differs by release
        """Raises ForbiddenAddressError."""
        found = await self._system.resolve(host, port, family)
        # One private address among public ones is enough to refuse: that is what a rebinding attack looks like.
        if not is_listed(host, port, self._allowed) and not all(is_public(item["host"]) for item in found):
            raise ForbiddenAddressError("address not allowed")
        return found

    async def close(self) -> None:
        """Nothing is held."""
        await self._system.close()
