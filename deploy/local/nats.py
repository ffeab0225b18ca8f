"""The embedded NATS server: one user per service, the exact permission matrix, JetStream on disk.

JetStream has an account of its own, and the services import from it what ``shared.permissions.doors`` names.
"""

import json
from collections.abc import Mapping
from pathlib import Path

from deploy.local.child import Program
from deploy.local.home import Home, is_free, read_json, write_private
from deploy.local.processes import own_binary
from deploy.local.secret_files import nkey
from deploy.local.settings import CannotStart
from shared.messages.base import Service
from shared.permissions import OPERATOR, Door, Permissions, doors, operator_permissions, permissions_of

MAX_PAYLOAD = "8MB"
# Longer than any request that is answered so takes: the server keeps an entry for every reply that may still come.
REPLY_WINDOW = "5m"
STORE_ACCOUNT = "STORE"
# What a power cut may take from the streams; a killed server loses nothing (docs/decisions/0005-settling.md).
SYNC_INTERVAL = "100ms"


def store_of(home: Home) -> Path:
    """Where JetStream keeps its files."""
    return home.path / "nats"


class Store:
    """Whether a running server still has its files: without them it takes records for stored that nobody keeps."""

    def __init__(self, home: Home) -> None:
        self._folder = store_of(home) / "jetstream"
        self._seen: dict[Path, int] = {}

    def is_lost(self) -> bool:
        """Whether the folder, or one of an account in it, has gone or is another one; told once."""
        there = {path: inode for path in (self._folder, *self._folder.glob("*")) if (inode := _inode(path)) is not None}
        lost = any(there.get(folder) != inode for folder, inode in self._seen.items())
        self._seen = {} if lost else there
        return lost


def _inode(folder: Path) -> int | None:
    try:
        return folder.stat().st_ino
    except OSError:
        return None


def render(users: Mapping[str, Permissions], *, operator: str, port: int, store: Path) -> str:
    """The server's configuration. ``users``: permissions by public nkey; ``operator``: the deployment's public nkey."""
    blocks = "\n".join(user_block(public, permissions) for public, permissions in users.items())
    exports = "\n".join(_export(door) for door in doors())
    imports = "\n".join(_import(door) for door in doors())
    return f"""\
listen: "127.0.0.1:{port}"
server_name: "omnipost"
max_payload: {MAX_PAYLOAD}
jetstream {{
  store_dir: {json.dumps(str(store), ensure_ascii=False)}
  sync_interval: {SYNC_INTERVAL}
}}
accounts {{
  {STORE_ACCOUNT}: {{
    jetstream: enabled
    users: [
{user_block(operator, operator_permissions())}
    ]
    exports: [
{exports}
    ]
  }}
  SERVICES: {{
    users: [
{blocks}
    ]
    imports: [
{imports}
    ]
  }}
}}
"""


def _export(door: Door) -> str:
    answers = ", response_type: stream" if door.many else ""
    return f"      {{ service: {json.dumps(door.subject)}{answers} }}"


def _import(door: Door) -> str:
    return f"      {{ service: {{ account: {STORE_ACCOUNT}, subject: {json.dumps(door.subject)} }} }}"


def user_block(public: str, permissions: Permissions) -> str:
    """One user in the server's own words. ``public``: its public nkey."""
    lines = [
        f"      publish: {{ allow: {json.dumps(permissions.publish)} }}",
        f"      subscribe: {{ allow: {json.dumps(permissions.subscribe)} }}",
    ]
    if permissions.replies:
        lines.append(f'      allow_responses: {{ max: {permissions.replies}, expires: "{REPLY_WINDOW}" }}')
    inner = "\n".join(lines)
    return f"    {{ nkey: {public}, permissions: {{\n{inner}\n    }} }}"


def program(
    home: Home, users: Mapping[str, Permissions], operator: str, port: int, inherited: Mapping[str, str]
) -> Program:
    """Write the configuration and say how to run the server on it. Raises CannotStart without a binary."""
    binary = own_binary("nats-server")
    if binary is None:
        raise CannotStart("nats-server is not installed beside Python; run `make run`, or set NATS_URL.")
    write_private(_config(home), render(users, operator=operator, port=port, store=store_of(home)))
    _move_to_its_account(store_of(home) / "jetstream")
    return Program("nats", (binary, "-c", str(_config(home))), inherited)


def rewrite(home: Home, guests: Mapping[str, Permissions]) -> bool:
    """Write the configuration again with these guests, for a server that is running; False when there is none."""
    port = read_json(home.path / "run" / "ports.json").get("nats")
    if not isinstance(port, int) or is_free(port) or not _config(home).exists():
        return False
    config = render({**users_of(home), **guests}, operator=nkey(home, OPERATOR), port=port, store=store_of(home))
    write_private(_config(home), config)
    return True


def users_of(home: Home) -> dict[str, Permissions]:
    """Permissions of the services, by public nkey."""
    return {nkey(home, service): permissions_of(service) for service in Service}


def _config(home: Home) -> Path:
    return home.path / "nats.conf"


def _move_to_its_account(files: Path) -> None:
    # Until JetStream had an account of its own its files lay in the server's default one.
    before, now = files / "$G", files / STORE_ACCOUNT
    if before.exists() and not now.exists():
        before.rename(now)
