"""Platform credits on a whole stack: keys from the environment, a provider on loopback, grants, switches, aliases.

Own keys and credits never pay for each other, and nobody sees the platform's keys.
"""

import csv
import io
import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from shared.testing.stack import PARTS, Stack
from shared.testing.upstream import Upstream
from tests.e2e.canaries import Search, draw
from tests.e2e.isolation import WORKSPACE_ROLES
from tests.e2e.world import CHAT, KEY, Caller, World, accept_keys, chat_answer, connected, eventually, ok, problem

CANARIES = dict(zip(("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GOOGLE_AI_API_KEY"), draw(3, seed=11), strict=True))
SECRET = CANARIES["OPENAI_API_KEY"]
MODEL = "gpt-4o-mini"


@pytest.fixture(scope="module")
def platform_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    home = tmp_path_factory.mktemp("credits") / "home"
    running = Stack.start(home, environment={"OMNIPOST_ALLOWED_PRIVATE_HOSTS": "127.0.0.1", **CANARIES})
    yield running
    running.stop()


@dataclass
class Platform:
    """The stack, its provider ``openai`` moved to ``upstream``, and all that was answered."""

    stack: Stack
    world: World
    upstream: Upstream

    @property
    def bearers(self) -> list[str]:
        """Whose keys the provider has seen, call by call."""
        asked = (one for one in self.upstream.requests if one.path == CHAT)
        return ["platform" if one.headers["authorization"] == f"Bearer {SECRET}" else "own" for one in asked]

    async def alias(self, workspace: int, funds: str) -> str:
        body = {"workspace_id": workspace, "alias_name": f"on-{funds.replace('_', '-')}", "primary_provider": "openai"}
        made = ok(await self.world.admin.post("/ai-aliases", **body, primary_model=MODEL, funds=funds), 201)
        assert made["funds"] == funds
        name: str = made["alias_name"]
        return name

    async def grant(self, workspace: int, **limits: Any) -> None:
        body = {"workspace_id": workspace, "funds": "platform", **limits}
        ok(await self.world.admin.put("/ai-budgets/workspace", **body))

    async def allow(self, owner: Caller, workspace: int, credits_: str = "allowed") -> dict[str, Any]:
        return ok(await owner.put(f"/ai-workspaces/{workspace}/credits", credits=credits_))

    async def spent(self, workspace: int) -> dict[str, float]:
        """By funds, what the workspace has spent and holds."""
        budgets = ok(await self.world.admin.get("/ai-budgets", workspace_id=workspace))["items"]
        whole = [one for one in budgets if one["scope"] == "workspace" and one["period"] == "month"]
        return {one["funds"]: float(one["spent_usd"]) + float(one["held_usd"]) for one in whole}


@pytest.fixture(scope="module")
async def platform(platform_stack: Stack) -> AsyncIterator[Platform]:
    async with connected(platform_stack) as world, Upstream() as upstream:
        accept_keys(upstream)
        upstream.always("POST", CHAT, chat_answer(input_tokens=2, output_tokens=500))
        ok(await world.admin.put("/ai-providers/openai", base_url=f"{upstream.base_url}/v1"))
        made = Platform(platform_stack, world, upstream)
        query = "SELECT host FROM vault.ai_provider_keys WHERE workspace_id = 0 AND provider = 'openai'"

        async def has_followed() -> bool | None:
            return (await platform_stack.query(query) == [(f"http://{upstream.host}",)]) or None

        await eventually(has_followed, within_s=20)
        yield made


