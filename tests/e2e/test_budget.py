"""A cap is used to the last micro-dollar and never passed, however many call at once."""

import asyncio

from shared.testing.upstream import Upstream
from tests.e2e.world import CHAT, World, accept_keys, chat_answer, eventually, ok, problem

CALLS, PAID, TOKENS = 200, 100, 50


async def test_200_concurrent_calls_on_a_cap_for_100(world: World) -> None:
    workspace = await world.workspace()
    async with Upstream() as upstream:
        accept_keys(upstream)
        upstream.always("POST", CHAT, chat_answer(input_tokens=10, output_tokens=TOKENS, delay_s=0.05))
        # Priced on output only and answered with exactly max_tokens, so that bound and cost are equal.
        provider = await world.provider(upstream, input_usd_per_mtok=0, output_usd_per_mtok=10)
        key = await world.key(workspace, provider, monthly_budget_usd=PAID * TOKENS * 10 / 1_000_000)
        alias = await world.alias(workspace, provider)

        answers = await asyncio.gather(
            *(world.invoke(workspace, alias, options={"max_tokens": TOKENS}) for _ in range(CALLS))
        )

        served = [answer for answer in answers if answer.status_code == 200]
        refused = [answer for answer in answers if answer.status_code != 200]
        for answer in refused:
            problem(answer, 402, "budget_exceeded")
        assert len(upstream.requests) - 1 == len(served)  # one more was the verification
        rows = await world.calls(workspace, PAID)

        async def settled() -> dict[str, str] | None:
            budgets = (await world.usage(workspace))["budgets"]
            mine: dict[str, str] = next(budget for budget in budgets if budget["key_id"] == key["id"])
            return mine if mine["held_usd"] == "0.000000" else None

        budget = await eventually(settled)
        counts = f"served={len(served)} refused={len(refused)} rows={len(rows)}"
        print(counts, f"spent={budget['spent_usd']} of {budget['cap_usd']}")
        assert (len(served), len(refused), len(rows)) == (PAID, CALLS - PAID, PAID)
        assert budget["spent_usd"] == budget["cap_usd"] == "0.050000"


async def test_caps_in_requests_and_tokens_stop_calls_too(world: World) -> None:
    workspace = await world.workspace()
    async with Upstream() as upstream:
        accept_keys(upstream)
        upstream.always("POST", CHAT, chat_answer(input_tokens=5, output_tokens=5))
        provider = await world.provider(upstream)
        key = await world.key(workspace, provider, monthly_budget_requests=1)
        alias = await world.alias(workspace, provider)
        ok(await world.invoke(workspace, alias))
        problem(await world.invoke(workspace, alias), 402, "budget_exceeded")
        raised = ok(await world.admin.put(f"/ai-keys/{key['id']}", monthly_budget_requests=10))
        assert raised["budget"]["spent_requests"] == 1
        assert ok(await world.invoke(workspace, alias))["warnings"] == []
        ok(await world.admin.put(f"/ai-keys/{key['id']}", monthly_budget_tokens=30))
        problem(await world.invoke(workspace, alias), 402, "budget_exceeded")


async def test_a_warning_comes_at_80_percent(world: World) -> None:
    workspace = await world.workspace()
    async with Upstream() as upstream:
        accept_keys(upstream)
        upstream.always("POST", CHAT, chat_answer())
        provider = await world.provider(upstream)
        await world.key(workspace, provider, monthly_budget_requests=5)
        alias = await world.alias(workspace, provider)
        warnings = [ok(await world.invoke(workspace, alias))["warnings"] for _ in range(5)]
        assert [bool(found) for found in warnings] == [False, False, False, True, True]
        used = "This key has used 80 % of its monthly request budget; calls stop at 100 %."
        assert warnings[3] == [{"code": "budget_warning", "detail": used}]


