"""The stack's secrets: made once, kept in files of mode 0600, handed to services by path."""

import base64
import secrets
from collections.abc import Callable
from pathlib import Path

import nkeys

from deploy.local.home import Home, write_private
from shared.permissions import OPERATOR
from shared.sealing import VaultIdentity

KEKS = "kek"
"""The file with one key-encryption key a line, the active one first."""


def new_key() -> str:
    """Base64 of 32 fresh random bytes."""
    return base64.b64encode(secrets.token_bytes(32)).decode()


def ensure(home: Home, services: tuple[str, ...]) -> None:
    """Make whatever is missing; what exists is never touched."""
    folder = home.secrets
    for name in (KEKS, "vault-identity", "token-pepper"):
        _once(folder / name, new_key)
    _once(folder / "vault-public", lambda: _public(folder / "vault-identity"))
    _once(folder / "pg-admin", lambda: secrets.token_urlsafe(24))
    for service in services:
        _once(folder / f"pg-{service}", lambda: secrets.token_urlsafe(24))
    for user in (*services, OPERATOR):
        ensure_seed(home, user)
    _once(home.admin_token, lambda: f"omni_{secrets.token_urlsafe(32)}")


def ensure_seed(home: Home, user: str) -> None:
    """Give the NATS user a seed, unless it has one."""
    _once(seed_file(home, user), _seed)


def seed_file(home: Home, user: str) -> Path:
    """Where a NATS user's seed is: a service's, or the operator's, which no service is given."""
    return home.secrets / f"nkey-{user}.seed"


def nkey(home: Home, user: str) -> str:
    """The public half of the user's NATS seed: its name on the bus."""
    seed = seed_file(home, user).read_bytes().strip()
    public: bytes = nkeys.from_seed(seed).public_key
    return public.decode()


def _once(path: Path, make: Callable[[], str]) -> None:
    if not path.exists():
        write_private(path, make())


def _public(identity: Path) -> str:
    return VaultIdentity.from_seed(base64.b64decode(identity.read_text())).public()


def _seed() -> str:
    seed: bytes = nkeys.encode_seed(secrets.token_bytes(32), nkeys.PREFIX_BYTE_USER)
    return seed.decode()
