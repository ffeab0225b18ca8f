"""A failpoint kills on the pass it was told, once, and only where it is armed."""

import signal
import subprocess
import sys
from pathlib import Path

from shared import failpoints
from tests.integration.servers import ROOT

PASSING = """
import sys
from pathlib import Path
from shared import failpoints
failpoints.arm_from(Path(sys.argv[1]))
for number in range(5):
    failpoints.passing("here")
    print(number, flush=True)
"""


def _pass_by(folder: Path) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-c", PASSING, str(folder)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_it_dies_on_the_pass_it_was_told_and_never_again(tmp_path: Path) -> None:
    (tmp_path / "here").write_text("3")
    died = _pass_by(tmp_path)
    assert (died.returncode, died.stdout.split()) == (-signal.SIGKILL, ["0", "1"])
    lived = _pass_by(tmp_path)
    assert (lived.returncode, lived.stdout.split()) == (0, ["0", "1", "2", "3", "4"])


def test_off_it_looks_at_nothing(tmp_path: Path) -> None:
    (tmp_path / "here").write_text("1")
    failpoints.arm_from(None)
    failpoints.passing("here")
    assert (tmp_path / "here").read_text() == "1"


def test_what_is_no_number_kills_nobody(tmp_path: Path) -> None:
    (tmp_path / "here").write_text("soon")
    assert _pass_by(tmp_path).returncode == 0
