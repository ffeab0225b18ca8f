"""A key dies at once: while it is used 500 times a second, in the middle of answers, with a router that is frozen."""

import asyncio
import os
import signal
import socket
import statistics
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Any
from uuid import uuid4

import pytest

from shared.bus import Bus
from shared.errors import Code, OmniError
from shared.messages.base import Service
from shared.messages.chat import ChatMessageV1, ChatOptionsV1
from shared.messages.router import InvokedV1, InvokeV1
from shared.messages.vocabulary import START_WITHIN_S
from shared.settings import ServiceSettings
from shared.telemetry import Telemetry
from shared.testing.stack import ROOT, Stack
from tests.e2e.world import World, connected, eventually, ok

pytestmark = [pytest.mark.faults, pytest.mark.timeout(300)]
PER_S, AT_MOST = 500, 100
REVOKED = 50
USED_FOR_S = 0.4
TRICKLING, ROUNDS = 10, 10
CUT_WITHIN_S = 0.25
HELLO = (ChatMessageV1(role="user", content="Hi"),)
SHORT = ChatOptionsV1(max_tokens=5)


@pytest.fixture(scope="class")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    environment = {"OMNIPOST_ALLOWED_PRIVATE_HOSTS": "127.0.0.1"}
    home: Path = tmp_path_factory.mktemp("revocation") / "home"
    running = await asyncio.to_thread(Stack.start, home, environment=environment)
    yield running
    await asyncio.to_thread(running.stop)


@pytest.fixture(scope="class")
async def world(stack: Stack) -> AsyncIterator[World]:
    async with connected(stack) as made:
        yield made


@pytest.fixture(scope="class")
async def edge(stack: Stack) -> AsyncIterator[Bus]:
    """Calls as the edge makes them, without its HTTP: that leaves the processors to the router."""
    seed = stack.home / "secrets" / "nkey-api.seed"
    settings = ServiceSettings(nats_url=stack.nats_url, nats_nkey_seed_file=seed)
    bus = Bus(Service.API, settings, Telemetry(Service.API, None), lambda: None)
    await bus.start()
    yield bus
    await bus.stop()


@pytest.fixture(scope="class")
def port() -> Iterator[int]:
    command = [sys.executable, "-m", "tests.faults.revocation_provider"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield int(process.stdout.readline())
        process.terminate()


async def _provider(world: World, base_url: str) -> str:
    body = {"id": f"t-{uuid4().hex[:12]}", "kind": "openai-compatible", "base_url": base_url}
    models = [{"id": name, "input_usd_per_mtok": 1, "output_usd_per_mtok": 2} for name in ("m", "trickle")]
    ok(await world.admin.post("/ai-providers", **body, models=models), 201)
    return body["id"]


async def _keys(world: World, workspace: int, provider: str, count: int) -> dict[str, str]:
    """Ids of new keys, oldest first, with their secrets."""
    made = {}
    for number in range(count):
        secret = f"sk-{number:04d}-{uuid4().hex}"
        made[(await world.key(workspace, provider, api_key=secret))["id"]] = secret
    return made


async def _journal(world: World, port: int, secret: str) -> list[dict[str, Any]]:
    """What the provider has noted of a key."""
    notes: list[dict[str, Any]] = (await world.http.get(f"http://127.0.0.1:{port}/journal?{secret}")).json()
    return notes


async def _delete(world: World, key_id: str) -> tuple[float, float]:
    """When DELETE was sent and when it had answered."""
    sent = monotonic()
    answer = await world.admin.delete(f"/ai-keys/{key_id}")
    assert answer.status_code == 204, answer.text
    return sent, monotonic()


def _invoke(workspace: int, alias: str) -> InvokeV1:
    return InvokeV1(workspace_id=workspace, call_id=str(uuid4()), alias_name=alias, messages=HELLO, options=SHORT)


class Load:
    """Calls offered at a fixed rate, at most ``AT_MOST`` under way."""

    def __init__(self, edge: Bus, workspace: int, alias: str) -> None:
        self._edge, self._workspace, self._alias = edge, workspace, alias
        self._under_way: set[asyncio.Task[None]] = set()
        self.answered = 0
        self.failed: list[str] = []

    async def offer(self, stop: asyncio.Event) -> float:
        """Calls answered per second until ``stop``."""
        began = monotonic()
        offered = 0
        while not stop.is_set():
            due = int((monotonic() - began) * PER_S) - offered
            for _ in range(min(due, AT_MOST - len(self._under_way))):
                task = asyncio.create_task(self._call())
                self._under_way.add(task)
                task.add_done_callback(self._under_way.discard)
            offered += max(0, due)
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), 0.01)
        await asyncio.gather(*self._under_way)
        return self.answered / (monotonic() - began)

    async def _call(self) -> None:
        try:
            await self._edge.request(_invoke(self._workspace, self._alias), InvokedV1, timeout=30)
            self.answered += 1
        except OmniError as error:
            self.failed.append(error.code)


