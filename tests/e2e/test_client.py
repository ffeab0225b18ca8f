"""``omnipost.Client`` and ``omnipost.AsyncClient`` against a real stack: the same tests for both."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from types import UnionType
from typing import Any, cast, get_args, get_origin, get_type_hints, is_typeddict

import pytest

from omnipost import AsyncClient, Client, errors, shapes, shapes_admin
from shared.testing.stack import Stack
from shared.testing.upstream import Answer, Upstream, json_answer
from tests.e2e.test_streaming import streamed
from tests.e2e.world import CHAT, KEY, World, accept_keys, chat_answer, ok, openai_error

TOKEN = "omni_token-of-nobody"


class Blocking:
    """A blocking client in threads, as if it were the async one."""

    def __init__(self, client: Client) -> None:
        self.client = client

    async def do(self, act: Callable[[Any], Any]) -> Any:
        return await asyncio.to_thread(act, self.client)

    async def calls(self, **filters: Any) -> list[Any]:
        return await asyncio.to_thread(lambda: list(self.client.calls(**filters)))

    async def heard(self, alias: str) -> tuple[str, Any]:
        def read() -> tuple[str, Any]:
            with self.client.stream(alias, prompt="x") as stream:
                return "".join(stream.text()), stream.answer

        return await asyncio.to_thread(read)

    async def first(self, alias: str) -> str:
        def read() -> str:
            with self.client.stream(alias, prompt="x") as stream:
                return next(iter(stream)).text

        return await asyncio.to_thread(read)


class Awaited:
    """The async client."""

    def __init__(self, client: AsyncClient) -> None:
        self.client = client

    async def do(self, act: Callable[[Any], Any]) -> Any:
        return await act(self.client)

    async def calls(self, **filters: Any) -> list[Any]:
        return [row async for row in self.client.calls(**filters)]

    async def heard(self, alias: str) -> tuple[str, Any]:
        async with self.client.stream(alias, prompt="x") as stream:
            return "".join([text async for text in stream.text()]), stream.answer

    async def first(self, alias: str) -> str:
        async with self.client.stream(alias, prompt="x") as stream:
            async for piece in stream:
                return piece.text
        return ""


Way = Blocking | Awaited
WAYS = pytest.mark.parametrize("way", ["sync", "async"])


@asynccontextmanager
async def client_of(way: str, url: str, token: str, **options: Any) -> AsyncIterator[Way]:
    """A client of either kind."""
    if way == "sync":
        with Client(url, token, **options) as client:
            yield Blocking(client)
    else:
        async with AsyncClient(url, token, **options) as awaited:
            yield Awaited(awaited)


@dataclass
class Place:
    """The owner's client in a workspace whose provider is ``upstream``; ``alias`` reaches it."""

    client: Way
    workspace: int
    provider: str
    alias: str
    upstream: Upstream


@asynccontextmanager
async def place(world: World, stack: Stack, way: str) -> AsyncIterator[Place]:
    """A workspace with a provider, a key and an alias."""
    async with Upstream() as upstream:
        accept_keys(upstream)
        upstream.always("POST", CHAT, chat_answer())
        workspace = await world.workspace()
        provider = await world.provider(upstream)
        await world.key(workspace, provider)
        alias = await world.alias(workspace, provider)
        body = {"workspace_id": workspace, "role": "owner", "name": "client"}
        token = ok(await world.admin.post("/ai-tokens", **body), 201)["token"]
        async with client_of(way, stack.base_url, token) as client:
            yield Place(client, workspace, provider, alias, upstream)


def fits(shape: Any, value: Any) -> Any:
    """``value``, which has every field its type names, of the type it names. Newer fields may stand beside them."""
    assert value, "an empty list shows nothing"
    assert _is(shape, value), f"this is no {shape}: {value}"
    return value


def _is(shape: Any, value: Any) -> bool:
    origin, inner = get_origin(shape), get_args(shape)
    if is_typeddict(shape):
        if not isinstance(value, dict):
            return False
        hints = get_type_hints(shape)
        wrong = [name for name, hint in hints.items() if name in value and not _is(hint, value[name])]
        assert not wrong, f"{wrong} of {shape}: {value}"
        return bool(shape.__required_keys__ <= set(value))
    if origin is list:
        return isinstance(value, list) and all(_is(inner[0], item) for item in value)
    if origin is dict:
        return isinstance(value, dict) and all(_is(inner[1], item) for item in value.values())
    if origin is UnionType:
        return any(_is(one, value) for one in inner)
    return shape is Any or isinstance(value, int | float if shape is float else shape)


