"""A router in this process between a real NATS server and a real PostgreSQL; vault, metering and edge are stand-ins."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import nats
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey
from nats.aio.msg import Msg

from services.router.app import Router
from services.router.settings import Settings
from shared import sealing
from shared.bus import Bus
from shared.clock import SystemClock
from shared.errors import Code, OmniError
from shared.messages.base import Service
from shared.messages.catalogue import AliasV1, CreateAliasV1, CreateProviderV1, ProviderV1, TargetV1
from shared.messages.chat import ChatMessageV1, DeltaV1
from shared.messages.metering import ReservationV1, ReserveV1
from shared.messages.platform_credits import ListPlatformKeysV1
from shared.messages.router import CallFinishedV1, InvokedV1, InvokeV1
from shared.messages.vault import (
    GetKeyV1,
    KeyChangedV1,
    KeysV1,
    KeyV1,
    LeaseKeyV1,
    LeaseV1,
    ListKeysV1,
    RecordVerdictV1,
)
from shared.messages.vocabulary import PLATFORM_WORKSPACE, Capability, KeyStatus, Modality
from shared.records import Delivery, RecordConsumer
from shared.runtime import Stop
from shared.schemas import service_url
from shared.testing.upstream import Upstream
from tests.integration.servers import PASSWORD, Nats, bus, close_queues, make_streams, migrated_postgres

CLOCK = SystemClock()


@dataclass
class Vault:
    """Stands in for the vault: keys in a dictionary, real leases."""

    bus: Bus
    identity: sealing.VaultIdentity = field(default_factory=lambda: sealing.VaultIdentity.from_seed(bytes(32)))
    keys: dict[str, KeyV1] = field(default_factory=dict)
    asked: list[LeaseKeyV1] = field(default_factory=list)
    verdicts: list[RecordVerdictV1] = field(default_factory=list)
    dies_over: int = 0
    """How many leases are asked of a replica that is gone before it can answer."""

    def serve(self) -> None:
        self.bus.answer(ListKeysV1, self._list)
        self.bus.answer(ListPlatformKeysV1, self._list_platform)
        self.bus.answer(GetKeyV1, self._get)
        self.bus.answer(RecordVerdictV1, self._record)
        self.bus.answer_call(LeaseKeyV1, self._lease)

    async def revoke(self, key: KeyV1) -> None:
        self.revoke_unheard(key)
        await self.bus.announce(KeyChangedV1(workspace_id=key.workspace_id, key_id=key.id, revoked=True))

    def revoke_unheard(self, key: KeyV1) -> None:
        self.keys[key.id] = key.model_copy(update={"status": KeyStatus.REVOKED})

    async def _list(self, request: ListKeysV1) -> KeysV1:
        return KeysV1(items=tuple(key for key in self.keys.values() if key.workspace_id == request.workspace_id))

    async def _list_platform(self, _: ListPlatformKeysV1) -> KeysV1:
        return await self._list(ListKeysV1(workspace_id=PLATFORM_WORKSPACE))

    async def _get(self, request: GetKeyV1) -> KeyV1:
        return self.keys[request.key_id]

    async def _record(self, request: RecordVerdictV1) -> KeyV1:
        self.verdicts.append(request)
        return self.keys[request.key_id]

    async def _lease(self, request: LeaseKeyV1) -> LeaseV1:
        self.asked.append(request)
        if self.dies_over:
            self.dies_over -= 1
            await asyncio.Event().wait()
        key = self.keys[request.key_id]
        refused = key.restrictions.refuses(request.model, request.region)
        if refused and not request.verifying:
            raise OmniError(Code.UNSUPPORTED_SCOPE, "no", extra={"key_id": key.id, refused: None})
        bound: dict[str, Any] = {
            "lease_id": str(uuid4()),
            "router_id": request.router_id,
            "workspace_id": key.workspace_id,
            "key_id": key.id,
            "version": key.version,
            "host": key.host,
            "expires_at": CLOCK.now() + timedelta(seconds=30),
        }
        info = sealing.lease_info(**bound)
        reader = X25519PublicKey.from_public_bytes(sealing.decode(request.public_key))
        sealed = sealing.seal(f"sk-{key.id}".encode(), reader, info)
        signature = sealing.encode(sealing.sign(self.identity.signing, info, sealed))
        return LeaseV1(**bound, sealed=sealing.encode(sealed), signature=signature)


@dataclass
class Metering:
    """Stands in for metering: grants everything after ``delay_s`` seconds, keeps what it is told.

    ``answers``: how the next questions are answered instead.
    """

    bus: Bus
    delay_s: float = 0.0
    answers: list[dict[str, Any]] = field(default_factory=list)
    asked: list[ReserveV1] = field(default_factory=list)
    reserving: asyncio.Event = field(default_factory=asyncio.Event)
    finished: dict[str, CallFinishedV1] = field(default_factory=dict)
    news: asyncio.Event = field(default_factory=asyncio.Event)

    def serve(self) -> RecordConsumer:
        self.bus.answer_call(ReserveV1, self._reserve)
        return RecordConsumer(self.bus, CallFinishedV1, self._settle)

    async def end_of(self, call_id: str) -> list[CallFinishedV1]:
        """The ends of a call's attempts, once there is one."""
        return await self.ends_of(call_id, 1)

    async def ends_of(self, call_id: str, count: int) -> list[CallFinishedV1]:
        """The ends of a call's attempts, once there are ``count``."""
        async with asyncio.timeout(5):
            while len(mine := [one for one in self.finished.values() if one.call_id == call_id]) < count:
                self.news.clear()
                await self.news.wait()
        return mine

    async def _reserve(self, request: ReserveV1) -> ReservationV1:
        self.reserving.set()
        self.asked.append(request)
        if self.answers:
            return ReservationV1.model_validate(
                {"attempt_id": request.attempt_id, "granted": False, **self.answers.pop()}
            )
        if self.delay_s:
            await asyncio.sleep(self.delay_s)
        return ReservationV1(attempt_id=request.attempt_id, granted=True)

    async def _settle(self, batch: Sequence[Delivery]) -> None:
        for delivery in batch:
            event = CallFinishedV1.model_validate_json(delivery.body)
            self.finished[event.attempt_id] = event
        self.news.set()


