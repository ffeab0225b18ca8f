"""Telling processes apart, and how a child is born: its own session, and no life without the supervisor."""

import ctypes
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None)


def identity(pid: int) -> str | None:
    """What tells process ``pid`` from any other that ever has the same id; None when it is not running."""
    stat = Path(f"/proc/{pid}/stat")
    if stat.parent.parent.joinpath("self").exists():
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            return None
        return None if fields[0] in "ZX" else f"{fields[19]}@{_boot()}"
    ps = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return ps.stdout.strip() or None


def command_line(pid: int) -> str:
    """The command line of a process; empty when it is not running."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    except OSError:
        ps = subprocess.run(["ps", "-o", "command=", "-p", str(pid)], capture_output=True, text=True, check=False)
        return ps.stdout.strip()


def follow_parent(number: signal.Signals) -> Callable[[], None]:
    """For ``preexec_fn``: send the child ``number`` when the process that started it dies (where the system can)."""
    parent = os.getpid()

    def prepare() -> None:
        if sys.platform == "linux":
            _LIBC.prctl(_PR_SET_PDEATHSIG, int(number), 0, 0, 0)
            if os.getppid() != parent:
                os._exit(1)

    return prepare


def stop_with_parent(number: signal.Signals) -> None:
    """Have this very process sent ``number`` when its parent dies (where the system can)."""
    if sys.platform == "linux":
        _LIBC.prctl(_PR_SET_PDEATHSIG, int(number), 0, 0, 0)


def own_binary(name: str) -> str | None:
    """A program installed beside this interpreter."""
    return shutil.which(name, path=str(Path(sys.executable).parent))


def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""
