"""A vault process between a real NATS server and a real PostgreSQL."""

import asyncio
import itertools
import os
import secrets
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

import psycopg
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from shared import sealing
from shared.bus import Bus
from shared.clock import SystemClock
from shared.errors import OmniError
from shared.messages.base import Done, Service
from shared.messages.catalogue import ListProvidersV1, ProvidersV1, ProviderV1
from shared.messages.custody import AuditEntryV1, AuditV1, AuditVerdictV1, QueryAuditV1, VerifyAuditV1
from shared.messages.health import PingVaultV1, ReadyV1
from shared.messages.metering import BlockedV1, BlockKeyV1
from shared.messages.platform_credits import AdmitPlatformKeyV1
from shared.messages.vault import CreateKeyV1, KeyChangedV1, KeyV1, LeaseKeyV1, LeaseV1
from shared.messages.vocabulary import Modality
from shared.schemas import service_url
from tests.integration.servers import PASSWORD, Postgres, bus, migrated_postgres, nats_server, running

HOST = "api.openai.com"
PASSPHRASE = "correct horse battery staple"


@dataclass
class World:
    """Stands in for the edge (``api``), a router process and metering, each on its own connection."""

    folder: Path
    nats_url: str
    owner_url: str
    vault_url: str
    public: sealing.VaultPublic
    api: Bus
    router: Bus
    metering: Bus
    postgres: Postgres
    router_key: X25519PrivateKey = field(default_factory=X25519PrivateKey.generate)
    metering_away: bool = False
    held: Iterator[int] = field(default_factory=lambda: itertools.repeat(0))
    """What metering answers, question by question: reservations of the key that are still open."""
    blocked: list[str] = field(default_factory=list)
    admitted: list[str] = field(default_factory=list)
    hosts: dict[str, str] = field(default_factory=lambda: {"openai": HOST})
    """Where the catalogue says that providers are."""
    news: "asyncio.Queue[KeyChangedV1]" = field(default_factory=asyncio.Queue)

    @property
    def log(self) -> Path:
        return self.folder / "vault.log"

    def creation(self, secret: str, *, workspace_id: int = 1, **changes: object) -> CreateKeyV1:
        """A request to store ``secret``, sealed as the edge does it."""
        key_id, provider = str(changes.get("key_id", uuid4())), str(changes.get("provider", "openai"))
        sealed = self.sealed(secret, key_id=key_id, workspace_id=workspace_id, provider=provider, host=HOST)
        fields: dict[str, object] = {
            "provider": provider,
            "host": HOST,
            "label": "Main",
            "scopes": frozenset({Modality.TEXT}),
        }
        fields |= {"key_id": key_id, "workspace_id": workspace_id, "sealed": sealed} | changes
        return CreateKeyV1.model_validate(fields)

    def sealed(self, secret: str, *, key_id: str, workspace_id: int, provider: str, host: str) -> str:
        info = sealing.key_info(workspace_id=workspace_id, key_id=key_id, provider=provider, host=host)
        return sealing.encode(sealing.seal(secret.encode(), self.public.sealing, info))

    async def create(self, secret: str, *, workspace_id: int = 1, **changes: object) -> KeyV1:
        return await self.api.request(self.creation(secret, workspace_id=workspace_id, **changes), KeyV1)

    async def lease(self, key: KeyV1, scope: Modality = Modality.TEXT, **changes: object) -> LeaseV1:
        fields: dict[str, object] = {
            "router_id": "router-1",
            "public_key": sealing.encode(self.router_key.public_key().public_bytes_raw()),
            "workspace_id": key.workspace_id,
            "key_id": key.id,
            "host": key.host,
            "scope": scope,
        }
        return await self.router.request(LeaseKeyV1.model_validate(fields | changes), LeaseV1)

    def opened(self, lease: LeaseV1, **changes: object) -> str:
        """What the router reads in ``lease``. Raises CannotOpen."""
        fields = lease.model_dump(exclude={"sealed", "signature"}) | changes
        info = sealing.lease_info(**fields)
        sealed = sealing.decode(lease.sealed)
        sealing.check_signature(self.public.signing, sealing.decode(lease.signature), info, sealed)
        return sealing.unseal(sealed, self.router_key, info).decode()

    async def audit(self, workspace_id: int, **narrowed: object) -> list[AuditEntryV1]:
        """The whole audit, oldest first, page by page."""
        found: list[AuditEntryV1] = []
        before: int | None = None
        while True:
            asked = QueryAuditV1.model_validate({"workspace_id": workspace_id, "before": before, **narrowed})
            page = await self.api.request(asked, AuditV1)
            found += page.items
            before = page.next_before
            if before is None:
                return found[::-1]

    async def verify_audit(self, workspace_id: int) -> AuditVerdictV1:
        return await self.api.request(VerifyAuditV1(workspace_id=workspace_id), AuditVerdictV1, timeout=30)

    def sql(self, statement: str, *values: object) -> list[tuple[object, ...]]:
        """As the database owner, committed at once."""
        with psycopg.connect(self.owner_url, autocommit=True, options="-c search_path=vault") as connection:
            cursor = connection.execute(statement.encode(), values)
            return cursor.fetchall() if cursor.description else []


