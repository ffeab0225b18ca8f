"""What a process does to keep secrets to itself: it cannot be dumped, and its logs carry named fields only."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[3]
SECRET = "sk-not-for-any-log-0123456789"

_DUMPABLE = """
import ctypes, resource
from shared.runtime import forbid_core_dumps
dumpable = lambda: ctypes.CDLL(None).prctl(3, 0, 0, 0, 0)
print(dumpable())
forbid_core_dumps()
print(dumpable(), *resource.getrlimit(resource.RLIMIT_CORE))
"""

_LOGS = f"""
import logging, sys, threading, warnings
from shared import logs
secret = {SECRET!r}
logs.configure("test", "debug")
for name in ("nats", "faststream", "httpx2", "aiohttp.client", "sqlalchemy.engine", "uvicorn.error", "asyncio"):
    logger = logging.getLogger(name)
    logger.setLevel(logging.DEBUG)
    for level in (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR, logging.CRITICAL):
        logger.log(level, "sent %s to %r", secret, {{"key": secret}})
        logger.log(level, f"formatted {{secret}}")
        logger.log(level, "with extras", extra={{"api_key": secret}})
    try:
        raise ValueError(secret) from KeyError(secret)
    except ValueError:
        logger.exception("failed with %s", secret)
        logger.exception(f"failed with {{secret}}")
        logs.get().error("failed", exc=sys.exc_info()[1], api_key=secret, body={{"key": secret}})
logs.get().debug("ours", headers=[secret], url=secret, pid=1)
"""

_LAST_WORDS = f"""
import threading, warnings
from shared import logs
secret = {SECRET!r}
logs.configure("test", "debug")
class Broken:
    def __del__(self):
        raise ValueError(secret)
def fail():
    raise ValueError(secret)
warnings.warn(secret)
Broken()
thread = threading.Thread(target=fail)
thread.start()
thread.join()
fail()
"""


def _run(program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)


def test_a_process_becomes_one_that_cannot_be_dumped() -> None:
    assert _run(_DUMPABLE).stdout.split() == ["1", "0", "0", "0"]


def test_logs_of_libraries_carry_no_arguments_at_any_level() -> None:
    done = _run(_LOGS)
    lines: list[dict[str, Any]] = [json.loads(line) for line in done.stdout.splitlines()]
    print(f"lines={len(lines)} found={(done.stdout + done.stderr).count(SECRET)}")
    assert SECRET not in done.stdout + done.stderr
    assert done.stderr == ""
    assert len(lines) > 100
    assert {"nats", "httpx2", "asyncio"} <= {line.get("logger") for line in lines}
    assert any(line.get("error") == "ValueError < KeyError" for line in lines)


def test_what_python_says_when_nobody_catches_an_exception_holds_no_value() -> None:
    done = _run(_LAST_WORDS)
    print(f"exit={done.returncode} found={(done.stdout + done.stderr).count(SECRET)}")
    assert done.returncode == 1
    assert SECRET not in done.stdout + done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert sorted(line["error"] for line in lines) == ["UserWarning", "ValueError", "ValueError", "ValueError"]
