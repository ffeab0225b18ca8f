"""What `make run` promises a newcomer: it says how to go on, and the command it prints works as pasted."""

import json
import re
import subprocess
from pathlib import Path

import httpx2

from deploy.local.edge import Edge
from shared.testing.stack import PARTS, ROOT, Stack


def test_prints_url_token_place_and_time(stack: Stack) -> None:
    printed = "\n".join(stack.printed)
    assert stack.base_url in printed
    assert str(stack.home / "admin-token") in printed
    assert stack.ready_line is not None
    assert re.fullmatch(r"ready in \d+\.\d s", stack.ready_line)
    assert stack.admin_token not in printed


def test_printed_curl_command_makes_a_call_that_fails_over(stack: Stack) -> None:
    command = next(line for line in stack.printed if line.strip().startswith("curl "))
    done = subprocess.run(["sh", "-c", command], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    answer = json.loads(done.stdout)
    assert answer["output"]["text"].startswith("[simulated] You said:")
    assert answer["model"] == "sandbox-echo"
    assert answer["fallback"]["used"] is True
    assert [attempt["model"] for attempt in answer["attempts"]][-1] == "sandbox-echo"


def test_the_sandbox_shows_a_cut_stream_that_is_continued(stack: Stack) -> None:
    body = {"workspace_id": 1000, "alias_name": "sandbox-cut", "prompt": "Good morning to all of you", "stream": True}
    headers = {"Authorization": f"Bearer {stack.admin_token}", "Content-Type": "application/json"}
    said = httpx2.post(f"{stack.base_url}/ai-invoke", json=body, headers=headers, timeout=60).text
    events = [tuple(part.split("\n")) for part in said.strip().split("\n\n") if part.startswith("event: ")]
    assert [name for name, _ in events if name != "event: delta"] == ["event: continued", "event: done"]
    done = json.loads(events[-1][1].removeprefix("data: "))
    assert done["output"]["text"] == "[simulated] You said: Good morning to all of you"
    assert done["continued"] == [{"provider": "sandbox", "model": "sandbox-cut"}]


def test_the_sandbox_embeds(stack: Stack) -> None:
    body = {"workspace_id": 1000, "alias_name": "sandbox-embedding", "input": ["one", "two"]}
    vectors = Edge(stack.port, stack.admin_token).call("POST", "/ai-invoke", body)["output"]["embeddings"]
    assert [len(vector) for vector in vectors] == [8, 8]


def test_every_part_has_its_process_and_log(stack: Stack) -> None:
    assert len({stack.pid(name) for name in PARTS}) == len(PARTS)
    for name in PARTS:
        assert (stack.home / "log" / f"{name}.log").exists()


def test_state_is_for_its_owner_only(stack: Stack) -> None:
    assert (stack.home / "admin-token").stat().st_mode & 0o777 == 0o600
    loose = [path for path in (stack.home / "secrets").iterdir() if path.stat().st_mode & 0o077]
    assert loose == []
    assert stack.home.stat().st_mode & 0o077 == 0


def test_no_secret_stands_in_a_log_or_a_process_argument(stack: Stack) -> None:
    secrets = [path.read_text().strip() for path in (stack.home / "secrets").iterdir() if path.suffix != ".pub"]
    secrets = [secret for secret in secrets if secret != (stack.home / "secrets" / "vault-public").read_text().strip()]
    secrets.append(stack.admin_token)
    said = "".join(stack.log(path.stem) for path in (stack.home / "log").glob("*.log"))
    said += "".join(Path(f"/proc/{stack.pid(name)}/cmdline").read_text() for name in PARTS)
    assert [secret for secret in secrets if secret in said] == []


def test_a_second_stack_on_the_same_home_is_refused(stack: Stack) -> None:
    variables = [f"OMNIPOST_HOME={stack.home}", "OMNIPOST_PORT=1"]
    command = ["env", *variables, ".venv/bin/python", "-m", "deploy.local"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 1
    assert "Another stack is running" in done.stderr


def test_registration_is_idempotent(stack: Stack) -> None:
    edge = Edge(stack.port, stack.admin_token)
    keys = [key for key in edge.call("GET", "/ai-keys?workspace_id=1000")["items"] if key["provider"] == "sandbox"]
    assert len(keys) == 1
    assert keys[0]["status"] == "active"
