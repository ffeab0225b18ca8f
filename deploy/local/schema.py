"""Are the schemas at their heads, and can every service log in? If not, run the migrations."""

import asyncio
import signal
import subprocess
import sys
from collections.abc import Mapping

import psycopg

from deploy.local.home import Home
from deploy.local.processes import follow_parent
from deploy.local.programs import SERVICES
from deploy.local.settings import CannotStart
from shared.schemas import ROOT, head_of, service_url

STARTING_UP_S = 60.0


async def ensure(home: Home, owner_url: str, inherited: Mapping[str, str]) -> bool:
    """Migrate if need be; returns whether it was. Raises CannotStart with the reason."""
    await _accepts_logins(owner_url)
    if all([await _current(home, owner_url, service) for service in SERVICES]):
        return False
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "shared.migrate",
        env={**inherited, "DATABASE_URL": owner_url, "ROLE_PASSWORDS_DIR": str(home.secrets)},
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        preexec_fn=follow_parent(signal.SIGTERM),
    )
    try:
        output, _ = await process.communicate()
    except asyncio.CancelledError:
        process.kill()
        await process.wait()
        raise
    home.log_file("migrate").write_bytes(output)
    if process.returncode:
        last = output.decode(errors="replace").strip().rpartition("\n")[2]
        raise CannotStart(f"The database cannot be migrated: {last} (all of it: {home.log_file('migrate')})")
    return True


async def _accepts_logins(url: str) -> None:
    # After a crash PostgreSQL listens while it still recovers, and refuses everybody.
    loop = asyncio.get_running_loop()
    deadline = loop.time() + STARTING_UP_S
    while True:
        try:
            connection = await psycopg.AsyncConnection.connect(url, connect_timeout=5)
        except psycopg.OperationalError as error:
            if loop.time() > deadline or not _passing(error):
                reason = str(error).strip().splitlines()[0]
                raise CannotStart(f"The database does not let its owner in: {reason}") from None
            await asyncio.sleep(0.05)
        except psycopg.Error as error:
            raise CannotStart(f"DATABASE_URL cannot be used ({type(error).__name__}).") from None
        else:
            await connection.close()
            return


def _passing(error: psycopg.OperationalError) -> bool:
    text = str(error)
    return "starting up" in text or "recovery" in text or "refused" in text or "not yet accepting" in text


async def _current(home: Home, owner_url: str, service: str) -> bool:
    password = (home.secrets / f"pg-{service}").read_text().strip()
    try:
        connection = await psycopg.AsyncConnection.connect(service_url(owner_url, service, password), connect_timeout=5)
        async with connection:
            row = await (await connection.execute("SELECT version_num FROM alembic_version")).fetchone()
    except psycopg.Error:
        return False
    return row is not None and str(row[0]) >= head_of(service)
