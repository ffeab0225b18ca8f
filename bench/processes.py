"""CPU time and memory of the stack's processes, from /proc."""

import os
from pathlib import Path

from shared.testing.stack import PARTS, Stack

_TICK_S = 1 / os.sysconf("SC_CLK_TCK")
_PAGE_MB = os.sysconf("SC_PAGE_SIZE") / 2**20


def _stat(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def _children(pid: int) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if int(_stat(int(entry.name))[1]) == pid:
                    found.append(int(entry.name))
            except OSError:
                continue
    return found


def cpu_s(stack: Stack) -> dict[str, float]:
    """Seconds of CPU every part has used so far; PostgreSQL with its backends, the finished ones too."""
    spent = {}
    for part in PARTS:
        pid = stack.pid(part)
        ticks = sum(int(value) for value in _stat(pid)[11:15])
        ticks += sum(int(value) for child in _children(pid) for value in _stat(child)[11:13])
        spent[part] = ticks * _TICK_S
    return spent


def rss_mb(stack: Stack) -> dict[str, float]:
    """Resident memory in MB; what PostgreSQL's backends share is counted once."""
    sizes = {}
    for part in PARTS:
        pid = stack.pid(part)
        resident = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        for child in _children(pid):
            fields = Path(f"/proc/{child}/statm").read_text().split()
            resident += int(fields[1]) - int(fields[2])
        sizes[part] = resident * _PAGE_MB
    return sizes
