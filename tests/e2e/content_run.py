"""What somebody says in every way and what is answered, in one workspace; and a search of all that is left."""

import asyncio
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx2

from shared.messages.base import Service
from tests.e2e.canaries import Found, Search
from tests.e2e.canary_run import tables
from tests.e2e.content_ways import WAYS, Way, malformed
from tests.e2e.echo import Echo
from tests.e2e.spray import whole
from tests.e2e.watched import Watched
from tests.e2e.world import Caller, eventually, ok

CRASHES = (
    (Service.ROUTER, signal.SIGKILL), (Service.ROUTER, signal.SIGSEGV), (Service.API, signal.SIGSEGV),
    (Service.METERING, signal.SIGSEGV), (Service.VAULT, signal.SIGSEGV), ("nats", signal.SIGKILL),
)  # fmt: skip


@dataclass
class Talk:
    """One workspace, and the words (canaries) that are said in it."""

    watched: Watched
    echo: Echo
    providers: dict[str, str]
    words: Iterator[str]
    workspace: int = 0
    owner: Caller = field(default=None)  # type: ignore[assignment]
    said: dict[str, str] = field(default_factory=dict)
    """By word, the way it was said."""
    refusals: list[bytes] = field(default_factory=list)

    async def begin(self, **retention: Any) -> None:
        """A workspace with a key at every provider."""
        world = self.watched.world
        self.workspace = await world.workspace()
        self.owner = await world.member(self.workspace)
        for provider in self.providers.values():
            await world.key(self.workspace, provider)
        if retention:
            ok(await self.owner.put(f"/ai-workspaces/{self.workspace}/retention", **retention))

    async def everything(self) -> None:
        """Every way once."""
        for way in WAYS:
            await self._say(way)
        await self._leave()
        await self._refused()

    async def crash(self, part: Service | str, how: signal.Signals) -> None:
        """``part`` ends while a call is under way."""
        stack, word = self.watched.stack, self._word(f"{part} ended by {how.name}")
        alias = await self._alias(("slow",))
        calling = asyncio.create_task(self._ask({"alias_name": alias, "prompt": word}))
        await eventually(lambda: self._heard(word))
        pid = stack.pid(part)
        os.kill(pid, how)
        await asyncio.gather(calling, return_exceptions=True)

        async def back() -> bool | None:
            return (stack.pid(part) != pid and await asyncio.to_thread(stack.is_ready)) or None

        await eventually(back, within_s=60)

    async def _say(self, way: Way) -> None:
        alias, word = await self._alias(way.chain, **way.alias), self._word(way.name)
        answer = await self._ask({"alias_name": alias, **way.body(word)})
        if answer.status_code >= 400:
            self.refusals.append(whole(answer))
        assert word in self.echo.heard, (way.name, answer.text[:500])

    async def _leave(self) -> None:
        alias, word = await self._alias(("hang",)), self._word("left")
        body = {"alias_name": alias, "prompt": word, "stream": True}
        leavings = self.echo.leavings
        request = self.watched.world.http.stream("POST", "/ai-invoke", json=body, headers=self.owner._headers)
        async with request as response:
            async for line in response.aiter_lines():
                if line.startswith("data:"):
                    break
        await asyncio.wait_for(self.echo.left(leavings + 1), 10)

    async def _refused(self) -> None:
        """What never reaches a provider."""
        world, alias = self.watched.world, await self._alias(("plain",))
        for number in range(len(malformed(""))):
            body = malformed(self._word(f"malformed {number}"))[number].replace(b"ALIAS", alias.encode())
            headers = {"content-type": "application/json"}
            answer = await self.owner.send("POST", "/ai-invoke", content=body, headers=headers)
            assert answer.status_code in (400, 413, 422), (number, answer.text[:500])
            self.refusals.append(whole(answer))
        self.refusals.append(whole(await self._ask({"alias_name": "nobody", "prompt": self._word("no alias")})))
        stranger = await world.alias(self.workspace, await self.echo._provider(world, "plain"))
        self.refusals.append(whole(await self._ask({"alias_name": stranger, "prompt": self._word("no key")})))
        aliases = ok(await self.owner.get("/ai-aliases"))["items"]
        for shown in aliases[:3]:
            told = await self.owner.post(f"/ai-aliases/{shown['id']}/explain", prompt=self._word("explained"))
            self.refusals.append(whole(told))

    def _word(self, way: str) -> str:
        word = next(self.words)
        self.said[word] = way
        return word

    async def _alias(self, chain: tuple[str, ...], **fields: Any) -> str:
        return await self.watched.world.alias(self.workspace, *(self.providers[mode] for mode in chain), **fields)

    async def _ask(self, body: dict[str, Any]) -> httpx2.Response:
        return await self.owner.post("/ai-invoke", **body)

    async def _heard(self, word: str) -> bool | None:
        return word in self.echo.heard or None


async def search_of(watched: Watched, words: list[str], refusals: list[bytes]) -> tuple[Search, list[Found]]:
    """Look through tables, files, spans, what was printed and what was refused, before and after the stack has ended.

    Ends the stack.
    """
    search = Search(words)
    found = [hit for answer in refusals for hit in search.look("a refusal", answer)]
    for name, content in (await tables(watched.stack)).items():
        found += search.look(name, content)
    found += search.look_below(watched.stack.home)
    await asyncio.to_thread(watched.stack.stop)
    found += search.look_below(watched.stack.home)
    found += search.look("the supervisor", "\n".join(watched.stack.printed).encode())
    for request in watched.collector.requests:
        found += search.look("exported spans", request.body + repr(request.headers).encode())
    return search, found
