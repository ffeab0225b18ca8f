"""Streams that break off after any byte, on either side: each ends well or says so, and each is accounted for once."""

import asyncio
import random
import statistics
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from functools import partial
from math import inf
from pathlib import Path
from time import monotonic
from typing import Any
from uuid import uuid4

import pytest

from shared.testing.stack import ROOT, Stack, full_run
from tests.e2e.world import World, connected, eventually, ok
from tests.faults.streams_client import Client
from tests.faults.streams_plans import ANTHROPIC, CHAINS, GOOGLE, MODELS, OPENAI, OTHER, POLICIES, WORKSPACES, plan_of
from tests.faults.streams_provider import Note
from tests.faults.streams_verdicts import Call, Row, closings, faults_of, summary, unseen

pytestmark = [pytest.mark.faults, pytest.mark.timeout(600)]
STREAMS, CUT_AT_LEAST = (2_400, 2_000) if full_run() else (300, 200)
AT_ONCE = 32
WARM_UP = STREAMS // 5
LIMITS = {"connect_s": 3, "first_byte_s": 4, "last_first_byte_s": 4, "silence_s": 2, "total_s": 25}
HANGS_S = LIMITS["total_s"] + 5
GROWS_MIB = 16
REVOKED, ROUNDS = 50, 5 if full_run() else 2
CUT_WITHIN_S = 0.25


@pytest.fixture(scope="class")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    environment = {"OMNIPOST_ALLOWED_PRIVATE_HOSTS": "127.0.0.1"}
    home: Path = tmp_path_factory.mktemp("streams") / "home"
    running = await asyncio.to_thread(Stack.start, home, environment=environment)
    yield running
    await asyncio.to_thread(running.stop)


@pytest.fixture(scope="class")
async def world(stack: Stack) -> AsyncIterator[World]:
    async with connected(stack) as made:
        yield made


@pytest.fixture(scope="class")
def client(stack: Stack) -> Client:
    return Client(stack.base_url, stack.admin_token, HANGS_S)


@pytest.fixture(scope="class")
def seed() -> int:
    return random.randrange(10**6)  # noqa: S311 - no secret


