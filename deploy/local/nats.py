"""The embedded NATS server: one user per service, the exact permission matrix, JetStream synced to disk."""

import json
from collections.abc import Mapping
from pathlib import Path

from deploy.local.child import Program
from deploy.local.home import Home, write_private
from deploy.local.processes import own_binary
from deploy.local.settings import CannotStart
from shared.permissions import Permissions

MAX_PAYLOAD = "8MB"
# A little longer than the longest call: the server keeps an entry for every reply that may still come.
REPLY_WINDOW = "11m"


def render(users: Mapping[str, Permissions], *, port: int, store: Path) -> str:
    """The server's configuration. ``users``: permissions by public nkey."""
    blocks = "\n".join(_user(nkey, permissions) for nkey, permissions in users.items())
    return f"""\
listen: "127.0.0.1:{port}"
server_name: "omnipost"
max_payload: {MAX_PAYLOAD}
jetstream {{
  store_dir: {json.dumps(str(store), ensure_ascii=False)}
  sync_interval: always
}}
authorization {{
  users: [
{blocks}
  ]
}}
"""


def _user(nkey: str, permissions: Permissions) -> str:
    lines = [
        f"      publish: {{ allow: {json.dumps(permissions.publish)} }}",
        f"      subscribe: {{ allow: {json.dumps(permissions.subscribe)} }}",
    ]
    if permissions.replies:
        lines.append(f'      allow_responses: {{ max: {permissions.replies}, expires: "{REPLY_WINDOW}" }}')
    inner = "\n".join(lines)
    return f"    {{ nkey: {nkey}, permissions: {{\n{inner}\n    }} }}"


def program(home: Home, users: Mapping[str, Permissions], port: int, inherited: Mapping[str, str]) -> Program:
    """Write the configuration and say how to run the server on it. Raises CannotStart without a binary."""
    binary = own_binary("nats-server")
    if binary is None:
        raise CannotStart("nats-server is not installed beside Python; run `make run`, or set NATS_URL.")
    config = home.path / "nats.conf"
    write_private(config, render(users, port=port, store=home.path / "nats"))
    return Program("nats", (binary, "-c", str(config)), inherited)
