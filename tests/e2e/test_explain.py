"""What ``explain`` says is what a call then does, and saying it calls nobody."""

from collections import Counter
from random import Random
from typing import Any

import pytest

from shared.testing.stack import Stack
from shared.testing.upstream import Upstream
from tests.e2e.explain_world import Attempt, Mess, mess, question
from tests.e2e.world import CHAT, World, accept_keys, chat_answer, ok, problem

ALIASES, BATCH, SEED = 500, 50, 20261123


@pytest.mark.timeout(400)
async def test_explain_equals_what_then_happens_on_500_random_aliases(world: World) -> None:
    random = Random(SEED)  # noqa: S311 - the same aliases every time
    tally: Counter[str] = Counter()
    async with mess(world) as made:
        for number in range(ALIASES):
            if number % BATCH == 0:
                await made.tire()
            await _one(made, random, tally)
    skips = sorted(name for name in tally if "/" in name)
    print(f"explain: equal={tally['equal']} of {ALIASES} tried={tally['tried']} skipped={tally['skipped']} "
          f"resting={tally['resting']} reasons={len(skips)} answered={tally['answered']}")  # fmt: skip
    print("explain reasons:", ", ".join(f"{name} {tally[name]}" for name in skips))
    assert tally["equal"] == ALIASES
    assert len(skips) >= 12, "the world is as bad as it is meant to be"
    assert min(tally["resting"], tally["answered"]) > 20


async def _one(made: Mess, random: Random, tally: Counter[str]) -> None:
    alias_id = await made.alias(random, *made.providers(random))
    asked, outcomes = question(random), made.script(random)
    asked_before = sum(len(upstream.requests) for upstream in made.upstreams.values())
    explained = ok(await made.world.admin.post(f"/ai-aliases/{alias_id}/explain", **asked))
    assert sum(len(upstream.requests) for upstream in made.upstreams.values()) == asked_before, "nobody is called"
    body = {"workspace_id": made.workspace, "alias_name": explained["alias_name"], **asked}
    answer = await made.world.admin.post("/ai-invoke", **body)
    told = (explained, answer.text, outcomes)
    assert _attempts(answer.json()) == made.walked(explained["targets"], outcomes), told
    await made.world.admin.delete(f"/ai-aliases/{alias_id}")  # all of a workspace's are read anew after every change
    tally["equal"] += 1
    tally["answered"] += answer.status_code == 200
    for target in explained["targets"]:
        tally["skipped" if target["skipped"] else "tried"] += 1
        tally["resting"] += target["resting"]
        if skip := target["skipped"]:
            tally[f"{skip['reason']}/{skip['detail']}"] += 1


def _attempts(body: dict[str, Any]) -> list[Attempt]:
    # What rests is shown where it would have come, and again if it was called in the end.
    rows = [row for row in body["attempts"] if row.get("detail") != "resting"]
    return [(row["provider"], row.get("key_id"), row["outcome"]) for row in rows]


