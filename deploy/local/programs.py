"""How each service is started: an explicit environment, so that nothing reaches a process that does not need it."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from deploy.local.child import Program
from deploy.local.secret_files import KEKS
from deploy.local.settings import Settings
from shared.schemas import service_url

# Written out and not asked of shared.messages: importing all contracts would delay every start.
SERVICES = ("api", "router", "vault", "metering")


@dataclass(frozen=True)
class Wiring:
    """Where the parts of this stack find each other."""

    settings: Settings
    secrets: Path
    admin_token: Path
    nats_url: str
    nkeys: Path | None
    database_url: str
    sandbox_port: int


def sandbox(wiring: Wiring) -> Program:
    """The simulated provider."""
    command = (sys.executable, "-m", "deploy.local.sandbox", str(wiring.sandbox_port))
    return Program("sandbox", command, wiring.settings.inherited)


def service(wiring: Wiring, name: str) -> Program:
    """One of the four services."""
    return Program(name, (sys.executable, "-m", f"services.{name}"), environment_of(wiring, name))


def environment_of(wiring: Wiring, name: str) -> dict[str, str]:
    """The whole environment of a service's process."""
    settings = wiring.settings
    password = (wiring.secrets / f"pg-{name}").read_text().strip()
    environment = {
        **settings.inherited,
        "OMNIPOST_ENV": "local",
        "LOG_LEVEL": settings.log_level,
        "NATS_URL": wiring.nats_url,
        "DATABASE_URL": service_url(wiring.database_url, name, password),
        **_own(wiring, name),
    }
    if wiring.nkeys is not None:
        environment["NATS_NKEY_SEED_FILE"] = str(wiring.nkeys / f"nkey-{name}.seed")
    if settings.failpoints_dir:
        environment["OMNIPOST_FAILPOINTS_DIR"] = settings.failpoints_dir
    if settings.otlp_endpoint:
        environment["OTEL_EXPORTER_OTLP_ENDPOINT"] = settings.otlp_endpoint
    return environment


def _own(wiring: Wiring, name: str) -> Mapping[str, str]:
    secrets, settings = wiring.secrets, wiring.settings
    if name == "vault":
        given = {
            "AI_ENCRYPTION_KEY": settings.ai_encryption_key,
            "AI_ENCRYPTION_KEY_PREVIOUS": settings.ai_encryption_key_previous,
            **settings.platform_keys,
        }
        return {
            "VAULT_KEKS_FILE": str(secrets / KEKS),
            "VAULT_IDENTITY_FILE": str(secrets / "vault-identity"),
            "OMNIPOST_ALLOWED_PRIVATE_HOSTS": settings.allowed_private_hosts,
            **{name: key for name, key in given.items() if key},
        }
    if name == "router":
        hosts = [settings.allowed_private_hosts, f"127.0.0.1:{wiring.sandbox_port}"]
        return {
            "VAULT_PUBLIC_FILE": str(secrets / "vault-public"),
            "OMNIPOST_ALLOWED_PRIVATE_HOSTS": ",".join(filter(None, hosts)),
        }
    if name == "api":
        return {
            "VAULT_PUBLIC_FILE": str(secrets / "vault-public"),
            "OMNIPOST_HOST": "127.0.0.1",
            "OMNIPOST_PORT": str(settings.port),
            "TOKEN_PEPPER_FILE": str(secrets / "token-pepper"),
            "ADMIN_TOKEN_FILE": str(wiring.admin_token),
            "OMNIPOST_ALLOWED_PRIVATE_HOSTS": settings.allowed_private_hosts,
        }
    return {}
