"""The state folder of one stack: its lock, its files, and the ports it keeps across restarts."""

import fcntl
import json
import os
import random
import socket
import tempfile
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from deploy.local.settings import CannotStart

LOG_LIMIT_BYTES = 10 * 1024 * 1024
# Below every usual range of ephemeral ports, so that no outgoing connection takes a kept port while we are stopped.
_PORTS = range(20_000, 32_000)


@dataclass(frozen=True)
class Home:
    """Paths below ``$OMNIPOST_HOME``; the folder and all in it are for its owner only."""

    path: Path

    @property
    def secrets(self) -> Path:
        """Keys, seeds and passwords."""
        return self.path / "secrets"

    @property
    def admin_token(self) -> Path:
        """The platform admin's bearer token."""
        return self.path / "admin-token"

    @property
    def url_file(self) -> Path:
        """Where the edge listens; there while a call can be served. The command line looks here."""
        return self.path / "run" / "url"

    def pid_file(self, name: str) -> Path:
        """Process id of the named part, present while it runs."""
        return self.path / "run" / f"{name}.pid"

    def log_file(self, name: str) -> Path:
        """What the named part wrote to stdout and stderr."""
        return self.path / "log" / f"{name}.log"

    def tail(self, name: str, lines: int) -> list[str]:
        """The last ``lines`` lines of a log; empty when there is none."""
        try:
            with self.log_file(name).open("rb") as log:
                log.seek(max(0, log.seek(0, os.SEEK_END) - 64 * 1024))
                return log.read().decode(errors="replace").splitlines()[-lines:]
        except OSError:
            return []

    def rotate_log(self, name: str) -> None:
        """Move a log that has grown too large to ``.1``."""
        log = self.log_file(name)
        if log.exists() and log.stat().st_size > LOG_LIMIT_BYTES:
            log.replace(log.with_suffix(".log.1"))

    def kept_port(self, name: str, taken: Collection[int] = ()) -> int:
        """The port ``name`` had last time, or a free one that it keeps from now on."""
        file = self.path / "run" / "ports.json"
        ports = read_json(file)
        port = ports.get(name)
        if not isinstance(port, int) or port in taken or not is_free(port):
            port = free_port(taken)
            write_private(file, json.dumps(ports | {name: port}))
        return port


def open_home(path: Path) -> tuple[Home, int]:
    """Make the folder and lock it for this process; returns it with the lock's descriptor, to be kept open.

    Raises CannotStart when another stack has it, or it cannot be made.
    """
    path = Path(os.path.abspath(path))  # noqa: PTH100 - a link stays a link: what is printed is what was given
    try:
        for folder in (path, path / "run", path / "log", path / "secrets"):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            folder.chmod(0o700)
        lock = os.open(path / "run" / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise CannotStart(f"OMNIPOST_HOME {path} cannot be used: {error.strerror}.") from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise CannotStart(f"Another stack is running in {path}; stop it, or set OMNIPOST_HOME to another.") from None
    return Home(path), lock


def write_private(path: Path, text: str, *, durable: bool = True) -> None:
    """Write a file for its owner only, at once: whoever reads it finds the old one or the new one, never a half.

    ``durable``: that holds after a power loss, too.
    """
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        if durable:
            os.fsync(file.fileno())
    Path(name).replace(path)


def read_json(path: Path) -> dict[str, object]:
    """A JSON object from a file; empty when it is missing or damaged."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def is_free(port: int) -> bool:
    """Whether a server could listen on 127.0.0.1 at ``port`` now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
            probe.listen(1)
        except OSError:
            return False
    return True


def free_port(taken: Collection[int] = ()) -> int:
    """A port nobody listens on, outside ``taken``. Raises CannotStart when none is found."""
    for port in random.sample(_PORTS, 200):
        if port not in taken and is_free(port):
            return port
    raise CannotStart("No free port was found between 20000 and 32000.")