class TestVaultRevocation:
    async def test_no_call_starts_after_delete_has_answered(self, world: World, edge: Bus, port: int) -> None:
        workspace = await world.workspace()
        provider = await _provider(world, f"http://127.0.0.1:{port}/v1")
        keys = await _keys(world, workspace, provider, REVOKED + 1)
        load, stop = Load(edge, workspace, await world.alias(workspace, provider)), asyncio.Event()
        offering = asyncio.create_task(load.offer(stop))
        times = {}
        for key_id, secret in list(keys.items())[:REVOKED]:
            await eventually(partial(_under_way, world, port, secret))
            await asyncio.sleep(USED_FOR_S)
            times[key_id] = await _delete(world, key_id)
        await asyncio.sleep(USED_FOR_S)
        stop.set()
        per_s = await offering
        seen = {key_id: [note["received"] for note in await _journal(world, port, keys[key_id])] for key_id in times}
        late = [1000 * (at - times[key_id][1]) for key_id in times for at in seen[key_id] if at > times[key_id][1]]
        busy = [sum(at < sent for at in seen[key_id]) for key_id, (sent, _) in times.items()]
        took = [1000 * (answered - sent) for sent, answered in times.values()]
        print(f"revocation: revoked={len(times)} calls_per_s={per_s:.0f} offered_per_s={PER_S}", end=" ")
        print(f"calls={load.answered} failed={len(load.failed)} calls_of_a_key_min={min(busy)}", end=" ")
        print(f"started_after_delete={len(late)} {_spread('delete', took)}")
        assert not late, f"calls that started after DELETE had answered, by milliseconds: {late}"
        assert not load.failed, load.failed

    async def test_answers_under_way_are_cut(self, world: World, edge: Bus, port: int) -> None:
        workspace = await world.workspace()
        provider = await _provider(world, f"http://127.0.0.1:{port}/v1")
        keys = await _keys(world, workspace, provider, ROUNDS)
        alias = await world.alias(workspace, provider, primary_model="trickle")
        calls = [
            asyncio.create_task(edge.request(_invoke(workspace, alias), InvokedV1, timeout=120))
            for _ in range(TRICKLING)
        ]
        from_sent, from_answered = [], []
        for key_id, secret in keys.items():
            await eventually(partial(_under_way, world, port, secret))
            sent, answered = await _delete(world, key_id)
            closed = await eventually(partial(_closed, world, port, secret))
            from_sent += [1000 * (at - sent) for at in closed]
            from_answered += [1000 * (at - answered) for at in closed]
        endings = await asyncio.gather(*calls, return_exceptions=True)
        print(f"cut: calls={len(from_sent)} {_spread('cut', from_sent)}", end=" ")
        print(_spread("cut_after_delete_answered", from_answered))
        assert len(from_sent) == TRICKLING * ROUNDS
        assert max(from_answered) <= 1000 * CUT_WITHIN_S
        assert statistics.median(from_sent) <= 1000 * CUT_WITHIN_S
        assert {end.code for end in endings if isinstance(end, OmniError)} == {Code.MISSING_KEY}

    async def test_a_frozen_router_starts_nothing_when_it_wakes(self, stack: Stack, world: World, edge: Bus) -> None:
        with socket.socket() as full:
            full.bind(("127.0.0.1", 0))
            full.listen(0)
            address = full.getsockname()
            fillers = [_connecting(address) for _ in range(3)]  # whoever connects now waits for the queue to empty
            workspace = await world.workspace()
            provider = await _provider(world, f"http://127.0.0.1:{address[1]}/v1")
            [key_id] = await _keys(world, workspace, provider, 1)
            alias = await world.alias(workspace, provider, time_limits={"connect_s": 30})
            calling = asyncio.create_task(edge.request(_invoke(workspace, alias), InvokedV1, timeout=60))
            await eventually(lambda: _held(stack, key_id))
            os.kill(stack.pid("router"), signal.SIGSTOP)
            sent, answered = await _delete(world, key_id)
            read = asyncio.create_task(asyncio.to_thread(_read_all, full, len(fillers) + 1))
            os.kill(stack.pid("router"), signal.SIGCONT)
            with pytest.raises(OmniError) as raised:
                await calling
            for filler in fillers:
                filler.close()
            received = await read
        print(f"router frozen: DELETE answered after {answered - sent:.2f} s, bytes sent afterwards: {len(received)}")
        assert raised.value.code in (Code.MISSING_KEY, Code.TIMEOUT)
        assert received == b""
        assert START_WITHIN_S - 0.5 < answered - sent < START_WITHIN_S + 2


async def _under_way(world: World, port: int, secret: str) -> bool | None:
    return len(await _journal(world, port, secret)) >= TRICKLING or None


async def _closed(world: World, port: int, secret: str) -> list[float] | None:
    closed = [note["closed"] for note in await _journal(world, port, secret) if note["closed"]]
    return closed if len(closed) == TRICKLING else None


async def _held(stack: Stack, key_id: str) -> bool | None:
    rows = await stack.query("SELECT 1 FROM metering.reservations WHERE state = 'held' AND key_id = %s", key_id)
    return bool(rows) or None


def _spread(name: str, milliseconds: list[float]) -> str:
    return f"{name}_p50_ms={statistics.median(milliseconds):.0f} {name}_max_ms={max(milliseconds):.0f}"


def _connecting(address: tuple[str, int]) -> socket.socket:
    filler = socket.socket()
    filler.settimeout(0)
    filler.connect_ex(address)
    return filler


def _read_all(listening: socket.socket, most: int) -> bytes:
    """What whoever is in the queue has sent until it closed its connection; nobody new for 3 s ends it."""
    listening.settimeout(3)
    received = b""
    with suppress(TimeoutError):
        for _ in range(most):
            connection, _ = listening.accept()
            with connection, suppress(TimeoutError, ConnectionError):
                connection.settimeout(3)
                while data := connection.recv(4096):
                    received += data
    return received
