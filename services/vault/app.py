"""The vault's wiring."""

from pathlib import Path

from services.vault.kek import LocalKek
from services.vault.keyring import Keyring
from services.vault.service import VaultService
from services.vault.settings import Settings
from services.vault.store import Store
from services.vault.subscribers import subscribe
from shared import logs
from shared.bus import Bus
from shared.clock import SystemClock
from shared.db import Database
from shared.errors import invalid
from shared.messages.base import Service
from shared.runtime import Stop, load_settings
from shared.sealing import VaultIdentity, decode
from shared.settings import read_secret
from shared.telemetry import Telemetry

SCHEMA = "0001"


class Vault:
    """A running vault."""

    def __init__(self, bus: Bus, database: Database, telemetry: Telemetry) -> None:
        self._bus, self._database, self._telemetry = bus, database, telemetry

    async def stop(self, grace_s: float) -> None:
        """Finish what is in flight within ``grace_s`` seconds and release everything."""
        try:
            await self._bus.stop(grace_s)
        finally:
            await self._database.close()
            self._telemetry.stop()


async def start(stop: Stop) -> Vault:
    """Begin to serve. Raises OmniError when settings, identity, schema or KEK are not right."""
    settings = load_settings(Settings, Service.VAULT)
    kek = LocalKek.parse(settings.ai_encryption_key.get_secret_value())
    identity = _identity(settings.vault_identity_file)
    clock = SystemClock()
    telemetry = Telemetry(Service.VAULT, settings.otel_exporter_otlp_endpoint)
    bus = Bus(Service.VAULT, settings, telemetry, stop.give_up)
    database = Database(settings.database_url)
    store = Store(database)
    keyring = Keyring(kek, store, clock)
    subscribe(bus, VaultService(store, keyring, identity, bus, clock))
    await database.wait_for_schema(SCHEMA)
    await keyring.check_kek()
    await bus.start()
    logs.get().info("serving", version=SCHEMA)
    return Vault(bus, database, telemetry)


def _identity(path: Path) -> VaultIdentity:
    try:
        return VaultIdentity.from_seed(decode(read_secret(path)))
    except (OSError, ValueError):
        raise invalid("VAULT_IDENTITY_FILE must name a readable file with base64 of 32 bytes.") from None
