"""Kill -9 under load: every call the provider saw has its row, no row is doubled, and the books balance."""

import asyncio
import random
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx2
import pytest

from shared.testing.stack import PARTS, Stack, full_run
from shared.testing.upstream import Upstream
from tests.e2e.test_streaming import events_of, streamed
from tests.e2e.world import CHAT, World, accept_keys, chat_answer, connected, eventually

pytestmark = [pytest.mark.faults, pytest.mark.timeout(600)]
CLIENTS = 8


class TestLedger:
    @pytest.mark.parametrize("streams", [False, True], ids=["whole", "streams"])
    async def test_kill_9_of_every_part_under_load_loses_and_doubles_nothing(
        self, tmp_path: Path, *, streams: bool
    ) -> None:
        rounds = 4 if full_run() else 1
        environment = {"OMNIPOST_ALLOWED_PRIVATE_HOSTS": "127.0.0.1"}
        stack = await asyncio.to_thread(Stack.start, tmp_path / "home", environment=environment)
        try:
            async with connected(stack) as world, Upstream() as upstream:
                await _under_fire(stack, world, upstream, rounds, streams=streams)
        finally:
            await asyncio.to_thread(stack.stop)


async def _under_fire(stack: Stack, world: World, upstream: Upstream, rounds: int, *, streams: bool) -> None:
    accept_keys(upstream)
    upstream.always("POST", CHAT, streamed("One ", "two.", delay_s=0.02) if streams else chat_answer(delay_s=0.02))
    workspace = await world.workspace()
    provider = await world.provider(upstream)
    await world.key(workspace, provider, monthly_budget_usd=1)
    # What a killed router leaves behind is charged when the longest time its attempt may take is over.
    alias = await world.alias(workspace, provider, time_limits={"total_s": 3})
    answered: list[str] = []
    killing = asyncio.create_task(_kill_all(stack, rounds))
    body = {"workspace_id": workspace, "alias_name": alias, "prompt": "x", "options": {"max_tokens": 5}}
    body["stream"] = streams
    await asyncio.gather(*(_caller(world, body, killing, answered) for _ in range(CLIENTS)))
    await killing

    async def settled() -> dict[str, Any] | None:
        budgets = (await world.usage(workspace))["budgets"]
        mine: dict[str, Any] = next(budget for budget in budgets if budget["key_id"])
        return mine if mine["held_requests"] == 0 else None

    budget = await eventually(settled, within_s=90)
    rows = await stack.query(
        "SELECT attempt_id::text, call_id::text, outcome, charged_usd_micros FROM metering.ai_call_logs"
        " WHERE workspace_id = %s",
        workspace,
    )
    seen = len([request for request in upstream.requests if request.path == CHAT])
    outcomes = [row[2] for row in rows]
    good = {row[1] for row in rows if row[2] == "success"}
    doubled = len(rows) - len({row[0] for row in rows})
    print(f"kills={rounds * len(PARTS)} answered={len(answered)} provider_saw={seen} rows={len(rows)}", end=" ")
    print(f"unknown={outcomes.count('unknown')} missing={len(set(answered) - good)} doubled={doubled}")
    assert len(answered) > 20 * rounds
    assert not set(answered) - good, "an answered call has no row"
    assert not doubled, "an attempt has two rows"
    assert len(rows) >= seen, "the provider saw a call that has no row"
    assert outcomes.count("success") <= seen
    charged = sum(row[3] for row in rows)
    assert Decimal(budget["spent_usd"]) * 1_000_000 == charged, "spent is the sum of the rows"


async def _caller(world: World, body: dict[str, Any], killing: "asyncio.Task[None]", answered: list[str]) -> None:
    while not killing.done():
        try:
            answer = await world.admin.post("/ai-invoke", **body)
        except httpx2.HTTPError:
            await asyncio.sleep(0.05)
            continue
        if answer.status_code == 200:
            answered += _call_ids(answer, streams=body["stream"])
        else:
            assert answer.status_code in (502, 503, 504), answer.text


def _call_ids(answer: httpx2.Response, *, streams: bool) -> list[str]:
    """The call's id when it was answered to the end."""
    if not streams:
        return [answer.json()["call_id"]]
    return [data["call_id"] for name, data in events_of(answer) if name == "done"]


async def _kill_all(stack: Stack, rounds: int) -> None:
    for _ in range(rounds):
        for part in random.sample(PARTS, len(PARTS)):
            await asyncio.sleep(random.uniform(0.3, 0.8))  # noqa: S311 - when to kill
            await asyncio.to_thread(stack.kill, part)
            await eventually(lambda: _ready(stack), within_s=20)
    await asyncio.sleep(0.5)


async def _ready(stack: Stack) -> bool | None:
    return await asyncio.to_thread(stack.is_ready) or None
