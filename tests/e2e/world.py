"""What every end-to-end test needs: callers over real HTTP, workspaces and providers of their own, scripted answers."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar
from uuid import uuid4

import httpx2

from shared.testing.stack import Stack
from shared.testing.upstream import Answer, Upstream, json_answer

T = TypeVar("T")
KEY = "sk-test-0123456789abcdefghijklmnop"
CHAT = "/v1/chat/completions"
MODELS = "/v1/models"


def chat_answer(text: str = "Hello back.", *, input_tokens: int = 10, output_tokens: int = 5, **how: Any) -> Answer:
    """A chat completion in OpenAI's shape."""
    return json_answer(
        {
            "id": f"chatcmpl-{uuid4().hex[:8]}",
            "object": "chat.completion",
            "model": "m",
            "choices": [
                {
                    "index": 0,
                    "finish_reason": "stop",
                    "message": {"role": "assistant", "content": text, "refusal": None},
                }
            ],
            "usage": {
                "prompt_tokens": input_tokens,
                "completion_tokens": output_tokens,
                "total_tokens": input_tokens + output_tokens,
            },
        },
        **how,
    )


def openai_error(status: int, code: str) -> Answer:
    """An error in OpenAI's shape."""
    return json_answer({"error": {"message": "no", "type": code, "param": None, "code": code}}, status=status)


def accept_keys(upstream: Upstream) -> None:
    """Answer verification as a provider does that accepts every key."""
    upstream.always("GET", MODELS, json_answer({"object": "list", "data": []}))


def answer_everything(upstream: Upstream) -> None:
    """A provider that takes every key, and answers every question."""
    row = {"object": "embedding", "index": 0, "embedding": [0.5]}
    vectors = {"object": "list", "data": [row], "usage": {"prompt_tokens": 1, "total_tokens": 1}}
    accept_keys(upstream)
    upstream.always("POST", CHAT, chat_answer())
    upstream.always("POST", "/v1/embeddings", json_answer(vectors))


class Caller:
    """Somebody with a token."""

    def __init__(self, http: httpx2.AsyncClient, token: str | None) -> None:
        self._http = http
        self._headers = {"authorization": f"Bearer {token}"} if token else {}

    async def send(self, method: str, path: str, **how: Any) -> httpx2.Response:
        headers = {**self._headers, **how.pop("headers", {})}
        return await self._http.request(method, path, headers=headers, **how)

    async def get(self, path: str, **query: Any) -> httpx2.Response:
        return await self.send("GET", path, params=query)

    async def post(self, path: str, **body: Any) -> httpx2.Response:
        return await self.send("POST", path, json=body)

    async def put(self, path: str, **body: Any) -> httpx2.Response:
        return await self.send("PUT", path, json=body)

    async def delete(self, path: str) -> httpx2.Response:
        return await self.send("DELETE", path)


@dataclass
class World:
    """A platform admin on a running stack."""

    http: httpx2.AsyncClient
    admin: Caller

    def caller(self, token: str | None) -> Caller:
        return Caller(self.http, token)

    async def workspace(self) -> int:
        """A fresh workspace."""
        created = ok(await self.admin.post("/ai-workspaces", name="Test"), 201)
        workspace_id: int = created["id"]
        return workspace_id

    async def member(self, workspace_id: int, role: str = "owner") -> Caller:
        """Somebody with ``role`` in the workspace."""
        body = {"workspace_id": workspace_id, "role": role, "name": "test"}
        return self.caller(ok(await self.admin.post("/ai-tokens", **body), 201)["token"])

    async def provider(self, upstream: Upstream, **model: Any) -> str:
        """A provider of its own at ``upstream``, with model ``m``; by default 1 and 2 USD per million tokens."""
        provider_id = f"t-{uuid4().hex[:12]}"
        priced = {"id": "m", "input_usd_per_mtok": 1, "output_usd_per_mtok": 2, **model}
        body = {"id": provider_id, "kind": "openai-compatible", "base_url": f"{upstream.base_url}/v1"}
        ok(await self.admin.post("/ai-providers", **body, models=[priced]), 201)
        return provider_id

    async def key(self, workspace_id: int, provider: str, **fields: Any) -> dict[str, Any]:
        """A stored key."""
        body = {"workspace_id": workspace_id, "provider": provider, "label": "Test", "api_key": KEY, **fields}
        return ok(await self.admin.post("/ai-keys", **body), 201)

    async def alias(self, workspace_id: int, *providers: str, **fields: Any) -> str:
        """An alias whose chain is model ``m`` at each of ``providers``."""
        name = f"a-{uuid4().hex[:8]}"
        first, *rest = providers
        body = {
            "workspace_id": workspace_id,
            "alias_name": name,
            "display_name": "Test",
            "modality": "text",
            "capability": "chat",
            "primary_provider": first,
            "primary_model": "m",
            "fallback_chain": [
                {"provider": provider, "model": "m", "priority": place} for place, provider in enumerate(rest, 1)
            ],
            **fields,
        }
        ok(await self.admin.post("/ai-aliases", **body), 201)
        return name

    async def invoke(self, workspace_id: int, alias_name: str, **fields: Any) -> httpx2.Response:
        """Call an alias."""
        body = {"workspace_id": workspace_id, "alias_name": alias_name, "prompt": "Hello!", **fields}
        return await self.admin.post("/ai-invoke", **body)

    async def calls(self, workspace_id: int, count: int, *, within_s: float = 10) -> list[dict[str, Any]]:
        """The call log, newest first, once it has ``count`` rows."""

        async def rows() -> list[dict[str, Any]] | None:
            answer = await self.admin.get("/ai-usage/calls", workspace_id=workspace_id, limit=500)
            items: list[dict[str, Any]] = answer.json().get("items", [])
            return items if len(items) >= count else None

        return await eventually(rows, within_s=within_s)

    async def usage(self, workspace_id: int) -> dict[str, Any]:
        """Totals, groups and budgets."""
        return ok(await self.admin.get("/ai-usage", workspace_id=workspace_id))


@asynccontextmanager
async def connected(stack: Stack) -> AsyncIterator[World]:
    """A world on ``stack``."""
    limits = httpx2.Limits(max_connections=400, max_keepalive_connections=400)
    async with httpx2.AsyncClient(base_url=stack.base_url, timeout=60, limits=limits, trust_env=False) as http:
        yield World(http, Caller(http, stack.admin_token))


def ok(response: httpx2.Response, status: int = 200) -> dict[str, Any]:
    """The body of an answer that must have ``status``."""
    assert response.status_code == status, f"{response.status_code}: {response.text[:2000]}"
    body: dict[str, Any] = response.json()
    return body


def problem(response: httpx2.Response, status: int, code: str) -> dict[str, Any]:
    """The body of a problem that must have ``status`` and ``code``, and must not look like a crash."""
    assert response.status_code == status, f"{response.status_code}: {response.text[:2000]}"
    assert response.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = response.json()
    assert body["code"] == code, body
    assert body["status"] == status
    assert "Traceback" not in response.text
    return body


async def eventually(look: Callable[[], Awaitable[T | None]], within_s: float = 10.0) -> T:
    """What ``look`` finds, asked again until it finds something. Raises TimeoutError."""
    async with asyncio.timeout(within_s):
        while (found := await look()) is None:  # noqa: ASYNC110 - there is nothing to be told by over HTTP
            await asyncio.sleep(0.02)
        return found
