"""A cap holds for streams as for whole answers: complete ones, cut ones, those gone on with, those nobody waits for."""

import asyncio
from decimal import Decimal
from typing import Any

from shared.testing.upstream import Upstream
from tests.e2e.test_streaming import streamed
from tests.e2e.world import CHAT, World, accept_keys, eventually

STREAMS, PAID, TOKENS = 64, 16, 50
MICROS = TOKENS * 10
CAP = PAID * MICROS
WHOLE, CUT, HANGING = streamed("One ", "two."), streamed("One ", last=b""), streamed("One ", last=b"", hang=True)


async def _stream(world: World, workspace: int, alias: str, name: str) -> str:
    """The name of the last event; ``left`` when the first piece was all that was waited for."""
    body = {"workspace_id": workspace, "alias_name": alias, "prompt": "x", "stream": True}
    body["options"] = {"max_tokens": TOKENS}
    last = ""
    async with world.http.stream("POST", "/ai-invoke", json=body, headers=world.admin._headers) as response:
        if response.status_code != 200:
            return f"{response.status_code}"
        async for line in response.aiter_lines():
            if line.startswith("event:"):
                last = line.removeprefix("event: ")
            elif name == "leaves" and line.startswith("data:"):
                return "left"
    return last


async def _spent(world: World, workspace: int, key_id: str) -> Decimal:
    """Micro-dollars, once nothing is held any more."""

    async def settled() -> dict[str, Any] | None:
        budgets = (await world.usage(workspace))["budgets"]
        mine: dict[str, Any] = next(budget for budget in budgets if budget["key_id"] == key_id)
        return mine if mine["held_requests"] == 0 else None

    return Decimal((await eventually(settled))["spent_usd"]) * 1_000_000


async def _provider(world: World, workspace: int, upstream: Upstream) -> tuple[str, str]:
    accept_keys(upstream)
    # Priced on output only, so that what is reserved for a stream is what its whole limit costs.
    provider = await world.provider(upstream, input_usd_per_mtok=0, output_usd_per_mtok=10)
    key = await world.key(workspace, provider, monthly_budget_usd=CAP / 1_000_000)
    return provider, str(key["id"])


async def test_64_concurrent_streams_on_a_cap_for_16(world: World) -> None:
    workspace = await world.workspace()
    async with Upstream() as upstream:
        provider, key_id = await _provider(world, workspace, upstream)
        alias = await world.alias(workspace, provider, on_stream_cut="error")
        upstream.always("POST", CHAT, HANGING)
        upstream.script("POST", CHAT, *(CUT for _ in range(PAID // 2)))
        ends = await asyncio.gather(*(_stream(world, workspace, alias, "leaves") for _ in range(STREAMS)))
        spent = await _spent(world, workspace, key_id)
        rows = await world.calls(workspace, PAID)
        seen = len([request for request in upstream.requests if request.path == CHAT])
    outcomes = sorted(row["outcome"] for row in rows)
    counts = f"seen={seen} rows={len(rows)} refused={ends.count('402')}"
    print(f"\nstreams={STREAMS} {counts} {set(outcomes)} spent={spent} of {CAP}")
    assert (seen, len(rows), ends.count("402")) == (PAID, PAID, STREAMS - PAID)
    assert set(outcomes) <= {"bad_response", "cancelled"}
    assert spent == CAP, "what a stream used that was not completed is unknown, and charged as reserved"


async def test_64_streams_that_are_gone_on_with_pass_neither_cap(world: World) -> None:
    workspace = await world.workspace()
    async with Upstream() as first, Upstream() as second:
        made = [await _provider(world, workspace, upstream) for upstream in (first, second)]
        alias = await world.alias(workspace, *(provider for provider, _ in made))
        first.always("POST", CHAT, CUT)
        second.always("POST", CHAT, WHOLE)
        ends = await asyncio.gather(*(_stream(world, workspace, alias, "stays") for _ in range(STREAMS)))
        spent = [await _spent(world, workspace, key_id) for _, key_id in made]
        seen = [len([one for one in upstream.requests if one.path == CHAT]) for upstream in (first, second)]
    counts = {end: ends.count(end) for end in set(ends)}
    print(f"\nstreams={STREAMS} seen={seen} ends={counts} spent={[str(one) for one in spent]} of {CAP} each")
    assert spent[0] == seen[0] * MICROS <= CAP
    assert 0 < spent[1] <= CAP
    assert sum(counts.values()) == STREAMS
    assert counts["done"] == seen[1]
