"""The memory of a service reaches no disk: no core dump, whatever ends the process."""

import os
from pathlib import Path

import pytest

from shared.messages.base import Service
from shared.testing.stack import Stack


@pytest.mark.parametrize("service", list(Service))
def test_no_service_may_dump_core(stack: Stack, service: Service) -> None:
    process = Path(f"/proc/{stack.pid(service)}")
    [limit] = [line.split() for line in (process / "limits").read_text().splitlines() if line.startswith("Max core")]
    owner = process.stat().st_uid
    print(f"{service}: {' '.join(limit)} owner={owner}")
    assert limit[4:6] == ["0", "0"], "soft and hard limit"
    # The kernel gives the files of a process that is not dumpable to root, whoever runs it.
    assert owner == 0 or owner != os.geteuid()
