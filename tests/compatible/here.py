"""A place as an SDK of another dialect sees it, and answers of its provider."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from shared.testing.upstream import Answer, json_answer
from tests.compatible.place import Place, Tally
from tests.e2e.test_streaming import USAGE, chunk
from tests.e2e.world import CHAT, chat_answer, ok

PNG = "iVBORw0KGgo="
WRONG_TOKEN = "omni_" + "x" * 43
SCHEMA: dict[str, Any] = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER: dict[str, Any] = {"name": "weather", "arguments": '{"city": "Köln"}'}


@dataclass
class Here:
    """A place, a token that may only look, and what is closed when the case is over."""

    place: Place
    viewer: str
    clients: AsyncExitStack

    @property
    def url(self) -> str:
        """Where the edge is, without a path."""
        return self.place.base_url.removesuffix("/v1")

    @property
    def asked(self) -> dict[str, Any]:
        """What the provider was asked last."""
        found: dict[str, Any] = [request for request in self.place.upstream.requests if request.path == CHAT][-1].json
        return found

    @property
    def asked_times(self) -> int:
        """How often the provider was asked."""
        return sum(request.path == CHAT for request in self.place.upstream.requests)

    async def spend_nothing(self) -> None:
        """From here on no call is paid for."""
        change = {"workspace_id": self.place.workspace, "monthly_budget_requests": 0}
        ok(await self.place.world.admin.put("/ai-budgets/workspace", **change))


Case = Callable[[Here], Awaitable[None]]


@asynccontextmanager
async def at(place: Place) -> AsyncIterator[Here]:
    """``place``, where the provider answers whatever it is asked."""
    place.upstream.always("POST", CHAT, chat_answer())
    body = {"workspace_id": place.workspace, "role": "viewer", "name": "sdk"}
    viewer = ok(await place.world.admin.post("/ai-tokens", **body), 201)["token"]
    async with AsyncExitStack() as clients:
        yield Here(place, viewer, clients)


def tallied(name: str, cases: int) -> Iterator[Tally]:
    """Counts the cases of a file, and says the count at its end."""
    made = Tally(name, cases=cases)
    yield made
    made.say()


def called(*calls: dict[str, Any], text: str | None = None) -> Answer:
    """An answer with tool calls, in OpenAI's shape."""
    told = [{"id": f"call_{at}", "type": "function", "function": call} for at, call in enumerate(calls)]
    message = {"role": "assistant", "content": text, "tool_calls": told}
    return json_answer(
        {"choices": [{"index": 0, "finish_reason": "tool_calls", "message": message}], "usage": USAGE, "model": "m"}
    )


def ended(reason: str) -> bytes:
    """The last chunks of a stream."""
    usage = chunk().replace(b'"choices": [{"index": 0, "delta": {}, "finish_reason": null}]', b'"choices": []')
    return (
        chunk(finish_reason=reason)
        + usage.replace(b"}\n\n", b', "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}}\n\n')
        + b"data: [DONE]\n\n"
    )


def called_in_pieces(call: dict[str, Any], text: str = "") -> Answer:
    """The same as a stream: text, then the call in three pieces."""
    first = {"index": 0, "id": "call_0", "type": "function", "function": {"name": call["name"], "arguments": ""}}
    half = len(call["arguments"]) // 2
    rest = [
        {"index": 0, "function": {"arguments": part}} for part in (call["arguments"][:half], call["arguments"][half:])
    ]
    parts = [chunk(delta={"content": text})] if text else []
    parts += [chunk(delta={"tool_calls": [piece]}) for piece in (first, *rest)]
    return Answer(headers={"content-type": "text/event-stream"}, parts=(*parts, ended("tool_calls")))
