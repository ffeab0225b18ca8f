"""CPU time and memory of the stack's processes, from /proc."""

import os
from contextlib import suppress
from pathlib import Path

from shared.testing.stack import PARTS, Stack, process_fields

_TICK_S = 1 / os.sysconf("SC_CLK_TCK")
_PAGE_MB = os.sysconf("SC_PAGE_SIZE") / 2**20


def cpu_s(stack: Stack) -> dict[str, float]:
    """Seconds of CPU every part has used so far; PostgreSQL with its backends, the finished ones too."""
    spent = {}
    for part in PARTS:
        pid = stack.pid(part)
        ticks = sum(int(value) for value in process_fields(pid)[11:15])
        ticks += sum(int(value) for child in stack.children(part) for value in process_fields(child)[11:13])
        spent[part] = ticks * _TICK_S
    return spent


def tree_cpu_s(pid: int) -> float:
    """Seconds of CPU a process and all it has started have used so far, the finished ones too."""
    parents: dict[int, list[int]] = {}
    fields: dict[int, list[str]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                found = fields[int(entry.name)] = process_fields(int(entry.name))
                parents.setdefault(int(found[1]), []).append(int(entry.name))
    ticks, left = 0, [pid]
    while left:
        one = left.pop()
        ticks += sum(int(value) for value in fields[one][11:15]) if one in fields else 0
        left += parents.get(one, [])
    return ticks * _TICK_S


def rss_mb(stack: Stack) -> dict[str, float]:
    """Resident memory in MB; what PostgreSQL's backends share is counted once."""
    sizes = {}
    for part in PARTS:
        pid = stack.pid(part)
        resident = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        for child in stack.children(part):
            fields = Path(f"/proc/{child}/statm").read_text().split()
            resident += int(fields[1]) - int(fields[2])
        sizes[part] = resident * _PAGE_MB
    return sizes
