"""The embedded NATS server: one user per service, the exact permission matrix, JetStream synced to disk ten times a second.

JetStream has an account of its own, and the services import from it what ``shared.permissions.doors`` names.
"""

import json
from collections.abc import Mapping
from pathlib import Path

from deploy.local.child import Program
from deploy.local.home import Home, write_private
from deploy.local.processes import own_binary
from deploy.local.settings import CannotStart
from shared.permissions import Door, Permissions, doors, operator_permissions

MAX_PAYLOAD = "8MB"
# A little longer than the longest call: the server keeps an entry for every reply that may still come.
REPLY_WINDOW = "11m"
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
    blocks = "\n".join(_user(nkey, permissions) for nkey, permissions in users.items())
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
{_user(operator, operator_permissions())}
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


def _user(nkey: str, permissions: Permissions) -> str:
    lines = [
        f"      publish: {{ allow: {json.dumps(permissions.publish)} }}",
        f"      subscribe: {{ allow: {json.dumps(permissions.subscribe)} }}",
    ]
    if permissions.replies:
        lines.append(f'      allow_responses: {{ max: {permissions.replies}, expires: "{REPLY_WINDOW}" }}')
    inner = "\n".join(lines)
    return f"    {{ nkey: {nkey}, permissions: {{\n{inner}\n    }} }}"


def program(
    home: Home, users: Mapping[str, Permissions], operator: str, port: int, inherited: Mapping[str, str]
) -> Program:
    """Write the configuration and say how to run the server on it. Raises CannotStart without a binary."""
    binary = own_binary("nats-server")
    if binary is None:
        raise CannotStart("nats-server is not installed beside Python; run `make run`, or set NATS_URL.")
    config = home.path / "nats.conf"
    write_private(config, render(users, operator=operator, port=port, store=store_of(home)))
    _move_to_its_account(store_of(home) / "jetstream")
    return Program("nats", (binary, "-c", str(config)), inherited)


def _move_to_its_account(files: Path) -> None:
    # Until JetStream had an account of its own its files lay in the server's default one.
    before, now = files / "$G", files / STORE_ACCOUNT
    if before.exists() and not now.exists():
        before.rename(now)
