"""Every list in pages, and the request's own name in its answers."""

from typing import Any

import httpx2
import pytest

from shared.testing.stack import Stack
from shared.testing.upstream import Upstream
from tests.e2e.world import CHAT, World, accept_keys, chat_answer, ok, problem

LISTS = ("keys", "aliases", "tokens", "webhooks", "budgets", "usage/calls", "ledger-actions", "audit", "usage/unknown")
OF_THE_PLATFORM = ("workspaces", "providers", "provider-changes", "dead-letters")


async def in_pages(world: World, path: str, **query: Any) -> list[dict[str, Any]]:
    """A whole list, two items at a time."""
    found, cursor, pages = list[dict[str, Any]](), "", 0
    while True:
        about = query | {"limit": 2} | ({"cursor": cursor} if cursor else {})
        page = ok(await world.admin.get(path, **about))
        assert len(page["items"]) <= 2
        found += page["items"]
        cursor, pages = page["next_cursor"], pages + 1
        if cursor is None:
            return found
        assert pages < 500


async def test_every_list_comes_in_pages(world: World) -> None:
    async with Upstream() as upstream:
        accept_keys(upstream)
        upstream.always("POST", CHAT, chat_answer())
        workspace, provider = await world.workspace(), await world.provider(upstream)
        for number in range(3):
            await world.key(workspace, provider, label=f"Key {number}")
            await world.member(workspace)
            url = f"https://example.com/{number}"
            ok(await world.admin.post("/ai-webhooks", workspace_id=workspace, url=url), 201)
            days = {"call_log_days": 100 + number}
            ok(await world.admin.put(f"/ai-workspaces/{workspace}/retention", **days))
        alias = await world.alias(workspace, provider)
        for _ in range(3):
            ok(await world.invoke(workspace, alias))
        await world.calls(workspace, 3)
    counted = {}
    for name, query in [(name, {"workspace_id": workspace}) for name in LISTS] + [
        (name, {}) for name in OF_THE_PLATFORM
    ]:
        path = f"/ai-{name}"
        whole = ok(await world.admin.get(path, **query, **({"limit": 500} if name != "budgets" else {})))["items"]
        assert await in_pages(world, path, **query) == whole, name
        counted[name] = len(whole)
        refused = await world.admin.get(path, **query, cursor="AAAA")
        assert problem(refused, 422, "invalid_request")["field"] == "cursor"
    print(f"lists read in pages of two: {counted}")
    assert sum(count >= 3 for count in counted.values()) >= 9


async def test_a_cursor_of_another_workspace_opens_nothing(world: World) -> None:
    mine, theirs = await world.workspace(), await world.workspace()
    page = ok(await world.admin.get("/ai-aliases", workspace_id=mine, limit=1))
    stolen = await world.admin.get("/ai-aliases", workspace_id=theirs, cursor=page["next_cursor"])
    problem(stolen, 422, "invalid_request")


@pytest.mark.parametrize("name", ["order-4711", "a.b_C-9", "4bf92f3577b34da6a3ce929d0e0e4736"])
async def test_a_requests_name_is_echoed_also_where_it_fails(world: World, name: str) -> None:
    fine = await _named(world, "/ai-providers", name)
    failed = await _named(world, "/ai-keys/nobody", name)
    assert fine.headers["x-request-id"] == name
    assert (failed.headers["x-request-id"], problem(failed, 404, "not_found")["request_id"]) == (name, name)


async def test_a_key_that_is_sent_as_a_name_is_neither_echoed_nor_logged(world: World, stack: Stack) -> None:
    key = "sk-proj-AbCdEf0123456789"
    response = await _named(world, "/ai-keys/nobody", key)
    assert key not in response.text
    assert response.headers["x-request-id"] != key
    assert key not in stack.log("api")


async def _named(world: World, path: str, name: str) -> httpx2.Response:
    return await world.admin.send("GET", path, headers={"x-request-id": name})