async def test_credits_pay_once_they_are_granted_and_allowed(platform: Platform) -> None:
    world, workspace = platform.world, await platform.world.workspace()
    owner, name = await world.member(workspace), await platform.alias(workspace, "platform")

    async def refused() -> str:
        told = problem(await world.invoke(workspace, name), 402, "budget_exceeded")
        assert [one["funds"] for one in told["attempts"]] == ["platform"]
        reason: str = told["reason"]
        return reason

    asked = len(platform.bearers)
    assert await refused() == "no_credits"
    assert await platform.allow(owner, workspace) == {"workspace_id": workspace, "credits": "allowed", "granted": False}
    assert await refused() == "no_credits"
    await platform.grant(workspace, monthly_budget_usd=1)
    await platform.allow(owner, workspace, "off")
    assert await refused() == "credits_off"
    assert (await _explained(world, workspace, name))["skipped"] == {
        "reason": "budget_exceeded", "detail": "credits_off",
    }  # fmt: skip
    assert len(platform.bearers) == asked, "nobody was called"
    assert (await platform.allow(owner, workspace))["granted"] is True
    answer = ok(await world.invoke(workspace, name))
    assert (answer["funds"], answer["attempts"][0]["funds"], answer["warnings"]) == ("platform", "platform", [])
    assert platform.bearers[asked:] == ["platform"]
    [row] = await world.calls(workspace, 1)
    assert (row["funds"], row["cost_usd"]) == ("platform", answer["cost_usd"])
    await _settled(platform, workspace)
    assert await platform.spent(workspace) == {"platform": float(answer["cost_usd"])}, "credits, and nothing else"
    exported = await world.admin.get("/ai-usage/export", workspace_id=workspace, format="focus")
    [billed] = csv.DictReader(io.StringIO(exported.text))
    assert (json.loads(billed["Tags"])["funds"], billed["InvoiceIssuerName"]) == ("platform", "OmniPost")
    actions = ok(await owner.get("/ai-ledger-actions"))["items"]
    assert [one["facts"]["credits"] for one in actions if one["action"] == "credits.set"] == [
        "allowed",
        "off",
        "allowed",
    ]


async def test_own_and_platform_keys_never_stand_in_unasked(platform: Platform) -> None:
    world, workspace = platform.world, await platform.world.workspace()
    owner = await world.member(workspace)
    await platform.grant(workspace, monthly_budget_usd=1)
    await platform.allow(owner, workspace)
    own, both = await platform.alias(workspace, "own"), await platform.alias(workspace, "own_then_platform")
    asked = len(platform.bearers)
    told = problem(await world.invoke(workspace, own), 402, "missing_key")
    assert [one["funds"] for one in told["attempts"]] == ["own"], "credits do not help an alias with own keys"
    assert len(platform.bearers) == asked
    first = ok(await world.invoke(workspace, both))
    assert (first["funds"], first["fallback"]) == ("platform", {"used": True, "reason": "missing_key"})
    assert [one["code"] for one in first["warnings"]] == ["missing_key", "platform_credits_used"]
    key = await world.key(workspace, "openai", monthly_budget_usd=1)
    second = ok(await world.invoke(workspace, both))
    assert (second["funds"], second["fallback"]["used"], second["warnings"]) == ("own", False, [])
    plan = await _explained(world, workspace, both, every=True)
    assert [(one["funds"], one["would_be_tried"]) for one in plan] == [("own", True), ("platform", False)], plan
    assert plan[1]["skipped"]["detail"] == "own_keys_first"
    ok(await owner.put(f"/ai-keys/{key['id']}", monthly_budget_usd=0))
    plan = await _explained(world, workspace, both, every=True)
    assert [(one["funds"], one["would_be_tried"]) for one in plan] == [("own", False), ("platform", True)]
    third = ok(await world.invoke(workspace, both))
    assert (third["funds"], third["fallback"]["reason"]) == ("platform", "budget_exceeded")
    assert platform.bearers[asked:] == ["platform", "own", "platform"]
    rows = await world.calls(workspace, 3)
    assert [row["funds"] for row in rows] == ["platform", "own", "platform"]
    await _settled(platform, workspace)
    costs = {
        funds: sum(float(row["cost_usd"]) for row in rows if row["funds"] == funds) for funds in ("own", "platform")
    }
    assert await platform.spent(workspace) == pytest.approx(costs)


async def test_exhausted_credits_are_named(platform: Platform) -> None:
    world, workspace = platform.world, await platform.world.workspace()
    await platform.grant(workspace, monthly_budget_usd=0.000001)
    await platform.allow(await world.member(workspace), workspace)
    await world.key(workspace, "openai")
    told = problem(await world.invoke(workspace, await platform.alias(workspace, "platform")), 402, "budget_exceeded")
    assert (told["budget"]["funds"], told["budget"]["scope"], told["funds"]) == ("platform", "workspace", "platform")


