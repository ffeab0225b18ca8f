"""``python -m deploy.local.rotate_kek``: give the running stack a fresh key-encryption key (``make rotate-kek``).

The new key becomes the first line of ``secrets/kek``; the vault moves every data key to it while it serves, and refuses
the old one from then on. Interrupted anywhere, the command is run again.
"""

import sys
import time
from datetime import datetime
from pathlib import Path
from typing import Any

from deploy.local import settings as environment
from deploy.local.edge import Edge, EdgeRefused
from deploy.local.home import Home, write_private
from deploy.local.secret_files import KEKS, new_key
from deploy.local.settings import CannotStart
from services.vault.keks.lines import parse, parse_file
from shared.clock import Clock, SystemClock
from shared.errors import OmniError

PATH = "/ai-vault/kek-rotation"
LOOK_EVERY_S = 0.5
FROM_THE_ENVIRONMENT = """\
The stack was started with AI_ENCRYPTION_KEY, which comes before {file}: that file is as it was.
To rotate AI_ENCRYPTION_KEY, stop the stack, start it with
    AI_ENCRYPTION_KEY=<new, openssl rand -base64 32> AI_ENCRYPTION_KEY_PREVIOUS=<old> make run
and run this again; then AI_ENCRYPTION_KEY_PREVIOUS can go."""


class KekLines:
    """``secrets/kek``: one key-encryption key a line."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> list[str]:
        """The lines that hold one. Raises OSError."""
        return [line for line, _ in parse_file(self.path.read_text(encoding="utf-8"), KEKS)]

    def write(self, lines: list[str]) -> None:
        """Replace them all at once."""
        write_private(self.path, "".join(f"{line}\n" for line in lines))

    def retire_all_but(self, kek_id: str, now: datetime) -> Path | None:
        """Move every other line to a file of its own, which is returned; None when there is none to move."""
        lines = self.read()
        kept = [line for line in lines if kek_id_of(line) == kek_id]
        retired = [line for line in lines if line not in kept]
        if not kept or not retired:
            return None
        aside = self.path.with_name(f"{self.path.name}.retired-{now:%Y%m%dT%H%M%SZ}")
        write_private(aside, "".join(f"{line}\n" for line in retired))
        self.write(kept)
        return aside


def kek_id_of(line: str) -> str:
    """What the vault calls the key of this line. Raises OmniError when it is none."""
    return parse(line, KEKS, production=False).id


def rotate(edge: Edge, keks: KekLines, clock: Clock) -> None:
    """Rotate and return once it is done. Raises EdgeRefused, OSError, OmniError."""
    found = edge.call("GET", PATH)
    ours = True
    if found["state"] == "running":
        print("going on with the rotation under way")
    else:
        before, fresh = keks.read(), new_key()
        keks.write([fresh, *before])
        found = edge.call("POST", PATH)
        ours = found["kek_id"] == kek_id_of(fresh)
        if not ours:
            keks.write(before)
    found = _follow(edge, found)
    print(f"done: {found['total']} data keys are under {found['kek_id']}; older key-encryption keys are refused")
    aside = keks.retire_all_but(found["kek_id"], clock.now()) if ours else None
    if aside is not None:
        print(f"the old key is in {aside}: it opens old backups only; destroy it when you need none of them")
    if not ours:
        print(FROM_THE_ENVIRONMENT.format(file=keks.path))


def _follow(edge: Edge, found: dict[str, Any]) -> dict[str, Any]:
    said = ""
    while found["state"] == "running":
        moved = found["total"] - found["remaining"]
        line = f"rewrapped {max(0, moved)} of {found['total']} data keys"
        if found["trouble"]:
            line += f"; waiting: {found['trouble']}"
        if line != said:
            print(line, flush=True)
            said = line
        time.sleep(LOOK_EVERY_S)
        found = edge.call("GET", PATH)
    return found


def main() -> int:
    """The exit code of ``make rotate-kek``."""
    try:
        settings = environment.read()
        home = Home(settings.home)
        edge = Edge(settings.port, home.admin_token.read_text().strip())
        rotate(edge, KekLines(home.secrets / KEKS), SystemClock())
    except OmniError as error:
        print(f"{error.detail}", file=sys.stderr)
    except (CannotStart, EdgeRefused, OSError) as trouble:
        print(
            f"not rotated, or not to the end: {trouble}. With the stack running (make run), try again.", file=sys.stderr
        )
    except KeyboardInterrupt:
        print("the vault goes on by itself; run this again to see the end", file=sys.stderr)
    else:
        return 0
    return 1


if __name__ == "__main__":
    sys.exit(main())
