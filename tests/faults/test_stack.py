"""kill -9 of every part of a running stack, and what a stop leaves behind."""

import asyncio
import os
import signal
import socket
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path

import pytest

from deploy.local.home import Home, read_json
from deploy.local.leftovers import remaining
from deploy.local.processes import identity
from shared.clock import SystemClock
from shared.testing.stack import PARTS, Stack, free_port, full_run

pytestmark = pytest.mark.faults
BACK_WITHIN_S = 5.0
STOPPED_WITHIN_S = 20.0
STARTED_WITHIN_S = 5.0


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    stack = Stack.start(tmp_path_factory.mktemp("stack") / "home")
    yield stack
    stack.stop()


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def alive(stack: Stack) -> dict[str, int]:
    return remaining(Home(stack.home))


class TestOperations:
    @pytest.mark.parametrize("name", PARTS)
    async def test_a_killed_part_is_back_within_five_seconds(self, running: Stack, name: str) -> None:
        clock = SystemClock()
        for _ in range(5 if full_run() else 1):
            began, killed = clock.monotonic(), running.kill(name)
            while running.pid(name) == killed or not await asyncio.to_thread(running.is_ready):
                assert clock.monotonic() - began < 30, running.log(name)[-3000:]
                await asyncio.sleep(0.02)
            seconds = clock.monotonic() - began
            print(f"kill -9 {name}: serving again after {seconds:.2f} s")
            assert seconds <= BACK_WITHIN_S

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    def test_a_stop_leaves_no_process_no_port_and_no_pid_file(self, tmp_path: Path, number: signal.Signals) -> None:
        stack = Stack.start(tmp_path / "home")
        known, clock = alive(stack), SystemClock()
        assert set(PARTS) <= set(known)
        ports = [stack.port, *_kept_ports(stack)]
        began = clock.monotonic()
        assert stack.stop(number) == 0
        seconds = clock.monotonic() - began
        print(f"{number.name}: stopped after {seconds:.2f} s")
        assert seconds <= STOPPED_WITHIN_S
        assert [name for name, pid in known.items() if identity(pid)] == []
        assert [port for port in ports if listens(port)] == []
        assert list((stack.home / "run").glob("*.pid")) == []

    def test_a_stop_in_the_middle_of_a_slow_call_keeps_to_its_time(self, tmp_path: Path) -> None:
        stack, clock = Stack.start(tmp_path / "home"), SystemClock()
        connection = HTTPConnection("127.0.0.1", stack.port, timeout=60)
        headers = {"Authorization": f"Bearer {stack.admin_token}", "Content-Type": "application/json"}
        alias = (
            '{"workspace_id": 1000, "alias_name": "slow", "display_name": "Slow", "capability": "chat",'
            ' "primary_provider": "sandbox", "primary_model": "sandbox-slow", "fallback_chain": []}'
        )
        connection.request("POST", "/ai-aliases", alias, headers)
        created = connection.getresponse()
        assert created.status == 201, created.read()
        created.read()
        call = '{"workspace_id": 1000, "alias_name": "slow", "prompt": "Hello"}'
        connection.request("POST", "/ai-invoke", call, headers)
        began = clock.monotonic()
        assert stack.stop() == 0
        seconds = clock.monotonic() - began
        connection.close()
        print(f"SIGTERM during a 30 s call: stopped after {seconds:.2f} s")
        assert seconds <= STOPPED_WITHIN_S

    def test_two_stacks_run_side_by_side(self, running: Stack, tmp_path: Path) -> None:
        other = Stack.start(tmp_path / "home", port=free_port())
        try:
            assert running.is_ready()
            assert other.is_ready()
            assert not set(_kept_ports(running)) & set(_kept_ports(other))
            assert running.admin_token != other.admin_token
        finally:
            assert other.stop() == 0
        assert running.is_ready()

    def test_a_killed_supervisor_takes_its_stack_along_and_the_next_one_starts(self, tmp_path: Path) -> None:
        stack = Stack.start(tmp_path / "home")
        known = alive(stack)
        os.kill(stack.process.pid, signal.SIGKILL)
        stack.process.wait()
        again = Stack.start(stack.home, port=stack.port)
        try:
            print(f"after kill -9 of the supervisor: {again.ready_line}")
            assert [name for name, pid in known.items() if identity(pid)] == []
            assert again.is_ready()
        finally:
            assert again.stop() == 0

    def test_a_later_start_is_fast(self, tmp_path: Path) -> None:
        first = Stack.start(tmp_path / "home")
        assert first.stop() == 0
        second = Stack.start(first.home, port=first.port)
        assert second.stop() == 0
        print(f"first start: {first.ready_line}; later start: {second.ready_line}")
        assert float((second.ready_line or "").split()[2]) <= STARTED_WITHIN_S


def _kept_ports(stack: Stack) -> list[int]:
    ports = read_json(stack.home / "run" / "ports.json").values()
    return [port for port in ports if isinstance(port, int)]