@WAYS
async def test_answers_have_the_shapes_their_types_name(world: World, stack: Stack, way: str) -> None:
    async with place(world, stack, way) as here:
        do = here.client.do
        fits(list[shapes.Key], await do(lambda c: c.keys.list()))
        key = fits(shapes.Key, await do(lambda c: c.keys.add(here.provider, KEY, daily_budget_usd=2)))
        assert (await do(lambda c: c.keys.change(key["id"], daily_budget_usd=None)))["daily_budget_usd"] is None
        fits(shapes.Key, await do(lambda c: c.keys.verify(key["id"])))
        fits(shapes.Key, await do(lambda c: c.keys.rotate(key["id"], KEY)))
        assert await do(lambda c: c.keys.revoke(key["id"])) is None
        made = fits(shapes.Alias, await do(lambda c: c.aliases.add("two", [f"{here.provider}/m", "openai/gpt-4o"])))
        assert made["fallback_chain"] == [{"provider": "openai", "model": "gpt-4o", "priority": 1}]
        fits(list[shapes.Alias], await do(lambda c: c.aliases.list()))
        fits(shapes.Explained, await do(lambda c: c.aliases.explain(made["id"], prompt="x")))
        assert await do(lambda c: c.aliases.remove(made["id"])) is None
        answer = fits(shapes.Answer, await do(lambda c: c.invoke(here.alias, prompt="Hello!")))
        assert answer["output"]["text"] == "Hello back."
        await world.calls(here.workspace, 1)
        fits(list[shapes.Call], await here.client.calls())
        fits(shapes.Usage, await do(lambda c: c.usage.report(group_by="model")))
        fits(list[shapes.Budget], await do(lambda c: c.budgets.list()))
        await do(lambda c: c.budgets.change(monthly_budget_usd=3))


@WAYS
async def test_administration_has_its_shapes(world: World, stack: Stack, way: str) -> None:
    async with place(world, stack, way) as here:
        do, workspace = here.client.do, here.workspace
        token = fits(shapes_admin.NewToken, await do(lambda c: c.tokens.add("robot", "viewer", expires_in_days=3)))
        fits(list[shapes_admin.Token], await do(lambda c: c.tokens.list()))
        assert await do(lambda c: c.tokens.revoke(token["id"])) is None
        hook = fits(shapes_admin.Webhook, await do(lambda c: c.webhooks.add("https://hooks.example.com/x")))
        assert hook["secret"].startswith("whsec_")
        fits(list[shapes_admin.Webhook], await do(lambda c: c.webhooks.list()))
        fits(shapes_admin.Delivery, await do(lambda c: c.webhooks.test(hook["id"])))
        fits(list[shapes_admin.Delivery], (await do(lambda c: c.webhooks.deliveries(hook["id"])))["items"])
        assert (await do(lambda c: c.webhooks.change(hook["id"], enabled=False)))["enabled"] is False
        assert await do(lambda c: c.webhooks.remove(hook["id"])) is None
        fits(shapes_admin.Rotated, await do(lambda c: c.workspaces.rotate(workspace)))
        retention = await do(lambda c: c.workspaces.set_retention(workspace, call_log_days=30))
        assert fits(shapes_admin.Retention, retention) == await do(lambda c: c.workspaces.retention(workspace))
        fits(list[shapes_admin.Provider], await do(lambda c: c.providers.list()))
        fits(shapes_admin.Health, await do(lambda c: c.system.health()))
    async with client_of(way, stack.base_url, stack.admin_token) as admin:
        made = fits(shapes_admin.NewWorkspace, await admin.do(lambda c: c.workspaces.add("New")))
        fits(list[shapes_admin.Workspace], await admin.do(lambda c: c.workspaces.list()))
        fits(list[shapes.Alias], await admin.do(lambda c: c.for_workspace(made["id"]).aliases.list()))
        assert await admin.do(lambda c: c.workspaces.remove(made["id"])) is None


@WAYS
async def test_a_stream_ends_with_the_whole_answer(world: World, stack: Stack, way: str) -> None:
    async with place(world, stack, way) as here:
        here.upstream.always("POST", CHAT, streamed("Hello", " ", "back."))
        text, answer = await here.client.heard(here.alias)
        assert (text, fits(shapes.Answer, answer)["output"]["text"]) == ("Hello back.", "Hello back.")


@WAYS
async def test_leaving_a_stream_ends_the_call(world: World, stack: Stack, way: str) -> None:
    async with place(world, stack, way) as here:
        here.upstream.always("POST", CHAT, streamed("One", last=b"", hang=True))
        before = here.upstream.leavings
        assert await here.client.first(here.alias) == "One"
        await asyncio.wait_for(here.upstream.left(before + 1), 5)
        assert (await world.calls(here.workspace, 1))[0]["outcome"] == "cancelled"


