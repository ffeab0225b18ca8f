"""What the local stack reads from its environment. Nothing else in ``deploy/local`` looks at it."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

INHERITED = ("PATH", "HOME", "LANG", "TZ", "SSL_CERT_FILE", "SSL_CERT_DIR")
PLATFORM_KEYS = ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GOOGLE_AI_API_KEY")
"""The platform's own keys; the vault is the only process that is given them."""
LOG_LEVELS = ("debug", "info", "warning", "error")


class CannotStart(Exception):  # noqa: N818 - reads as the sentence it is
    """The stack cannot start; the message says what the operator should do."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings of one stack. ``nats_url`` and ``database_url`` None: embedded servers are started."""

    home: Path
    port: int
    inherited: Mapping[str, str]
    nats_url: str | None = field(default=None, repr=False)
    nkeys_dir: Path | None = None
    nats_operator_seed: Path | None = None
    database_url: str | None = field(default=None, repr=False)
    ai_encryption_key: str | None = field(default=None, repr=False)
    ai_encryption_key_previous: str | None = field(default=None, repr=False)
    platform_keys: Mapping[str, str] = field(default_factory=dict, repr=False)
    allowed_private_hosts: str = ""
    otlp_endpoint: str | None = None
    log_level: str = "info"
    under_make: bool = False
    failpoints_dir: str | None = None


def read() -> Settings:
    """The settings of this process. Raises CannotStart."""
    return parse(os.environ)  # noqa: TID251 - this is the settings module


def parse(environment: Mapping[str, str]) -> Settings:
    """Settings from ``environment``; an empty variable counts as unset. Raises CannotStart."""
    given = {name: value for name, value in environment.items() if value}
    level = given.get("LOG_LEVEL", "info").lower()
    if level not in LOG_LEVELS:
        raise CannotStart(f"LOG_LEVEL must be one of {', '.join(LOG_LEVELS)}.")
    nkeys, operator = given.get("OMNIPOST_NKEYS_DIR"), given.get("OMNIPOST_NATS_OPERATOR_SEED_FILE")
    return Settings(
        home=Path(given.get("OMNIPOST_HOME", ".omnipost")).expanduser(),
        port=_port(given.get("OMNIPOST_PORT", "8080")),
        inherited={name: given[name] for name in INHERITED if name in given},
        nats_url=given.get("NATS_URL"),
        nkeys_dir=Path(nkeys) if nkeys else None,
        nats_operator_seed=Path(operator) if operator else None,
        database_url=given.get("DATABASE_URL"),
        ai_encryption_key=given.get("AI_ENCRYPTION_KEY"),
        ai_encryption_key_previous=given.get("AI_ENCRYPTION_KEY_PREVIOUS"),
        platform_keys={name: given[name] for name in PLATFORM_KEYS if name in given},
        allowed_private_hosts=given.get("OMNIPOST_ALLOWED_PRIVATE_HOSTS", ""),
        otlp_endpoint=given.get("OTEL_EXPORTER_OTLP_ENDPOINT"),
        log_level=level,
        under_make="MAKELEVEL" in given,
        failpoints_dir=given.get("OMNIPOST_FAILPOINTS_DIR"),
    )


def _port(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) < 65536:
        raise CannotStart("OMNIPOST_PORT must be a number from 1 to 65535.")
    return int(text)
