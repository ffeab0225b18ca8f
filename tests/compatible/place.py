"""A workspace with a scripted provider, for whoever comes with somebody else's SDK."""

import base64
import struct
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any

from shared.testing.stack import Stack
from shared.testing.upstream import Answer, Upstream, json_answer
from tests.e2e.test_streaming import EMBEDDINGS, USAGE, chunk, streamed
from tests.e2e.world import CHAT, World, accept_keys, chat_answer, ok, openai_error

CALL = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Oslo"}'}}
VECTORS = [[0.25, -0.5, 1.0], [0.125, 0.0, 2.0]]


@dataclass
class Place:
    """Where a program points its SDK. ``alias`` chats; ``embeds`` embeds; ``model`` is ``alias``'s target itself."""

    base_url: str
    token: str
    workspace: int
    provider: str
    alias: str
    embeds: str
    upstream: Upstream
    world: World

    @property
    def model(self) -> str:
        """The target that ``alias`` leads to."""
        return f"{self.provider}/m"

    @property
    def asked(self) -> dict[str, Any]:
        """The last question the provider was asked."""
        body: dict[str, Any] = self.upstream.requests[-1].json
        return body

    def answers(self, *answers: Answer) -> None:
        """What the provider says to the next questions of a conversation."""
        self.upstream.script("POST", CHAT, *answers)

    def embeds_with(self, *answers: Answer) -> None:
        """What it says to texts to embed."""
        self.upstream.script("POST", EMBEDDINGS, *answers)

    async def alias_with(self, **fields: Any) -> str:
        """One more alias to the same target."""
        return await self.world.alias(self.workspace, self.provider, **fields)


@asynccontextmanager
async def placed(world: World, stack: Stack) -> AsyncIterator[Place]:
    """A place in a workspace of its own."""
    async with Upstream() as upstream:
        accept_keys(upstream)
        workspace = await world.workspace()
        body = {"workspace_id": workspace, "role": "member", "name": "sdk"}
        token = ok(await world.admin.post("/ai-tokens", **body), 201)["token"]
        models = await world.provider(upstream)
        vectors = await world.provider(upstream, capabilities=["embedding"])
        await world.key(workspace, models)
        await world.key(workspace, vectors)
        alias = await world.alias(workspace, models)
        embeds = await world.alias(workspace, vectors, capability="embedding")
        yield Place(f"{stack.base_url}/v1", token, workspace, models, alias, embeds, upstream, world)


def called() -> Answer:
    """A whole answer that wants a tool."""
    return with_message({"role": "assistant", "content": None, "tool_calls": [CALL]}, "tool_calls")


def with_message(message: dict[str, Any], finish: str) -> Answer:
    """A whole answer with this message."""
    choice = {"index": 0, "finish_reason": finish, "message": message}
    return json_answer({"id": "c", "object": "chat.completion", "model": "m", "choices": [choice], "usage": USAGE})


def called_in_pieces() -> Answer:
    """A streamed answer that wants two tools, their arguments in pieces."""
    pieces = [
        {"index": 0, "id": "call_1", "type": "function", "function": {"name": "weather", "arguments": ""}},
        {"index": 0, "function": {"arguments": '{"city":'}},
        {"index": 0, "function": {"arguments": '"Oslo"}'}},
        {"index": 1, "id": "call_2", "type": "function", "function": {"name": "time", "arguments": "{}"}},
    ]
    parts = [chunk(delta={"tool_calls": [piece]}) for piece in pieces]
    end = streamed().parts
    assert end is not None
    last = end[-1]
    assert isinstance(last, bytes)
    return streamed(last=b"".join(parts) + last.replace(b'"stop"', b'"tool_calls"'))


def vectors_answer() -> Answer:
    """Two embeddings, as base64 or numbers: a copy of OpenAI is asked for numbers."""
    rows = [{"object": "embedding", "index": place, "embedding": row} for place, row in enumerate(VECTORS)]
    usage = {"prompt_tokens": 4, "total_tokens": 4}
    return json_answer({"object": "list", "model": "m", "data": rows, "usage": usage})


def packed(vector: list[float]) -> str:
    """A vector as base64 of little-endian 32-bit floats."""
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()


@dataclass
class Tally:
    """Which cases of an SDK have passed."""

    sdk: str
    cases: int
    passed: set[str] = field(default_factory=set)

    @contextmanager
    def case(self, name: str) -> Iterator[None]:
        """A body that is the case ``name``."""
        yield
        self.passed.add(name)

    def say(self) -> None:
        """The line that is read."""
        print(f"{self.sdk}: {len(self.passed)} of {self.cases}")


__all__ = [
    "CALL", "CHAT", "EMBEDDINGS", "USAGE", "VECTORS", "Place", "Tally", "called", "called_in_pieces", "chat_answer",
    "chunk", "openai_error", "packed", "placed", "streamed", "vectors_answer", "with_message",
]  # fmt: skip