@WAYS
async def test_errors_are_classes_by_code(world: World, stack: Stack, way: str) -> None:
    async with place(world, stack, way) as here:
        do = here.client.do
        with pytest.raises(errors.NotFoundError) as missing:
            await do(lambda c: c.invoke("nobody", prompt="x"))
        assert (missing.value.status, len(missing.value.request_id or "")) == (404, 32)
        with pytest.raises(errors.InvalidRequestError) as invalid:
            await do(lambda c: c.aliases.add("UPPER", ["openai/gpt-4o"]))
        assert invalid.value.extra["errors"][0]["field"] == "alias_name"
        here.upstream.always("POST", CHAT, openai_error(400, "billing_not_active"))
        with pytest.raises(errors.ProviderError) as failed:
            await do(lambda c: c.invoke(here.alias, prompt="x"))
        assert failed.value.extra["attempts"][0]["provider"] == here.provider
        with pytest.raises(errors.ProviderError):
            await here.client.heard(here.alias)
    async with client_of(way, stack.base_url, TOKEN) as nobody:
        with pytest.raises(errors.UnauthorizedError):
            await nobody.do(lambda c: c.keys.list())
    async with client_of(way, "http://127.0.0.1:9", TOKEN, retries=0) as nowhere:
        with pytest.raises(errors.UnreachableError):
            await nowhere.do(lambda c: c.keys.list())


@WAYS
async def test_the_call_log_comes_page_by_page_and_as_a_file(
    world: World, stack: Stack, way: str, tmp_path: Path
) -> None:
    async with place(world, stack, way) as here:
        for _ in range(5):
            await here.client.do(lambda c: c.invoke(here.alias, prompt="x"))
        rows = await world.calls(here.workspace, 5)
        assert await here.client.calls(limit=2) == rows
        assert await here.client.calls(outcome="rate_limited") == []
        seen: list[tuple[int, int | None]] = []
        path = tmp_path / "calls.ndjson"

        def progress(written: int, total: int | None) -> None:
            seen.append((written, total))

        made = await here.client.do(lambda c: c.export(path, "ndjson", progress=progress))
        assert [json.loads(line) for line in path.read_text().splitlines()] == rows
        assert (made.rows, made.bytes, seen[-1]) == (5, path.stat().st_size, (made.bytes, 5))


@WAYS
@pytest.mark.parametrize("trouble", [{"cut_after": 5}, {}], ids=["cut", "rows missing"])
async def test_an_incomplete_export_leaves_nothing(way: str, trouble: dict[str, Any], tmp_path: Path) -> None:
    async with Upstream() as upstream:
        headers = {"x-omnipost-rows-total": "2"}
        upstream.always("GET", "/ai-usage/export", Answer(200, headers, body=b'{"a":1}\n', **trouble))
        async with client_of(way, upstream.base_url, TOKEN) as client:
            with pytest.raises(errors.AnswerLostError):
                await client.do(lambda c: c.export(tmp_path / "calls.ndjson", "ndjson"))
    assert _names(tmp_path) == []


@WAYS
async def test_a_lost_answer_is_asked_for_again_under_the_same_idempotency_key(way: str) -> None:
    async with Upstream() as upstream:
        lost = Answer(reset=True)
        busy = json_answer({"code": "conflict", "status": 409, "detail": "It runs."}, 409, headers={"retry-after": "0"})
        upstream.script("POST", "/ai-invoke", lost, busy, json_answer({"call_id": "1"}))
        async with client_of(way, upstream.base_url, TOKEN) as client:
            assert await client.do(lambda c: c.invoke("a", prompt="x")) == {"call_id": "1"}
        sent = [cast("dict[str, str]", request.headers)["idempotency-key"] for request in upstream.requests]
        assert (len(sent), len(set(sent))) == (3, 1)
        assert len({request.body for request in upstream.requests}) == 1


@WAYS
async def test_a_stream_without_an_end_is_lost(way: str) -> None:
    begun = b'event: delta\ndata: {"text": "One"}\n\n: waiting\n\n'
    for parts, how in (((begun,), {}), ((begun,), {"cut_after": 10}), ((b"event: delta\ndata: {\n\n",), {})):
        async with Upstream() as upstream:
            answer = Answer(headers={"content-type": "text/event-stream"}, parts=parts, **cast("Any", how))
            upstream.always("POST", "/ai-invoke", answer)
            async with client_of(way, upstream.base_url, TOKEN) as client:
                with pytest.raises(errors.AnswerLostError):
                    await client.heard("a")


def _names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]
