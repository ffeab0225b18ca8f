"""The same Idempotency-Key on everything that is no call: one effect, the same answer."""

import asyncio
from typing import Any

import httpx2
import pytest

from shared.testing.stack import Stack
from shared.testing.upstream import Answer, Upstream
from tests.e2e.once_world import back, own, post, there, true, upstream
from tests.e2e.world import KEY, World, accept_keys, eventually, ok, problem

__all__ = ["own", "there", "upstream"]


class TestOtherPosts:
    """Everything that is no call: one effect, the same answer."""

    async def test_a_key_is_stored_once(self, there: World, upstream: Upstream) -> None:
        workspace, provider = await there.workspace(), await there.provider(upstream)
        body = {"workspace_id": workspace, "provider": provider, "label": "Main", "api_key": KEY}
        same = [await post(there.admin, "/ai-keys", "k", body) for _ in range(3)]
        assert len({response.text for response in same}) == 1
        assert ok(same[0], 201) == ok(same[2], 201)
        problem(await post(there.admin, "/ai-keys", "k", body | {"label": "Other"}), 422, "invalid_request")
        problem(await post(there.admin, "/ai-tokens", "k", body), 422, "invalid_request")
        assert len(ok(await there.admin.get("/ai-keys", workspace_id=workspace))["items"]) == 1

    async def test_a_key_is_stored_once_although_the_edge_died_in_between(
        self, there: World, own: Stack, upstream: Upstream
    ) -> None:
        workspace, provider = await there.workspace(), await there.provider(upstream)
        body = {"workspace_id": workspace, "provider": provider, "label": "Main", "api_key": KEY}
        verifying = asyncio.Event()
        upstream.always("GET", "/v1/models", Answer(parts=(verifying,)))
        before = len(upstream.requests)
        first = asyncio.create_task(post(there.admin, "/ai-keys", "killed", body))
        await eventually(lambda: true(len(upstream.requests) > before))
        killed = own.kill("api")
        with pytest.raises(httpx2.TransportError):
            await first
        accept_keys(upstream)
        await back(own, killed)

        async def stored() -> httpx2.Response | None:
            response = await post(there.admin, "/ai-keys", "killed", body)
            return None if response.status_code == 409 else response

        key = ok(await eventually(stored, within_s=30), 201)
        [only] = ok(await there.admin.get("/ai-keys", workspace_id=workspace))["items"]
        assert only["id"] == key["id"]

    async def test_every_way_of_making_something_makes_it_once(self, there: World, upstream: Upstream) -> None:
        workspace, provider = await there.workspace(), await there.provider(upstream)
        alias = {"alias_name": "once", "primary_provider": provider, "primary_model": "m"}
        made: dict[str, dict[str, Any]] = {
            "/ai-aliases": alias,
            "/ai-tokens": {"role": "viewer", "name": "once"},
            "/ai-webhooks": {"url": "https://example.com/once", "events": ["key.invalid"]},
        }
        for path, body in made.items():
            about = {"workspace_id": workspace, **body}
            first, second = [await post(there.admin, path, f"make {path} {workspace}", about) for _ in range(2)]
            assert ok(first, 201) == ok(second, 201), path
            listed = ok(await there.admin.get(path, workspace_id=workspace))["items"]
            assert [item["id"] for item in listed].count(first.json()["id"]) == 1

    async def test_what_was_refused_may_be_mended(self, there: World) -> None:
        workspace = await there.workspace()
        body = {"workspace_id": workspace, "role": "nobody", "name": "x"}
        problem(await post(there.admin, "/ai-tokens", f"mend {workspace}", body), 422, "invalid_request")
        ok(await post(there.admin, "/ai-tokens", f"mend {workspace}", body | {"role": "viewer"}), 201)

    async def test_nobody_without_a_token_learns_of_it(self, there: World) -> None:
        problem(await post(there.caller(None), "/ai-tokens", "k", {}), 401, "unauthorized")