async def test_a_plan_has_its_prices_its_places_and_its_reasons(world: World, stack: Stack) -> None:
    workspace = await world.workspace()
    async with Upstream() as upstream:
        accept_keys(upstream)
        upstream.always("POST", CHAT, chat_answer())
        dear = await world.provider(upstream, input_usd_per_mtok=10, output_usd_per_mtok=20)
        cheap = await world.provider(upstream)
        key = await world.key(workspace, cheap)
        other = await world.key(workspace, dear, monthly_budget_usd=0)
        name = await world.alias(workspace, dear, "openai", cheap, routing_preference="cost")
        viewer = await world.member(workspace, "viewer")
        [alias] = [one for one in ok(await viewer.get("/ai-aliases"))["items"] if one["alias_name"] == name]
        asked = {"prompt": "x" * 400, "options": {"max_tokens": 100}}
        plan = ok(await viewer.post(f"/ai-aliases/{alias['id']}/explain", **asked))
        assert await stack.query("SELECT 1 FROM metering.reservations WHERE workspace_id = %s", workspace) == []
    assert (plan["alias_name"], plan["routing_preference"]) == (name, "cost")
    first, second, third = plan["targets"]
    assert first["price_version"].startswith("catalogue")
    assert {**first, "at_most_usd": None, "price_version": None} == {
        "provider": cheap, "model": "m", "key_id": key["id"], "would_be_tried": True, "position": 1, "skipped": None,
        "resting": False, "forecast_usd": "0.000300", "at_most_usd": None, "price_version": None, "latency_ms": None,
        "funds": "own",
    }  # fmt: skip
    assert 0.0006 <= float(first["at_most_usd"]) < 0.01
    assert (second["provider"], second["key_id"], second["position"]) == (dear, other["id"], None)
    assert (second["skipped"], second["forecast_usd"]) == (
        {"reason": "budget_exceeded", "detail": "usd_micros"},
        "0.003000",
    )
    assert third["skipped"] == {"reason": "missing_key", "detail": None}


async def test_a_question_must_fit_the_alias_and_may_be_left_out(world: World) -> None:
    workspace = await world.workspace()
    async with Upstream() as upstream:
        provider = await world.provider(upstream)
        await world.alias(workspace, provider)
        [alias] = [one for one in await _aliases(world, workspace) if one["primary_provider"] == provider]
        path = f"/ai-aliases/{alias['id']}/explain"
        assert ok(await world.admin.post(path))["targets"][0]["skipped"]["reason"] == "missing_key"
        assert ok(await world.admin.send("POST", path))["targets"][0]["would_be_tried"] is False
        problem(await world.admin.post(path, input="x"), 422, "invalid_request")
        problem(await world.admin.post(path, prompt="x", input="y"), 422, "invalid_request")
        problem(await world.admin.post("/ai-aliases/no-such-alias/explain"), 404, "not_found")


async def test_an_alias_that_cannot_work_is_refused_when_it_is_written(world: World) -> None:
    workspace = await world.workspace()
    body = {"workspace_id": workspace, "alias_name": "x", "primary_provider": "openai", "primary_model": "gpt-4o"}
    bad: list[tuple[dict[str, Any], str]] = [
        ({"primary_provider": "nobody"}, "primary_provider"),
        ({"capability": "embedding"}, "primary_model"),
        ({"fallback_chain": [{"provider": "openai", "model": "dall-e-3"}]}, "fallback_chain.0.model"),
        ({"fallback_chain": [{"provider": "openai", "model": "gpt-4o"}]}, "fallback_chain"),
        ({"primary_provider": "openrouter", "primary_model": "x/y"}, "allow_aggregators"),
        ({"primary_provider": "deepgram", "primary_model": "x"}, "fallback_chain"),
        ({"time_limits": {"first_byte_s": 9, "total_s": 8}}, "time_limits.first_byte_s"),
        ({"capability": "embedding", "primary_model": "new", "on_stream_cut": "hold"}, "on_stream_cut"),
    ]  # fmt: skip
    for change, where in bad:
        refused = problem(await world.admin.post("/ai-aliases", **{**body, **change}), 422, "invalid_request")
        assert refused["field"] == where, refused
    made = ok(await world.admin.post("/ai-aliases", **body, on_stream_cut="hold"), 201)
    assert made["on_stream_cut"] == "hold"
    path = f"/ai-aliases/{made['id']}"
    assert ok(await world.admin.put(path, on_stream_cut="error"))["on_stream_cut"] == "error"
    problem(await world.admin.put(path, primary_provider="openrouter", primary_model="x/y"), 422, "invalid_request")
    print(f"impossible aliases refused: {len(bad)} of {len(bad)}")


async def _aliases(world: World, workspace: int) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = ok(await world.admin.get("/ai-aliases", workspace_id=workspace))["items"]
    return items
