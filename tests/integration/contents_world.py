"""Beside a router's world: a vault that gives content keys and a metering that keeps contents, as stand-ins."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey

from shared import sealing
from shared.bus import Bus
from shared.contents import ContentPlace, key_info, opened
from shared.messages.base import Service
from shared.messages.contents import (
    ROOT_ID,
    ContentKeyV1,
    ContentPolicyChangedV1,
    ContentPolicyV1,
    ContentV1,
    GetContentPolicyV1,
    KeptV1,
    NewContentKeyV1,
    StoreContentV1,
)
from tests.integration.router_world import World
from tests.integration.servers import bus, close_queues

SALT = bytes(32)


@dataclass
class Keepers:
    """``storing``: workspaces that have opted in. While ``may_store`` is not set, nobody hears from metering."""

    vault: Bus
    metering: Bus
    identity: sealing.VaultIdentity
    storing: set[int] = field(default_factory=set)
    keys: dict[str, bytes] = field(default_factory=dict)
    kept: dict[str, StoreContentV1] = field(default_factory=dict)
    asked_policies: int = 0
    may_store: asyncio.Event = field(default_factory=asyncio.Event)
    news: asyncio.Event = field(default_factory=asyncio.Event)

    def serve(self) -> None:
        self.may_store.set()
        self.vault.answer_call(NewContentKeyV1, self._key)
        self.metering.answer(GetContentPolicyV1, self._policy)
        self.metering.answer_call(StoreContentV1, self._store)

    async def opt_in(self, workspace_id: int, *, stores: bool = True) -> None:
        """The workspace says so, and the routers are told."""
        (self.storing.add if stores else self.storing.discard)(workspace_id)
        await self.metering.announce(ContentPolicyChangedV1(workspace_id=workspace_id))
        await self.metering.client.flush()

    async def of_call(self, call_id: str, count: int = 1) -> list[ContentV1]:
        """What is kept of a call's attempts, opened, once there are ``count``."""
        async with asyncio.timeout(10):
            while len(mine := [one for one in self.kept.values() if one.call_id == call_id]) < count:
                self.news.clear()
                await self.news.wait()
        return [self._opened(one) for one in mine]

    def _opened(self, stored: StoreContentV1) -> ContentV1:
        place = ContentPlace(stored.workspace_id, stored.call_id, stored.attempt_id, stored.root_id)
        return ContentV1.model_validate_json(opened(self.keys[stored.attempt_id], sealing.decode(stored.sealed), place))

    async def _policy(self, request: GetContentPolicyV1) -> ContentPolicyV1:
        self.asked_policies += 1
        return ContentPolicyV1(workspace_id=request.workspace_id, store_content=request.workspace_id in self.storing)

    async def _store(self, request: StoreContentV1) -> KeptV1:
        await self.may_store.wait()
        self.kept[request.attempt_id] = request
        self.news.set()
        return KeptV1(kept=True)

    async def _key(self, request: NewContentKeyV1) -> ContentKeyV1:
        key = self.keys.setdefault(request.attempt_id, secrets.token_bytes(32))
        info = key_info(ContentPlace(request.workspace_id, request.call_id, request.attempt_id, ROOT_ID), SALT)
        reader = X25519PublicKey.from_public_bytes(sealing.decode(request.public_key))
        sealed = sealing.seal(key, reader, info)
        return ContentKeyV1(
            root_id=ROOT_ID,
            salt=sealing.encode(SALT),
            sealed=sealing.encode(sealed),
            signature=sealing.encode(sealing.sign(self.identity.signing, info, sealed)),
        )


@asynccontextmanager
async def keepers_of(world: World) -> AsyncIterator[Keepers]:
    """Stand-ins on ``world``'s bus."""
    buses = bus(Service.VAULT, world.nats.url), bus(Service.METERING, world.nats.url)
    keepers = Keepers(*buses, world.vault.identity)
    keepers.serve()
    for one in buses:
        await one.start()
    yield keepers
    for one in buses:
        await one.stop()
        await close_queues(one)