async def test_a_model_without_a_price_cannot_run_under_a_dollar_budget(world: World) -> None:
    workspace = await world.workspace()
    async with Upstream() as upstream:
        accept_keys(upstream)
        upstream.always("POST", CHAT, chat_answer())
        provider = await world.provider(upstream, input_usd_per_mtok=None, output_usd_per_mtok=None)
        key = await world.key(workspace, provider, monthly_budget_usd=5)
        alias = await world.alias(workspace, provider)
        refused = problem(await world.invoke(workspace, alias), 402, "budget_exceeded")
        assert refused["reason"] == "model_without_price"
        ok(await world.admin.put(f"/ai-keys/{key['id']}", monthly_budget_usd=None))
        answer = ok(await world.invoke(workspace, alias))
        assert answer["cost_usd"] is None
        [row] = await world.calls(workspace, 1)
        assert row["cost_usd"] is None


async def test_a_day_a_workspace_and_credits_have_limits_of_their_own(world: World) -> None:
    workspace = await world.workspace()
    owner, viewer = await world.member(workspace), await world.member(workspace, "viewer")
    async with Upstream() as upstream:
        accept_keys(upstream)
        upstream.always("POST", CHAT, chat_answer())
        provider = await world.provider(upstream)
        key = await world.key(workspace, provider, monthly_budget_requests=100, daily_budget_requests=1)
        assert (key["daily_budget_requests"], key["daily_budget"]["cap_requests"]) == (1, 1)
        alias = await world.alias(workspace, provider)
        ok(await world.invoke(workspace, alias))
        await world.calls(workspace, 1)
        refused = problem(await world.invoke(workspace, alias), 402, "budget_exceeded")
        assert refused["budget"]["period"] == "day"
        raised = ok(await owner.put(f"/ai-keys/{key['id']}", daily_budget_requests=None))
        assert (raised["daily_budget"], raised["budget"]["spent_requests"]) == (None, 1)
        (budget,) = ok(await owner.put("/ai-budgets/workspace", monthly_budget_requests=2))["items"]
        assert (budget["scope"], budget["cap_requests"], budget["spent_requests"]) == ("workspace", 2, 1)
        ok(await world.invoke(workspace, alias))
        await world.calls(workspace, 2)
        refused = problem(await world.invoke(workspace, alias), 402, "budget_exceeded")
        assert (refused["budget"]["scope"], refused["budget"]["period"]) == ("workspace", "month")
    credit = {"funds": "platform", "monthly_budget_usd": 5}
    problem(await owner.put("/ai-budgets/workspace", **credit), 403, "forbidden")
    problem(await viewer.put("/ai-budgets/workspace", monthly_budget_usd=5), 403, "forbidden")
    ok(await world.admin.put("/ai-budgets/workspace", workspace_id=workspace, **credit))
    shown = ok(await viewer.get("/ai-budgets"))["items"]
    assert [(one["scope"], one["funds"], one["cap_usd"]) for one in shown] == [
        ("workspace", "own", None), ("workspace", "platform", "5.000000"), ("key", "own", None),
    ]  # fmt: skip


async def test_a_call_that_cost_more_than_was_held_halts_its_key_until_it_is_resumed(world: World) -> None:
    workspace = await world.workspace()
    owner = await world.member(workspace)
    async with Upstream() as upstream:
        accept_keys(upstream)
        upstream.always("POST", CHAT, chat_answer(input_tokens=10, output_tokens=5000))
        provider = await world.provider(upstream)
        key = await world.key(workspace, provider, monthly_budget_usd=1)
        alias = await world.alias(workspace, provider)
        ok(await world.invoke(workspace, alias, options={"max_tokens": 10}))
        (row,) = await world.calls(workspace, 1)
        refused = problem(await world.invoke(workspace, alias), 402, "budget_exceeded")
        assert refused["reason"] == "halted"
        assert row["attempt_id"] in refused["budget"]["halted"]
        (budget,) = ok(await owner.post("/ai-budgets/resume", key_id=key["id"]))["items"]
        assert budget["halted"] is None
        ok(await world.invoke(workspace, alias))