@asynccontextmanager
async def vault_world(folder: Path, kek: str = PASSPHRASE, **environment: str) -> AsyncIterator[World]:
    """Everything up, the vault ready with this KEK; everything down again at the end."""
    async with world_without_a_vault(folder) as world:
        with vault_process(world, kek, **environment):
            await ready(world)
            yield world


@asynccontextmanager
async def world_without_a_vault(folder: Path) -> AsyncIterator[World]:
    """The servers, and the vault's neighbours."""
    seed = secrets.token_bytes(32)
    (folder / "identity").write_text(sealing.encode(seed))
    with nats_server(folder) as nats_url, migrated_postgres(folder) as postgres:
        buses = [bus(service, nats_url) for service in (Service.API, Service.ROUTER, Service.METERING)]
        vault_url = service_url(postgres.url, "vault", PASSWORD)
        public = sealing.VaultPublic.parse(sealing.VaultIdentity.from_seed(seed).public())
        world = World(folder, nats_url, postgres.url, vault_url, public, buses[0], buses[1], buses[2], postgres)
        _stand_in(world)
        for one in buses:
            await one.start()
        yield world
        for one in buses:
            await one.stop(1)


@contextmanager
def vault_process(world: World, kek: str, **more: str) -> Iterator["subprocess.Popen[bytes]"]:
    """``python -m services.vault`` with nothing in its environment but what it needs, and ``more``."""
    environment = {
        "PATH": os.defpath,
        "NATS_URL": world.nats_url,
        "DATABASE_URL": world.vault_url,
        "AI_ENCRYPTION_KEY": kek,
        "VAULT_IDENTITY_FILE": str(world.folder / "identity"),
        **more,
    }
    command = [sys.executable, "-m", "services.vault"]
    with running(command, world.log, environment) as process:
        yield process


async def replicas(world: World, number: int, timeout_s: float = 30) -> None:
    """Return once ``number`` vault processes have said that they serve."""
    async with asyncio.timeout(timeout_s):
        while world.log.read_bytes().count(b'"serving"') < number:  # noqa: ASYNC110 - a file has no event
            await asyncio.sleep(0.05)


async def ready(world: World, timeout_s: float = 30) -> None:
    """Return once the vault answers."""
    async with asyncio.timeout(timeout_s):
        while True:
            with suppress(OmniError):
                await world.api.request(PingVaultV1(), ReadyV1)
                return
            await asyncio.sleep(0.05)


def _stand_in(world: World) -> None:
    async def block(request: BlockKeyV1) -> BlockedV1:
        if world.metering_away:
            await asyncio.sleep(60)  # never answers: the asker gives up first
        world.blocked.append(request.key_id)
        return BlockedV1(held=next(world.held))

    async def admit(request: AdmitPlatformKeyV1) -> Done:
        if world.metering_away:
            await asyncio.sleep(60)
        world.admitted.append(request.key_id)
        return Done()

    async def providers(_: ListProvidersV1) -> ProvidersV1:
        return ProvidersV1(items=tuple(_provider(name, host) for name, host in world.hosts.items()))

    world.metering.answer_call(BlockKeyV1, block)
    world.metering.answer_call(AdmitPlatformKeyV1, admit)
    world.router.answer_call(ListProvidersV1, providers)
    world.router.listen(KeyChangedV1, world.news.put)


def _provider(name: str, host: str) -> ProviderV1:
    url = host if "://" in host else f"https://{host}"
    return ProviderV1(
        id=name,
        name=name,
        kind="builtin",
        status="available",
        base_url=url,
        host=host,
        capabilities=(),
        models=(),
        updated_at=SystemClock().now(),
    )
