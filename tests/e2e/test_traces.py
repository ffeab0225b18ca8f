"""With a collector: one trace over every hop."""

from collections.abc import AsyncIterator

import pytest

from shared.testing.upstream import Upstream
from tests.e2e.watched import Watched, watch
from tests.e2e.world import CHAT, accept_keys, chat_answer, eventually, ok, openai_error


@pytest.fixture(scope="module")
async def watched(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Watched]:
    async with watch(tmp_path_factory.mktemp("watched") / "home", "debug") as running:
        yield running


async def test_one_trace_over_every_hop(watched: Watched) -> None:
    world = watched.world
    workspace = await world.workspace()
    async with Upstream() as bad, Upstream() as good:
        for upstream in (bad, good):
            accept_keys(upstream)
        bad.always("POST", CHAT, openai_error(500, "server_error"))
        good.always("POST", CHAT, chat_answer())
        providers = [await world.provider(bad), await world.provider(good)]
        for provider in providers:
            await world.key(workspace, provider)
        alias = await world.alias(workspace, *providers)
        ok(await world.invoke(workspace, alias))
        rows = await world.calls(workspace, 2)
    [trace_id] = {row["trace_id"] for row in rows}

    async def whole() -> list[dict[str, str]] | None:
        # Every process sends its spans when it likes. The tree is there when it has one root, both settlements, and an
        # answer for every question: a leaf that is still missing leaves no orphan behind.
        mine = [span for span in watched.spans() if span["trace"] == trace_id]
        settled = [span for span in mine if span["service"] == "metering" and "CallFinished" in span["name"]]
        ids = {span["id"] for span in mine}
        roots = [span["parent"] for span in mine if span["parent"] not in ids]
        asked = sorted(span["name"].removesuffix(" ask") for span in mine if span["name"].endswith(" ask"))
        answered = sorted(span["name"].removesuffix(" answer") for span in mine if span["name"].endswith(" answer"))
        return mine if len(settled) == 2 and roots == [""] and asked == answered else None

    spans = await eventually(whole)
    by_id = {span["id"]: span for span in spans}
    roots = [span for span in spans if span["parent"] not in by_id]
    assert [(span["service"], span["name"]) for span in roots] == [("api", "POST /ai-invoke")]
    hops = {(by_id[span["parent"]]["service"], span["service"]) for span in spans if span["parent"] in by_id}
    print("hops", sorted(hops), "spans", len(spans))
    assert {("api", "router"), ("router", "vault"), ("router", "metering")} <= hops
    assert len([span for span in spans if span["name"] == "chat m"]) == 2


async def test_an_incoming_traceparent_is_continued(watched: Watched) -> None:
    world = watched.world
    workspace = await world.workspace()
    async with Upstream() as upstream:
        accept_keys(upstream)
        upstream.always("POST", CHAT, chat_answer())
        provider = await world.provider(upstream)
        await world.key(workspace, provider)
        alias = await world.alias(workspace, provider)
        trace_id = "0af7651916cd43dd8448eb211c80319c"
        body = {"workspace_id": workspace, "alias_name": alias, "prompt": "x"}
        headers = {"traceparent": f"00-{trace_id}-b7ad6b7169203331-01"}
        ok(await world.admin.send("POST", "/ai-invoke", json=body, headers=headers))
        [row] = await world.calls(workspace, 1)
        assert row["trace_id"] == trace_id
