"""An asker and an answerer on a real NATS server, without any service around them."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

from shared.arriving import Arriving
from shared.bus import Bus
from shared.messages.base import Service
from shared.messages.chat import ChatMessageV1, DeltaV1
from shared.messages.router import InvokedV1, InvokeV1, TokensV1
from shared.messages.vocabulary import Capability
from shared.streams import Asker, Sink
from tests.integration.servers import bus, nats_server

Script = Callable[[InvokeV1, Sink | None], Awaitable[InvokedV1]]


def whole(request: InvokeV1, text: str = "") -> InvokedV1:
    """A final answer."""
    return InvokedV1(
        call_id=request.call_id,
        alias_name=request.alias_name,
        capability=Capability.CHAT,
        provider="p",
        model="m",
        text=text,
        finish_reason="stop",
        tokens=TokensV1(),
        cost_usd_micros=None,
        fallback_reason=None,
        attempts=(),
        latency_ms=0,
    )


def question(*, stream: bool = True) -> InvokeV1:
    """What is asked."""
    messages = (ChatMessageV1(role="user", content="Hi"),)
    return InvokeV1(workspace_id=1, call_id=str(uuid4()), alias_name="a", messages=messages, stream=stream)


def pieces(count: int) -> Script:
    """Answers with ``count`` pieces, each its own number and a space."""

    async def script(request: InvokeV1, sink: Sink | None) -> InvokedV1:
        assert sink is not None
        for number in range(count):
            await sink.send(DeltaV1(text=f"{number} "))
        return whole(request)

    return script


@dataclass
class Streams:
    """``script`` answers what is asked over ``api``; ``ended`` tells how, once it has. ``askers``: who has waited."""

    url: str
    api: Bus
    router: Bus
    script: Script = field(default_factory=lambda: pieces(3))
    askers: list[Asker] = field(default_factory=list)
    ended: "asyncio.Queue[BaseException | None]" = field(default_factory=asyncio.Queue)

    async def answer(self, request: InvokeV1, asker: Asker) -> InvokedV1:
        self.askers.append(asker)
        try:
            answer = await self.script(request, asker if isinstance(asker, Sink) else None)
        except BaseException as error:
            self.ended.put_nowait(error)
            raise
        self.ended.put_nowait(None)
        return answer

    async def how_it_ended(self) -> BaseException | None:
        async with asyncio.timeout(10):
            return await self.ended.get()

    def ask(self, script: Script, timeout: float = 20) -> AbstractAsyncContextManager[Arriving[InvokedV1]]:
        self.script = script
        return self.api.stream(question(), InvokedV1, timeout=timeout)


@asynccontextmanager
async def streams_world(folder: Path, *, answered: bool = True) -> AsyncIterator[Streams]:
    """Everything up; everything down again at the end."""
    with nats_server(folder) as url:
        world = Streams(url, bus(Service.API, url), bus(Service.ROUTER, url))
        if answered:
            world.router.answer_call(InvokeV1, world.answer)
        await world.router.start()
        await world.api.start()
        yield world
        await world.api.stop(0)
        await world.router.stop(0)


async def text_of(answer: Arriving[InvokedV1]) -> str:
    """All text of an answer."""
    return "".join([delta.text async for delta in answer])


async def hear(answer: Arriving[InvokedV1], heard: list[str]) -> None:
    """Add the text of every piece to ``heard``, also of an answer that fails."""
    async for delta in answer:
        heard.append(delta.text)
