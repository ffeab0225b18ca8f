"""``make rotate-kek`` on a running stack: with the key in ``secrets/kek``, and with one from the environment."""

import json
import os
import secrets
import stat
import subprocess
import sys
from http.client import HTTPConnection
from pathlib import Path

from deploy.local.registration import WORKSPACE
from deploy.local.rotate_kek import kek_id_of
from shared.testing.stack import ROOT, Stack


def rotate_kek(stack: Stack) -> str:
    """What the command printed."""
    environment = {"PATH": os.defpath, "OMNIPOST_HOME": str(stack.home), "OMNIPOST_PORT": str(stack.port)}
    command = [sys.executable, "-m", "deploy.local.rotate_kek"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def invoke(stack: Stack) -> int:
    """The status of a call with the sandbox's key."""
    connection = HTTPConnection("127.0.0.1", stack.port, timeout=20)
    body = {"workspace_id": WORKSPACE, "alias_name": "sandbox-echo", "prompt": "Hello"}
    headers = {"Authorization": f"Bearer {stack.admin_token}", "Content-Type": "application/json"}
    connection.request("POST", "/ai-invoke", json.dumps(body), headers)
    status = connection.getresponse().status
    connection.close()
    return status


def keks(folder: Path) -> list[str]:
    return (folder / "kek").read_text().split()


def test_the_key_is_rotated_and_the_old_one_set_aside(tmp_path: Path) -> None:
    stack = Stack.start(tmp_path / "home")
    try:
        folder, before = stack.home / "secrets", keks(tmp_path / "home" / "secrets")
        printed = rotate_kek(stack)
        (now,) = keks(folder)
        assert [now] != before
        assert f"1 data keys are under {kek_id_of(now)}" in printed
        (aside,) = folder.glob("kek.retired-*")
        assert aside.read_text().split() == before
        assert {stat.S_IMODE(file.stat().st_mode) for file in (aside, folder / "kek")} == {0o600}
        assert not any(line in printed for line in [now, *before])
        assert invoke(stack) == 200
    finally:
        stack.stop()
    given = secrets.token_hex(32)
    stack = Stack.start(tmp_path / "home", environment={"AI_ENCRYPTION_KEY": given})
    try:
        printed = rotate_kek(stack)
        assert f"1 data keys are under {kek_id_of(given)}" in printed
        assert "AI_ENCRYPTION_KEY=<new" in printed
        assert keks(folder) == [now], "the file is as it was"
        assert invoke(stack) == 200
    finally:
        stack.stop()
