"""Named places at which a process can be told to die, so that tests can kill it exactly there.

Off unless ``arm_from`` was given a folder (local runs only, ``OMNIPOST_FAILPOINTS_DIR``). A test writes the number of
the pass to die on into the file ``<folder>/<name>``; the file is gone before the process is.
"""

import os
import signal
from pathlib import Path

_folder: Path | None = None


def arm_from(folder: Path | None) -> None:
    """Look in ``folder`` from now on; None: never die."""
    global _folder  # noqa: PLW0603 - a process has one life
    _folder = folder


def passing(name: str) -> None:
    """Die here by SIGKILL if somebody has asked for it."""
    if _folder is not None:
        _count(_folder / name)


def _count(file: Path) -> None:
    try:
        left = int(file.read_text())
    except (OSError, ValueError):
        return
    if left > 1:
        file.write_text(str(left - 1))
        return
    try:
        file.unlink()
    except FileNotFoundError:
        return
    os.kill(os.getpid(), signal.SIGKILL)
