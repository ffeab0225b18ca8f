"""A stack of its own for repeated requests, whose parts die where a test has said so."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any
from uuid import uuid4

import httpx2
import pytest

from shared.testing.stack import Stack
from shared.testing.upstream import Upstream
from tests.e2e.world import Caller, World, accept_keys, connected, eventually


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack of its own, as parts of it are killed; the edge dies where a test has said so."""
    home = tmp_path_factory.mktemp("once") / "home"
    places = home.parent / "failpoints"
    places.mkdir()
    settings = {"OMNIPOST_ALLOWED_PRIVATE_HOSTS": "127.0.0.1", "OMNIPOST_FAILPOINTS_DIR": str(places)}
    running = Stack.start(home, environment=settings)
    yield running
    running.stop()


@pytest.fixture(scope="module")
async def there(own: Stack) -> AsyncIterator[World]:
    async with connected(own) as made:
        yield made


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    async with Upstream() as listening:
        accept_keys(listening)
        yield listening


class Asking:
    """A workspace with a key and an alias, and one question under one Idempotency-Key."""

    def __init__(self, member: Caller, workspace: int, alias: str, upstream: Upstream) -> None:
        self.member, self.workspace, self.upstream = member, workspace, upstream
        self.key = f"once {uuid4()}"
        self.body: dict[str, Any] = {"alias_name": alias, "prompt": "Hello!"}

    async def ask(self, **more: Any) -> httpx2.Response:
        headers = {"idempotency-key": self.key}
        return await self.member.send("POST", "/ai-invoke", json={**self.body, **more}, headers=headers)

    @property
    def called(self) -> int:
        """How often the provider was asked."""
        return sum(request.method == "POST" for request in self.upstream.requests)


async def asking(there: World, upstream: Upstream) -> Asking:
    workspace = await there.workspace()
    provider = await there.provider(upstream)
    await there.key(workspace, provider)
    alias = await there.alias(workspace, provider)
    return Asking(await there.member(workspace), workspace, alias, upstream)


def arm(own: Stack, place: str) -> None:
    (own.home.parent / "failpoints" / place).write_text("1")


async def true(found: bool) -> bool | None:  # noqa: FBT001 - what a look has found
    """What ``eventually`` takes for found."""
    return found or None


async def back(own: Stack, killed: int, name: str = "api") -> None:
    """Return once a part has come back."""

    async def again() -> bool | None:
        try:
            return (own.pid(name) != killed and await asyncio.to_thread(own.is_ready)) or None
        except OSError:
            return None

    await eventually(again, within_s=30)


async def answered(asked: Asking, within_s: float = 30) -> httpx2.Response:
    """What a repetition is told once the first request is known to be over."""

    async def over() -> httpx2.Response | None:
        response = await asked.ask()
        running = response.status_code == 409 and response.json().get("reason") == "running"
        return None if running else response

    return await eventually(over, within_s=within_s)


async def post(caller: Caller, path: str, key: str, body: dict[str, Any]) -> httpx2.Response:
    """POST under an Idempotency-Key."""
    return await caller.send("POST", path, json=body, headers={"idempotency-key": key})