@dataclass
class World:
    """Everything, and what a test needs to make a call."""

    nats: Nats
    api: Bus
    vault: Vault
    metering: Metering
    app: Router
    heard: Counter[str] = field(default_factory=Counter)
    """Messages to the vault, by subject."""

    async def provider(self, upstream: Upstream, **fields: Any) -> ProviderV1:
        return await self.provider_at(f"{upstream.base_url}/v1", **fields)

    async def provider_at(self, base_url: str, **fields: Any) -> ProviderV1:
        request = CreateProviderV1(id=f"t-{uuid4().hex[:12]}", base_url=base_url, **({"models": ()} | fields))
        return await self.api.request(request, ProviderV1)

    def key(self, workspace_id: int, provider: ProviderV1, **fields: Any) -> KeyV1:
        now = CLOCK.now()
        key = KeyV1(
            id=str(uuid4()),
            workspace_id=workspace_id,
            provider=provider.id,
            label="k",
            masked_key="…",
            scopes=frozenset({Modality.TEXT}),
            status=KeyStatus.ACTIVE,
            host=provider.host,
            version=1,
            created_at=now,
            updated_at=now,
            **fields,
        )
        self.vault.keys[key.id] = key
        return key

    async def platform_key(self, provider: ProviderV1, **fields: Any) -> KeyV1:
        """A key of the platform, which the router has heard of."""
        key = self.key(PLATFORM_WORKSPACE, provider, **fields)
        await self.vault.bus.announce(KeyChangedV1(workspace_id=key.workspace_id, key_id=key.id))
        return key

    async def alias(self, workspace_id: int, *targets: tuple[ProviderV1, str], **fields: Any) -> str:
        chain = tuple(TargetV1(provider=provider.id, model=model) for provider, model in targets)
        name = f"a-{uuid4().hex[:8]}"
        request = CreateAliasV1(
            alias_id=str(uuid4()),
            workspace_id=workspace_id,
            alias_name=name,
            display_name="A",
            chain=chain,
            **({"capability": Capability.CHAT} | fields),
        )
        await self.api.request(request, AliasV1)
        return name

    async def call(self, workspace_id: int, alias_name: str, call_id: str | None = None, **fields: Any) -> InvokedV1:
        return await self.api.request(asked(workspace_id, alias_name, call_id, **fields), InvokedV1, timeout=30)

    async def stream(
        self, workspace_id: int, alias_name: str, call_id: str | None = None, **fields: Any
    ) -> tuple[list[DeltaV1], InvokedV1 | OmniError]:
        """A streamed call: the pieces that came, and how it ended."""
        pieces: list[DeltaV1] = []
        request = asked(workspace_id, alias_name, call_id, **{"stream": True} | fields)
        try:
            async with self.api.stream(request, InvokedV1, timeout=30) as answer:
                async for delta in answer:
                    pieces.append(delta)
                return pieces, answer.final
        except OmniError as error:
            return pieces, error


def asked(workspace_id: int, alias_name: str, call_id: str | None = None, **fields: Any) -> InvokeV1:
    hello = {} if "embedding" in fields else {"messages": (ChatMessageV1(role="user", content="Hi"),)}
    return InvokeV1(
        workspace_id=workspace_id, call_id=call_id or str(uuid4()), alias_name=alias_name, **{**hello, **fields}
    )


@asynccontextmanager
async def router_world(folder: Path) -> AsyncIterator[World]:
    """Everything up, the router serving; everything down again at the end."""
    server = Nats(folder)
    server.start()
    with migrated_postgres(folder) as postgres:
        api, vault, metering = (
            bus(Service.API, server.url),
            Vault(bus(Service.VAULT, server.url)),
            Metering(bus(Service.METERING, server.url)),
        )
        (folder / "vault-public").write_text(vault.identity.public())
        vault.serve()
        consumer = metering.serve()
        for one in (api, vault.bus, metering.bus):
            await one.start()
        await make_streams(server.url)
        await consumer.start()
        settings = Settings(
            nats_url=server.url,
            database_url=service_url(postgres.url, "router", PASSWORD),
            vault_public_file=folder / "vault-public",
            omnipost_allowed_private_hosts="127.0.0.1",
        )
        world = World(server, api, vault, metering, Router(settings, Stop()))
        await world.app.run()
        sniffer = await nats.connect(server.url)

        async def count(message: Msg) -> None:
            world.heard[message.subject] += 1

        await sniffer.subscribe("ai.vault.>", cb=count)
        await sniffer.flush()
        yield world
        await sniffer.close()
        await world.app.stop(3)
        await consumer.stop(1)
        for one in (api, vault.bus, metering.bus):
            await one.stop(1)
        for one in (vault.bus, world.app._bus):
            await close_queues(one)
    server.kill()
