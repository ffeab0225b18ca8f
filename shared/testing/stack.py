"""A whole local stack for tests and benchmarks: ``python -m deploy.local`` in a process of its own."""

import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

from psycopg import AsyncConnection

READY_S = 120.0
STOP_S = 25.0
ROOT = Path(__file__).resolve().parent.parent.parent
PARTS = ("api", "router", "vault", "metering", "nats", "postgres")


def process_fields(pid: int) -> list[str]:
    """The fields of ``/proc/<pid>/stat`` behind the name: state, parent, … Raises OSError when it has ended."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


class StackFailed(Exception):  # noqa: N818 - reads as the sentence it is
    """The stack did not become ready; the message is what it printed."""


def free_port() -> int:
    """A port on 127.0.0.1 nobody listens on, below the range of outgoing connections."""
    while True:
        port = random.randrange(10_000, 20_000)  # noqa: S311 - no secret
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port


def full_run() -> bool:
    """Whether the long versions of the fault runs are wanted (``make faults FULL=1``)."""
    return bool(os.environ.get("FULL"))  # noqa: TID251 - the tests' only setting


class Stack:
    """A running stack. ``start`` makes one; ``stop`` ends it, and everything it started, within 20 s."""

    def __init__(self, home: Path, port: int, process: "subprocess.Popen[str]") -> None:
        self.home, self.port, self.process = home, port, process
        self.printed: list[str] = []
        self._settled = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @classmethod
    def start(cls, home: Path, *, port: int | None = None, environment: Mapping[str, str] | None = None) -> "Stack":
        """Start a stack in ``home`` and return once it is ready. Raises StackFailed."""
        port = port or free_port()
        variables = {"OMNIPOST_HOME": str(home), "OMNIPOST_PORT": str(port), **(environment or {})}
        settings = [f"{name}={value}" for name, value in variables.items()]
        supervisor = (sys.executable, "-m", "deploy.local")
        process = subprocess.Popen(
            ["/usr/bin/env", "-u", "PYTHONDONTWRITEBYTECODE", "-u", "MAKELEVEL", *settings, *supervisor],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        stack = cls(home, port, process)
        stack._settled.wait(READY_S)
        if not stack.ready_line:
            stack.stop()
            raise StackFailed("\n".join(stack.printed))
        return stack

    @property
    def ready_line(self) -> str | None:
        """The line ``ready in X.X s``."""
        return next((line for line in self.printed if line.startswith("ready in ")), None)

    @property
    def base_url(self) -> str:
        """Where the edge listens."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def admin_token(self) -> str:
        """The platform admin's bearer token."""
        return (self.home / "admin-token").read_text().strip()

    def pid(self, name: str) -> int:
        """Process id of a part. Raises OSError when it has none."""
        return int((self.home / "run" / f"{name}.pid").read_text())

    def children(self, name: str) -> list[int]:
        """Processes a part has started (PostgreSQL's backends); Linux only."""
        parent, found = self.pid(name), []
        for entry in Path("/proc").iterdir():
            with suppress(OSError):
                if entry.name.isdigit() and int(process_fields(int(entry.name))[1]) == parent:
                    found.append(int(entry.name))
        return found

    def log(self, name: str) -> str:
        """All that a part has logged; empty when nothing."""
        file = self.home / "log" / f"{name}.log"
        return file.read_text(errors="replace") if file.exists() else ""

    def is_ready(self) -> bool:
        """Whether ``/readyz`` answers 200 now."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status == 200
        except (OSError, HTTPException):
            return False
        finally:
            connection.close()

    @property
    def nats_url(self) -> str:
        """The embedded NATS server."""
        return f"nats://127.0.0.1:{self._ports['nats']}"

    @property
    def _ports(self) -> dict[str, int]:
        ports: dict[str, int] = json.loads((self.home / "run" / "ports.json").read_text())
        return ports

    @property
    def owner_url(self) -> str:
        """The embedded database, as its owner."""
        password = (self.home / "secrets" / "pg-admin").read_text().strip()
        return f"postgresql://omnipost:{password}@127.0.0.1:{self._ports['postgres']}/omnipost"

    async def query(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """Rows of the embedded database, as its owner."""
        async with await AsyncConnection.connect(self.owner_url) as connection:
            return list(await (await connection.execute(statement, values)).fetchall())

    def kill(self, name: str) -> int:
        """Kill -9 a part; returns the process id it had."""
        pid = self.pid(name)
        os.kill(pid, signal.SIGKILL)
        return pid

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Stop it and return its exit code. Raises subprocess.TimeoutExpired after 25 s."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        code = self.process.wait(STOP_S)
        self._reader.join(STOP_S)
        return code

    def _read(self) -> None:
        with self.process.stdout as lines:  # type: ignore[union-attr]  # it is a pipe
            for line in lines:
                self.printed.append(line.rstrip("\n"))
                if line.startswith("ready in "):
                    self._settled.set()
        self._settled.set()
