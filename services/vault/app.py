"""The vault's wiring."""

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from services.vault import alerts
from services.vault.audit import Audit
from services.vault.connections import Connections
from services.vault.contents import Contents
from services.vault.dek_rotation import DekRotation
from services.vault.keyring import Keyring
from services.vault.leasing import Leasing
from services.vault.platform_keys import PlatformKeys
from services.vault.revocation import Revocation
from services.vault.rotation import KekRotation
from services.vault.schedule import Schedule
from services.vault.service import VaultService
from services.vault.settings import Settings
from services.vault.shredding import Shredding
from services.vault.store import Store
from services.vault.subscribers import (
    subscribe,
    subscribe_audit,
    subscribe_contents,
    subscribe_custody,
    subscribe_platform,
)
from shared import logs
from shared.bus import Bus
from shared.clock import SystemClock
from shared.db import Database
from shared.destinations import parse_allowed
from shared.errors import invalid
from shared.messages.alerts import KeyAlertV1
from shared.messages.base import Service
from shared.outbox import Outbox
from shared.runtime import Stop, load_settings
from shared.sealing import VaultIdentity, decode
from shared.settings import read_secret
from shared.telemetry import Telemetry

SCHEMA = "0007"


@dataclass(frozen=True)
class Vault:
    """A running vault."""

    bus: Bus
    database: Database
    connections: Connections
    telemetry: Telemetry
    keyring: Keyring
    rotation: KekRotation
    schedule: Schedule
    outbox: Outbox
    platform: PlatformKeys

    async def stop(self, grace_s: float) -> None:
        """Finish what is in flight within ``grace_s`` seconds and release everything."""
        await self.platform.stop()
        await self.rotation.stop()
        await self.schedule.stop()
        await self.outbox.stop()
        try:
            await self.bus.stop(grace_s)
        finally:
            await self.keyring.ring.close()
            await self.connections.close()
            await self.database.close()
            self.telemetry.stop()


async def start(stop: Stop) -> Vault:
    """Begin to serve. Raises OmniError when settings, identity, schema or KEK are not right."""
    settings = load_settings(Settings, Service.VAULT)
    clock = SystemClock()
    ring = settings.ring(clock)
    identity = _identity(settings.vault_identity_file)
    telemetry = Telemetry(Service.VAULT, settings.otel_exporter_otlp_endpoint)
    bus = Bus(Service.VAULT, settings, telemetry, stop.give_up)
    database = Database(settings.database_url)
    store, connections = Store(database), Connections(database)
    keyring = Keyring(ring, store, clock)
    audit = Audit(identity.auditing, store, clock)
    rotation = KekRotation(keyring, store, audit, clock, stop.give_up)
    revocation = Revocation(bus, clock)
    shredding = Shredding(store, audit, revocation, clock)
    schedule = Schedule(store, bus, clock, timedelta(hours=settings.vault_reverify_hours))
    subscribe_custody(bus, rotation, DekRotation(keyring, store, audit, clock), shredding)
    subscribe_audit(bus, audit)
    subscribe_contents(bus, Contents(connections, store, keyring, identity, audit, clock))
    outbox = Outbox(database, bus, clock, KeyAlertV1, alerts.TABLE)
    parts = (store, keyring, identity, audit, revocation, clock, outbox.wake)
    ours = VaultService(*parts, platform=True)
    subscribe(bus, VaultService(*parts), ours, Leasing(connections, keyring, identity, clock))
    allowed = parse_allowed(settings.omnipost_allowed_private_hosts)
    platform = PlatformKeys(ours, store, keyring, identity, bus, settings.platform_keys(), allowed)
    subscribe_platform(bus, platform)
    await database.wait_for_schema(SCHEMA)
    await keyring.report_unknown()
    await bus.start()
    rotation.begin()
    schedule.begin()
    outbox.begin()
    platform.begin()
    logs.get().info("serving", version=SCHEMA)
    return Vault(bus, database, connections, telemetry, keyring, rotation, schedule, outbox, platform)


def _identity(path: Path) -> VaultIdentity:
    try:
        return VaultIdentity.from_seed(decode(read_secret(path)))
    except (OSError, ValueError):
        raise invalid("VAULT_IDENTITY_FILE must name a readable file with base64 of 32 bytes.") from None