@pytest.fixture(scope="class")
def port(seed: int) -> Iterator[int]:
    command = [sys.executable, "-m", "tests.faults.streams_provider", str(seed)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield int(process.stdout.readline())
        process.terminate()


@pytest.fixture(scope="class")
async def providers(world: World, port: int) -> dict[str, str]:
    """Providers by their place in the plans."""
    made = {ANTHROPIC: "anthropic", GOOGLE: "google"}
    for provider in made.values():
        ok(await world.admin.put(f"/ai-providers/{provider}", base_url=f"http://127.0.0.1:{port}"))
    for name in (OPENAI, OTHER):
        made[name] = f"t-{uuid4().hex[:12]}"
        model = {"id": "m", "input_usd_per_mtok": 1, "output_usd_per_mtok": 2}
        body = {"id": made[name], "kind": "openai-compatible", "base_url": f"http://127.0.0.1:{port}/v1"}
        ok(await world.admin.post("/ai-providers", **body, models=[model]), 201)
    return made


async def _alias(world: World, workspace: int, providers: dict[str, str], chain: tuple[str, ...], policy: str) -> str:
    first, *rest = chain
    fallbacks = [
        {"provider": providers[name], "model": MODELS[name], "priority": place} for place, name in enumerate(rest, 1)
    ]
    how = {"primary_model": MODELS[first], "fallback_chain": fallbacks, "on_stream_cut": policy, "time_limits": LIMITS}
    return await world.alias(workspace, providers[first], **how)


async def _bodies(world: World, providers: dict[str, str]) -> dict[tuple[object, ...], dict[str, Any]]:
    """What to ask with, by workspace, chain and policy."""
    bodies: dict[tuple[object, ...], dict[str, Any]] = {}
    for place in range(WORKSPACES):
        workspace = await world.workspace()
        for provider in providers.values():
            await world.key(workspace, provider)
        for chain in CHAINS:
            for policy in sorted(set(POLICIES)):
                alias = await _alias(world, workspace, providers, chain, policy)
                bodies[place, chain, policy] = {"workspace_id": workspace, "alias_name": alias}
    return bodies


async def _journal(world: World, port: int, subjects: str) -> list[Note]:
    answer = await world.http.get(f"http://127.0.0.1:{port}/journal?{subjects}")
    return [Note(**note) for note in answer.json()]


async def _quiet(stack: Stack, within_s: float) -> None:
    """Nothing is reserved any more: every attempt is accounted for."""

    async def look() -> bool | None:
        [(held,)] = await stack.query("SELECT count(*) FROM metering.reservations WHERE state = 'held'")
        return held == 0 or None

    await eventually(look, within_s=within_s)


async def _rows(stack: Stack) -> dict[str, list[Row]]:
    """The call log by trace."""
    columns = "trace_id, attempt_id::text, outcome, billing, provider_request_id, output_tokens"
    found: dict[str, list[Row]] = {}
    for trace_id, *row in await stack.query(f"SELECT {columns} FROM metering.ai_call_logs"):
        found.setdefault(trace_id, []).append(Row(*row))
    return found


def _resident_mib(stack: Stack) -> dict[str, float]:
    lines = {part: Path(f"/proc/{stack.pid(part)}/status").read_text().splitlines() for part in ("router", "api")}
    resident = {part: next(line for line in lines[part] if line.startswith("VmRSS")) for part in lines}
    return {part: int(line.split()[1]) / 1024 for part, line in resident.items()}


class TestProvidersStreams:
    async def test_streams_cut_after_any_byte(
        self, stack: Stack, world: World, client: Client, providers: dict[str, str], port: int, seed: int
    ) -> None:
        print(f"\nseed={seed}")
        bodies, began = await _bodies(world, providers), monotonic()
        numbers, calls, resident = iter(range(1, STREAMS + 1)), list[Call](), dict[str, float]()

        async def work() -> None:
            for number in numbers:
                plan = plan_of(seed, number)
                asking = bodies[plan.workspace, plan.chain, plan.policy] | {"prompt": f"call-{number}"}
                calls.append(Call(plan, await client.call(plan, asking, f"{number:032x}")))
                if number == WARM_UP:
                    resident.update(_resident_mib(stack))

        await asyncio.gather(*(work() for _ in range(AT_ONCE)))
        took = monotonic() - began
        await _quiet(stack, within_s=60)
        after = _resident_mib(stack)
        notes, rows = await _journal(world, port, "call-"), await _rows(stack)
        for call in calls:
            call.notes = [note for note in notes if note.subject == f"call-{call.plan.number}"]
            call.rows = rows.get(f"{call.plan.number:032x}", [])
        print(summary(calls), f"took_s={took:.0f}")
        print(*(f"{part}_mib={resident[part]:.0f}→{after[part]:.0f}" for part in after))
        (expired,) = await stack.query("SELECT count(*) FROM metering.reservations WHERE state = 'expired'")
        faults = faults_of(calls)
        assert not faults, f"{len(faults)} faults\n" + "\n".join(faults[:20])
        assert expired == (0,)
        assert sum(len(call.rows) for call in calls) == sum(map(len, rows.values()))
        assert sum(map(unseen, calls)) <= STREAMS // 100
        assert sum(call.was_cut != "neither" for call in calls) >= CUT_AT_LEAST
        assert len([after for call in calls for after in closings(call)]) > STREAMS // 10
        assert all(after[part] < resident[part] + GROWS_MIB for part in after)

    async def test_streams_of_a_revoked_key_are_cut(
        self, stack: Stack, world: World, client: Client, providers: dict[str, str], port: int
    ) -> None:
        closed, told = [], []
        for number in range(ROUNDS):
            workspace, subject = await world.workspace(), f"endless-{number}-"
            key = await world.key(workspace, providers[OPENAI], api_key=f"sk-{uuid4().hex}")
            alias = await _alias(world, workspace, providers, (OPENAI,), "continue")
            asking = {"workspace_id": workspace, "alias_name": alias, "prompt": subject}
            streams = [asyncio.create_task(_endless(client, asking)) for _ in range(REVOKED)]
            await eventually(partial(_under_way, world, port, subject), within_s=30)
            sent = monotonic()
            assert (await world.admin.delete(f"/ai-keys/{key['id']}")).status_code == 204
            ends = await asyncio.gather(*streams)
            assert {end.last[0] for end, _ in ends} == {"error"}
            told += [1000 * (at - sent) for _, at in ends]
            closed += [1000 * ((note.closed or inf) - sent) for note in await _journal(world, port, subject)]
        await _quiet(stack, within_s=30)
        cut = await stack.query("SELECT count(*) FROM metering.ai_call_logs WHERE outcome = 'key_revoked'")
        print(f"\nrevoked while streaming: streams={len(closed)}", _spread("closed", closed), _spread("told", told))
        assert len(closed) == REVOKED * ROUNDS
        assert cut == [(REVOKED * ROUNDS,)]
        assert max(closed) <= 1000 * CUT_WITHIN_S


async def _endless(client: Client, asking: dict[str, Any]) -> tuple[Call, float]:
    plan = replace(plan_of(0, 0), leave_at=None, leave_after_s=None)
    heard = await client.call(plan, asking, uuid4().hex)
    return Call(plan, heard), monotonic()


async def _under_way(world: World, port: int, subject: str) -> bool | None:
    return len(await _journal(world, port, subject)) == REVOKED or None


def _spread(name: str, milliseconds: list[float]) -> str:
    return f"{name}_p50_ms={statistics.median(milliseconds):.0f} {name}_max_ms={max(milliseconds):.0f}"
