"""Exports and pulls over HTTP: what was charged can be added up again from every format, to the micro-dollar."""

import hashlib
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from shared.money import MICROS_PER_USD
from shared.testing.stack import Stack
from shared.testing.upstream import Upstream
from tests.e2e.world import CHAT, World, accept_keys, chat_answer, eventually, ok, openai_error, problem
from tests.integration.export_world import Line, invoice, lines

FORMATS = ("csv", "ndjson", "parquet", "focus")


def micros(usd: str) -> int:
    return int(Decimal(usd) * MICROS_PER_USD)


async def test_an_invoice_can_be_made_again_from_every_format(world: World, tmp_path: Path) -> None:
    workspace = await world.workspace()
    async with Upstream() as first, Upstream() as second:
        for upstream, tokens in ((first, 11), (second, 13)):
            accept_keys(upstream)
            upstream.script("POST", CHAT, chat_answer(output_tokens=tokens), openai_error(500, "server_error"))
            upstream.always("POST", CHAT, chat_answer(output_tokens=tokens * 7))
        providers = [await world.provider(upstream) for upstream in (first, second)]
        keys = [await world.key(workspace, provider) for provider in providers]
        for provider in providers:
            alias = await world.alias(workspace, provider)
            for _ in range(4):
                await world.invoke(workspace, alias)
        rows = await world.calls(workspace, 10)
    invoices = []
    for format_ in FORMATS:
        answer = await world.admin.get("/ai-usage/export", workspace_id=workspace, format=format_)
        assert answer.headers["x-omnipost-rows-total"] == str(len(rows))
        (tmp_path / format_).write_bytes(answer.content)
        invoices.append(invoice(format_, tmp_path / format_))
    assert len({frozenset(one) for one in invoices}) == 1
    usage = await counted(world, workspace, len(rows))
    assert sum(line.micros for line in invoices[0]) == micros(usage["totals"]["charged_usd"]) > 0
    by_key = {key["id"]: sum(line.micros for line in invoices[0] if line.key == key["id"]) for key in keys}
    spent = {one["key_id"]: micros(one["spent_usd"]) for one in usage["budgets"]}
    assert {**by_key, None: sum(by_key.values())} == {key: spent[key] for key in (*by_key, None)}
    for group_by, group_of in (("key", lambda line: line.key), ("model", lambda line: line.model),
                               ("day", lambda line: line.day)):  # fmt: skip
        report = ok(await world.admin.get("/ai-usage", workspace_id=workspace, group_by=group_by))
        reported = {group[group_by]: (group["requests"], micros(group["charged_usd"])) for group in report["groups"]}
        assert reported == sums(invoices[0], group_of)
    assert lines((tmp_path / "ndjson").read_bytes()) == rows


async def counted(world: World, workspace: int, attempts: int) -> dict[str, Any]:
    """Usage once it has ``attempts``: reports follow the log by a moment."""

    async def complete() -> dict[str, Any] | None:
        usage = await world.usage(workspace)
        return usage if usage["totals"]["requests"] == attempts else None

    return await eventually(complete)


def sums(invoice_: set[Line], group_of: Any) -> dict[str, tuple[int, int]]:
    found: dict[str, tuple[int, int]] = {}
    for line in invoice_:
        attempts, spent = found.get(group_of(line), (0, 0))
        found[group_of(line)] = (attempts + line.attempts, spent + line.micros)
    return found


async def test_a_consumer_proves_that_it_has_everything(world: World) -> None:
    workspace = await world.workspace()
    async with Upstream() as upstream:
        accept_keys(upstream)
        upstream.always("POST", CHAT, chat_answer())
        provider = await world.provider(upstream)
        await world.key(workspace, provider)
        alias = await world.alias(workspace, provider)
        for _ in range(5):
            ok(await world.invoke(workspace, alias))
        rows = await world.calls(workspace, 5)
    viewer = await world.member(workspace, "viewer")
    seen: list[dict[str, Any]] = []
    chain, query = bytes(32), dict[str, str]()
    while True:
        answer = await viewer.get("/ai-usage/pull", limit=2, **query)
        page, told = answer.content, answer.headers
        assert hashlib.sha256(page).hexdigest() == told["x-omnipost-page-sha256"]
        if page:
            chain = hashlib.sha256(chain + hashlib.sha256(page).digest()).digest()
        seen += lines(page)
        assert (told["x-omnipost-chain-sha256"], told["x-omnipost-rows-so-far"]) == (chain.hex(), str(len(seen)))
        query = {"cursor": told["x-omnipost-next-cursor"]}
        if told["x-omnipost-at-end"] == "true":
            break
    assert sorted(seen, key=lambda row: row["attempt_id"]) == sorted(rows, key=lambda row: row["attempt_id"])
    elsewhere = await world.member(await world.workspace(), "viewer")
    problem(await elsewhere.get("/ai-usage/pull", **query), 422, "invalid_request")


@pytest.mark.parametrize(
    ("path", "query"),
    [("export", {"format": "xlsx"}), ("export", {"from": "yesterday"}), ("pull", {"cursor": "AAAA"}),
     ("pull", {"cursor": "x" * 301}), ("pull", {"limit": 0}), ("pull", {"limit": 1001})],
)  # fmt: skip
async def test_what_makes_no_sense_is_refused(world: World, path: str, query: dict[str, Any]) -> None:
    problem(await world.admin.get(f"/ai-usage/{path}", workspace_id=1, **query), 422, "invalid_request")


def test_the_edge_has_not_loaded_what_writes_parquet(stack: Stack) -> None:
    assert "arro3" not in Path(f"/proc/{stack.pid('api')}/maps").read_text()
