"""The books in people's hands, over HTTP and from the command line."""

import asyncio
import os
import subprocess
import sys
from typing import Any

from shared.testing.stack import ROOT, Stack
from shared.testing.upstream import Upstream, json_answer
from tests.e2e.world import CHAT, World, accept_keys, ok, problem

UNKNOWN_USAGE = json_answer({"choices": [{"message": {"content": "x"}, "finish_reason": "stop"}]})


async def _unknown(world: World, upstream: Upstream) -> tuple[int, dict[str, Any]]:
    """A workspace with one attempt nobody knows the cost of."""
    accept_keys(upstream)
    upstream.always("POST", CHAT, UNKNOWN_USAGE)
    workspace = await world.workspace()
    provider = await world.provider(upstream)
    await world.key(workspace, provider, monthly_budget_usd=5)
    ok(await world.invoke(workspace, await world.alias(workspace, provider)))
    await world.calls(workspace, 1)
    [attempt] = ok(await world.admin.get("/ai-usage/unknown", workspace_id=workspace))["items"]
    return workspace, attempt


async def test_an_unknown_outcome_is_reconciled_by_an_admin_of_its_workspace(world: World) -> None:
    async with Upstream() as upstream:
        workspace, attempt = await _unknown(world, upstream)
        assert attempt["cost_usd"] is None
        assert attempt["charged_usd"] == attempt["reserved_usd"]
        path = f"/ai-usage/unknown/{attempt['attempt_id']}/reconcile"
        figures = {"cost_usd": "0.000012", "input_tokens": 4, "output_tokens": 4, "note": "invoice 7"}
        problem(await (await world.member(workspace, "member")).post(path, **figures), 403, "forbidden")
        admin = await world.member(workspace, "admin")
        for _ in range(2):
            row = ok(await admin.post(path, **figures))
            assert (row["cost_usd"], row["charged_usd"]) == ("0.000012", "0.000012")
        problem(await admin.post(path, **{**figures, "cost_usd": "0.000013"}), 409, "conflict")
        problem(await admin.post(path, **{**figures, "cost_usd": "0.0000001"}), 422, "invalid_request")
        assert ok(await admin.get("/ai-usage/unknown"))["items"] == []
        budgets = (await world.usage(workspace))["budgets"]
        assert {budget["spent_usd"] for budget in budgets} == {"0.000012"}
        [action] = ok(await admin.get("/ai-ledger-actions"))["items"]
        assert (action["action"], action["actor"]["role"], action["facts"]["note"]) == (
            "attempt.reconciled", "admin", "invoice 7",
        )  # fmt: skip


async def test_letters_are_replayed_from_the_command_line(world: World, stack: Stack) -> None:
    canary = "sk-canary-in-a-letter"
    [[letter]] = await stack.query(
        "INSERT INTO metering.dead_letters (received_at, subject, reason, body, fingerprint, delivered)"
        " VALUES (now(), 's', 'r', %s, %s, 1) RETURNING id",
        canary.encode(),
        canary.encode(),
    )
    refused = await asyncio.to_thread(_replay, stack, str(letter))
    print(refused.stdout.strip())
    assert refused.returncode == 1, refused.stderr
    assert "letters: 0 resolved, 1 refused" in refused.stdout
    listed = await world.admin.get("/ai-dead-letters")
    assert canary not in listed.text + refused.stdout + refused.stderr
    assert letter in [item["id"] for item in ok(listed)["items"]]
    ok(await world.admin.post(f"/ai-dead-letters/{letter}/dismiss"))
    problem(await world.admin.post(f"/ai-dead-letters/{letter}/replay"), 409, "conflict")
    problem(await world.admin.post("/ai-dead-letters/999999999/replay"), 404, "not_found")
    actions = ok(await world.admin.get("/ai-ledger-actions", workspace_id=0))["items"]
    assert [action["action"] for action in actions[:2]] == ["letter.dismissed", "letter.replayed"]


async def test_retention_is_set_by_an_owner(world: World) -> None:
    workspace = await world.workspace()
    path = f"/ai-workspaces/{workspace}/retention"
    owner, admin = await world.member(workspace), await world.member(workspace, "admin")
    assert ok(await admin.get(path))["call_log_days"] is None
    problem(await admin.put(path, call_log_days=90), 403, "forbidden")
    problem(await owner.put(path, call_log_days=0), 422, "invalid_request")
    assert ok(await owner.put(path, call_log_days=90))["call_log_days"] == 90
    assert ok(await owner.get(path))["call_log_days"] == 90
    assert ok(await owner.put(path, call_log_days=None))["call_log_days"] is None


def _replay(stack: Stack, *arguments: str) -> "subprocess.CompletedProcess[str]":
    environment = {"PATH": os.defpath, "OMNIPOST_HOME": str(stack.home), "OMNIPOST_PORT": str(stack.port)}
    command = [sys.executable, "-m", "deploy.local.replay_letters", *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False)
