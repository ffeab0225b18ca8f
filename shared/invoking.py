"""Calls by alias over NATS: what the edge does for HTTP clients, and OmniPost's other services do themselves.

    async with connected(url, "composer", Path("composer.seed")) as omnipost:
        question = InvokeV1(workspace_id=1, call_id=new_call_id(), alias_name="default-writer", messages=(...))
        answer = await omnipost.invoke(question)

How a service gets its credentials, and the whole protocol: ``docs/nats.md``.
"""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from uuid import uuid4

from nats.aio.client import Client
from nats.errors import Error as NatsError

from shared.arriving import Arriving
from shared.asking import Asking
from shared.clock import SystemClock
from shared.errors import Code, OmniError, unavailable
from shared.messages.router import InvokedV1, InvokeV1
from shared.permissions import guest_user, inbox_prefix
from shared.settings import read_secret
from shared.telemetry import Telemetry

# Longer than any alias may take; a router that dies is noticed much earlier by its silence.
TIMEOUT_S = 660.0
CONNECT_S = 5.0
_DENIED = re.compile(r'publish to "([^"]+)"', re.IGNORECASE)


def new_call_id() -> str:
    """A fresh id for a call: by it the call log finds the call again, whatever became of its answer."""
    return str(uuid4())


class Invoking(Asking):
    """Asks the router for answers."""

    async def invoke(self, question: InvokeV1) -> InvokedV1:
        """The whole answer. Cancelled, the call ends, too.

        Raises OmniError: as ``InvokeV1`` says, or ``unavailable`` when nobody answers; what became of the call then
        stands in the call log.
        """
        return await self.request(question, InvokedV1, timeout=TIMEOUT_S)

    def invoke_in_parts(self, question: InvokeV1) -> AbstractAsyncContextManager[Arriving[InvokedV1]]:
        """The answer piece by piece, of a question with ``stream``: iterate, then read ``final``.

        Leaving the block early ends the call. Raises OmniError as ``invoke`` does, here or while iterating.
        """
        return self.stream(question, InvokedV1, timeout=TIMEOUT_S)


class _Guest(Invoking):
    async def connect(self, url: str, user: str, seed_file: Path) -> None:
        """Raises OmniError ``unavailable``, OSError (no seed)."""
        seed, client = read_secret(seed_file), Client()
        try:
            async with asyncio.timeout(CONNECT_S):
                await client.connect(
                    url,
                    name=f"omnipost-{user}",
                    nkeys_seed_str=seed,
                    inbox_prefix=inbox_prefix(user),
                    max_reconnect_attempts=-1,
                    error_cb=self._failed,
                )
                await self._inbox.open(client)
                await client.flush()
            self._client = client
        except (NatsError, OSError, TimeoutError):
            await client.close()
            raise unavailable("The message bus cannot be reached with this name and seed.") from None

    async def close(self) -> None:
        """Hang up."""
        await self.client.close()

    async def _failed(self, error: Exception) -> None:
        denied = _DENIED.search(str(error))
        if denied is None:
            self._log.warning("message bus trouble", exc=error)
            return
        # The server drops what may not be said, and tells only the connection: the asker would wait for its silence.
        self._inbox.refuse(denied[1], OmniError(Code.FORBIDDEN, "This service is not given that workspace."))


@asynccontextmanager
async def connected(url: str, name: str, seed_file: Path, endpoint: str | None = None) -> AsyncIterator[Invoking]:
    """The system, for the OmniPost service ``name`` whose NATS seed is in ``seed_file``.

    ``endpoint``: where traces go (OTLP over HTTP). Raises OmniError ``unavailable``, ValueError (no such name).
    """
    user = guest_user(name)
    telemetry = Telemetry(user, endpoint)
    guest = _Guest(user, telemetry, SystemClock())
    await guest.connect(url, user, seed_file)
    try:
        yield guest
    finally:
        await guest.close()
        telemetry.stop()
