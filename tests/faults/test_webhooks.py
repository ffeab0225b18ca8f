"""Two edges share the sending of webhooks: nothing twice while all is well, nothing lost while they are killed."""

import asyncio
import random
import signal
import subprocess
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from shared.testing.stack import full_run
from shared.testing.upstream import Upstream, json_answer
from tests.integration.servers import end, free_port
from tests.integration.webhook_world import World, budget_alert, edge, serving, verified, webhook_world

pytestmark = [pytest.mark.faults, pytest.mark.timeout(600)]
HOOKS, ALERTS = 5, 60
KILLS = 40 if full_run() else 10
POINTS = ("api.alerts.enqueued", "api.webhook.claimed", "api.webhook.sent")


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with webhook_world(tmp_path) as made:
        yield made


@pytest.fixture
async def receiver() -> AsyncIterator[Upstream]:
    async with Upstream() as serving_:
        serving_.always("POST", "*", json_answer({}))
        yield serving_


class Second:
    """Another edge, which is killed and started again."""

    def __init__(self, world: World, **more: str) -> None:
        self._world, self._more, self._stack = world, more, ExitStack()
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.process = self._stack.enter_context(edge(self._world, free_port(), **self._more))

    def kill(self) -> None:
        assert self.process is not None
        end(self.process, signal.SIGKILL)

    def close(self) -> None:
        self._stack.close()


async def _hooks(world: World, receiver: Upstream) -> tuple[int, list[dict[str, Any]]]:
    workspace = await world.workspace()
    return workspace, [await world.webhook(workspace, f"{receiver.base_url}/{number}") for number in range(HOOKS)]


async def _arrived(world: World, receiver: Upstream, hooks: list[dict[str, Any]], alerts: list[str]) -> int:
    """How many came more than once; that none is missing or wrong is asserted here."""
    for hook in hooks:
        await world.ended(hook, len(alerts))
    counted = Counter((request.path, request.headers["webhook-id"]) for request in receiver.requests)
    secrets = {f"/{number}": hook["secret"] for number, hook in enumerate(hooks)}
    for request in receiver.requests:
        assert verified(request, secrets[request.path])["data"]["alert_id"] == request.headers["webhook-id"]
    missing = {(path, alert) for path in secrets for alert in alerts} - counted.keys()
    assert not missing
    return sum(counted.values()) - len(counted)


async def test_two_edges_send_everything_once(world: World, receiver: Upstream) -> None:
    second = Second(world)
    await asyncio.to_thread(second.start)
    await serving(world, 2)
    workspace, hooks = await _hooks(world, receiver)
    alerts = [budget_alert(workspace) for _ in range(ALERTS)]
    for alert in alerts:
        await world.metering.record(alert)
    doubled = await _arrived(world, receiver, hooks, [alert.alert_id for alert in alerts])
    second.close()
    print(f"webhooks: edges=2 webhooks={HOOKS} events={ALERTS} missing=0 doubled={doubled}")
    assert doubled == 0


async def test_edges_are_killed_at_random(world: World, receiver: Upstream) -> None:
    second, told = Second(world), list[str]()
    workspace, hooks = await _hooks(world, receiver)
    rng = random.Random(7)  # noqa: S311 - which moment to die at
    for kill in range(KILLS):
        await asyncio.to_thread(second.start)
        await serving(world, kill + 2)
        for _ in range(6):
            alert = budget_alert(workspace)
            await world.metering.record(alert)
            told.append(alert.alert_id)
        await receiver.arrival(len(receiver.requests) + rng.randrange(1, 6))
        await asyncio.to_thread(second.kill)
    doubled = await _arrived(world, receiver, hooks, told)
    second.close()
    print(f"webhooks: kills={KILLS} webhooks={HOOKS} events={len(told)} missing=0 doubled={doubled}")
    assert doubled <= KILLS * HOOKS, "at most what was under way when it died"


@pytest.mark.parametrize("point", POINTS)
async def test_an_edge_dies_exactly_there(world: World, receiver: Upstream, tmp_path: Path, point: str) -> None:
    points = tmp_path / "points"
    points.mkdir()
    workspace, hooks = await _hooks(world, receiver)
    second, told, deaths = Second(world, OMNIPOST_FAILPOINTS_DIR=str(points)), list[str](), 0
    for round_ in range(3):
        (points / point).write_text("1")
        await asyncio.to_thread(second.start)
        await serving(world, round_ + 2)
        # Either edge may take it: only one of them can die of it.
        while (points / point).exists():
            alert = budget_alert(workspace)
            await world.metering.record(alert)
            told.append(alert.alert_id)
            await receiver.arrival(len(receiver.requests) + 1)
        assert second.process is not None
        assert await asyncio.to_thread(second.process.wait, 20) == -signal.SIGKILL
        deaths += 1
    doubled = await _arrived(world, receiver, hooks, told)
    second.close()
    print(f"webhooks: died at {point} {deaths} times, events={len(told)} missing=0 doubled={doubled}")
    assert doubled <= deaths * HOOKS
