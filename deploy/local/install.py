"""``python deploy/local/install.py run|dev [MODULE …]``: make ``.venv`` match its lock file, then run the module.

Standard library only: it runs before anything is installed. A stamp of the lock files' hashes makes later runs a
matter of milliseconds. Every package is pinned by hash; uv installs them, plain pip where uv cannot run.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
BOOTSTRAP = "requirements/bootstrap.lock"
COMMAND = VENV / "bin" / "omnipost"
# Finds the checkout by its own place, so that it works from any folder, and through a link. The shell comes first
# because a path with a space cannot stand behind #!.
LAUNCHER = """\
#!/bin/sh
'''exec' "{python}" "$0" "$@"
' '''
import sys
from pathlib import Path

sys.path[0] = str(next(
    root for root in (Path(__file__).absolute().parents[2], Path(__file__).resolve().parents[2])
    if (root / "omnipost").is_dir()
))
from omnipost.cli.app import main

sys.exit(main())
"""


def main(arguments: list[str]) -> int:
    """0, or 1 with the reason on stderr."""
    began = time.monotonic()
    if not arguments or arguments[0] not in {"run", "dev"}:
        print("usage: install.py run|dev [MODULE [ARGUMENT …]]", file=sys.stderr)
        return 2
    try:
        install(f"requirements/{arguments[0]}.lock")
    except subprocess.CalledProcessError as error:
        print((error.output or "")[-3000:], file=sys.stderr)
        print(f"Installing failed: {' '.join(map(str, error.cmd))}", file=sys.stderr)
        return 1
    write_command()
    if arguments[1:]:
        os.chdir(ROOT)
        began_at = [f"--began={began}"] if arguments[1] == "deploy.local" else []
        os.execv(PYTHON, [str(PYTHON), "-m", *arguments[1:], *began_at])  # noqa: S606 - no shell is wanted
    return 0


def install(lock: str) -> None:
    """Bring ``.venv`` up to ``lock`` unless it is already there. Raises CalledProcessError."""
    wanted = fingerprint(lock)
    if _stamped(lock) == wanted:
        return
    gate = os.open(ROOT / "requirements", os.O_RDONLY)
    fcntl.flock(gate, fcntl.LOCK_EX)
    if _stamped(lock) == wanted:
        return
    print(f"installing packages ({lock}; once) …", flush=True)
    _make_venv()
    for stamp in VENV.glob("installed-*"):
        stamp.unlink()
    _sync(lock)
    _stamp(lock).write_text(wanted)
    if lock == "requirements/dev.lock":  # it holds all of run.lock, which `make run` need not install again
        _stamp("requirements/run.lock").write_text(fingerprint("requirements/run.lock"))


def write_command() -> None:
    """Put ``omnipost`` into the environment's folder of commands, unless it is there as it should be."""
    text = LAUNCHER.format(python=VENV.resolve() / "bin" / "python")
    if not COMMAND.exists() or COMMAND.read_text() != text:
        COMMAND.write_text(text)
        COMMAND.chmod(0o755)


def fingerprint(lock: str) -> str:
    """What the environment depends on: the lock files, where it stands, and the Python it is made of."""
    digest = hashlib.sha256(str(VENV).encode())
    for name in (BOOTSTRAP, lock):
        digest.update((ROOT / name).read_bytes())
    return digest.hexdigest()


def _stamp(lock: str) -> Path:
    return VENV / f"installed-{Path(lock).stem}"


def _stamped(lock: str) -> str | None:
    stamp = _stamp(lock)
    return stamp.read_text() if stamp.exists() and PYTHON.exists() else None


def _make_venv() -> None:
    if _is_whole():
        return
    base = getattr(sys, "_base_executable", sys.executable)
    shutil.rmtree(VENV, ignore_errors=True)
    if _runs(base, "-m", "venv", VENV):
        return
    # Debian ships venv without ensurepip; pip itself may still be there.
    shutil.rmtree(VENV, ignore_errors=True)
    if not _runs(base, "-m", "pip", "--version"):
        sys.exit("This Python cannot make virtual environments. On Debian and Ubuntu: apt install python3-venv")
    _run(base, "-m", "venv", "--without-pip", VENV)
    _run(base, "-m", "pip", "--python", PYTHON, "install", "--quiet", "--ignore-installed", "pip")


def _is_whole() -> bool:
    # A copied checkout brings an environment whose scripts point back at the original: its birthplace tells.
    configuration = VENV / "pyvenv.cfg"
    if not configuration.exists() or f"-m venv {VENV}\n" not in configuration.read_text().replace(" --without-pip", ""):
        return False
    return _runs(PYTHON, "-c", "import pip, sys; sys.exit(sys.version_info < (3, 11))")


def _sync(lock: str) -> None:
    pip = (PYTHON, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--require-hashes")
    locks = ("-r", BOOTSTRAP)
    uv = VENV / "bin" / "uv"
    if _runs(*pip, *locks) and _runs(uv, "--version"):
        sync = (uv, "pip", "sync", "--quiet", "--python", PYTHON, "--require-hashes", "--compile-bytecode")
        if _runs(*sync, lock, BOOTSTRAP):
            return
    print("uv cannot install here; using pip, which takes longer", flush=True)
    _run(*pip, "-r", lock)


def _runs(*command: str | Path) -> bool:
    try:
        _run(*command)
    except (OSError, subprocess.CalledProcessError):
        return False
    return True


def _run(*command: str | Path) -> None:
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
