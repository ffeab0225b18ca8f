"""Processes that an earlier supervisor of the same home left behind because it was killed."""

import asyncio
import os
import signal
from contextlib import suppress

from deploy.local.home import Home, read_json
from deploy.local.processes import identity

PATIENCE_S = 10.0


def remaining(home: Home) -> dict[str, int]:
    """Name and process id of everything an earlier supervisor started that is still the very same process."""
    found = {}
    for name, noted in read_json(home.path / "run" / "started.json").items():
        if isinstance(noted, list) and len(noted) == 2 and isinstance(noted[0], int):
            pid, known = noted
            if known is not None and identity(pid) == known:
                found[name] = pid
    return found


async def stop_remaining(home: Home) -> None:
    """End them, by force after a few seconds, and forget their pid files."""
    loop = asyncio.get_running_loop()
    for name, pid in remaining(home).items():
        # For PostgreSQL SIGINT is the fast shutdown; SIGTERM would wait for its clients.
        _send(pid, signal.SIGINT if name == "postgres" else signal.SIGTERM)
    deadline = loop.time() + PATIENCE_S
    # They are no children of ours, so no event tells when they have ended.
    while (left := remaining(home)) and loop.time() < deadline:  # noqa: ASYNC110
        await asyncio.sleep(0.05)
    for pid in left.values():
        _send(pid, signal.SIGKILL)
    while remaining(home):  # noqa: ASYNC110
        await asyncio.sleep(0.02)
    for file in (home.path / "run").glob("*.pid"):
        file.unlink(missing_ok=True)
    (home.path / "run" / "started.json").unlink(missing_ok=True)


def _send(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)
