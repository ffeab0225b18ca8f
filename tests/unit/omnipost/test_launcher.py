"""``.venv/bin/omnipost`` finds its checkout from any folder and through a link."""

import subprocess
import sys
from pathlib import Path

from deploy.local.install import LAUNCHER


def test_the_command_finds_its_checkout(tmp_path: Path) -> None:
    root = tmp_path / "a checkout"
    package, binaries = root / "omnipost" / "cli", root / ".venv" / "bin"
    package.mkdir(parents=True)
    binaries.mkdir(parents=True)
    (root / "omnipost" / "__init__.py").touch()
    (package / "__init__.py").touch()
    (package / "app.py").write_text("import sys\ndef main():\n    print(__file__, sys.argv[1:])\n    return 3\n")
    command = binaries / "omnipost"
    command.write_text(LAUNCHER.format(python=sys.executable))
    command.chmod(0o755)
    link = tmp_path / "link"
    link.symlink_to(command)
    for path in (command, link):
        done = subprocess.run([path, "a b", "c"], cwd="/", capture_output=True, text=True, timeout=30, check=False)
        assert (done.returncode, done.stderr) == (3, "")
        assert done.stdout == f"{package / 'app.py'} ['a b', 'c']\n"