async def test_only_an_admin_of_the_workspace_switches_and_only_the_platform_grants(platform: Platform) -> None:
    world, workspace = platform.world, await platform.world.workspace()
    for role in WORKSPACE_ROLES:
        caller = await world.member(workspace, role.value)
        may = role.value in ("owner", "admin")
        answer = await caller.put(f"/ai-workspaces/{workspace}/credits", credits="allowed")
        assert answer.status_code == (200 if may else 403), role
        grant = await caller.put("/ai-budgets/workspace", funds="platform", monthly_budget_usd=5)
        assert grant.status_code == 403, role
    here = f"/ai-workspaces/{workspace}/credits"
    assert (await world.admin.put(here, credits="sometimes")).status_code == 422
    assert (await world.admin.put(here, credits="off", workspace_id=workspace + 1)).status_code == 422
    assert (await world.admin.get("/ai-workspaces/0/credits")).status_code == 422


async def test_nobody_sees_the_platforms_keys(platform: Platform) -> None:
    world, workspace = platform.world, await platform.world.workspace()
    rows = await platform.stack.query("SELECT id::text, provider FROM vault.ai_provider_keys WHERE workspace_id = 0")
    assert sorted(provider for _, provider in rows) == ["anthropic", "google", "openai"]
    callers = [world.admin, *[await world.member(workspace, role.value) for role in WORKSPACE_ROLES]]
    asked = shown = 0
    for caller in callers:
        listed = (await caller.get("/ai-keys", workspace_id=workspace)).text
        for key_id, _ in rows:
            path, body = f"/ai-keys/{key_id}", {"label": "x"}
            answers = [
                await caller.get(path), await caller.put(path, **body), await caller.post(f"{path}/verify"),
                await caller.delete(path),
            ]  # fmt: skip
            assert {answer.status_code for answer in answers} <= {403, 404}
            asked += len(answers)
            shown += key_id in listed
        for where in ("/ai-keys", "/ai-budgets", "/ai-usage"):
            assert (await caller.get(where, workspace_id=0)).status_code in (403, 422)
    print(f"the platform's {len(rows)} keys: {asked} requests by 5 roles refused, listed {shown} times")
    assert shown == 0
    [living] = await platform.stack.query("SELECT count(*) FROM vault.ai_provider_keys WHERE status <> 'revoked'"
                                          " AND workspace_id = 0")  # fmt: skip
    assert living == (3,)


async def test_platform_keys_are_in_no_other_process_file_or_answer(platform: Platform) -> None:
    world, workspace = platform.world, await platform.world.workspace()
    await platform.grant(workspace, monthly_budget_usd=1)
    await platform.allow(world.admin, workspace)
    answers = [(await world.invoke(workspace, await platform.alias(workspace, "platform"))).content]
    answers += [(await world.admin.get("/ai-audit", workspace_id=who)).content for who in (0, workspace)]
    answers += [(await world.admin.get("/ai-usage/calls", workspace_id=workspace)).content]
    search = Search(CANARIES.values())
    found = [one for answer in answers for one in search.look("an answer", answer)]
    found += search.look_below(platform.stack.home)
    holding = [part for part in PARTS if search.look(part, _environment(platform.stack, part))]
    print(f"3 platform keys in {search.files} files, {search.bytes} bytes: found={len(found)}; given to {holding}")
    assert not found[:20]
    assert holding == ["vault"]
    assert KEY not in CANARIES.values()
    assert "platform" in platform.bearers, "it has reached the provider"


def _environment(stack: Stack, part: str) -> bytes:
    return Path(f"/proc/{stack.pid(part)}/environ").read_bytes()


async def _explained(world: World, workspace: int, name: str, *, every: bool = False) -> Any:
    aliases = ok(await world.admin.get("/ai-aliases", workspace_id=workspace))["items"]
    alias_id = next(alias["id"] for alias in aliases if alias["alias_name"] == name)
    targets = ok(await world.admin.post(f"/ai-aliases/{alias_id}/explain", prompt="Hello!"))["targets"]
    return targets if every else targets[0]


async def _settled(platform: Platform, workspace: int) -> None:
    held = "SELECT 1 FROM metering.reservations WHERE workspace_id = %s AND state = 'held'"

    async def none_is() -> bool | None:
        return None if await platform.stack.query(held, workspace) else True

    await eventually(none_is)
