"""What happens to canary keys in their lives, and a search of every place where bytes stay afterwards."""

import asyncio
import json
from typing import Any, TypeVar
from uuid import UUID

import psycopg
from psycopg import sql

from shared.testing.stack import Stack
from tests.e2e.canaries import Found, Search
from tests.e2e.parrot import BAD, GOOD, Parrot
from tests.e2e.spray import SHAPES, Route, routes, spray, spray_large, spray_malformed, whole
from tests.e2e.watched import Watched

T = TypeVar("T")
LANES = 16
LIMITS = {"first_byte_s": 0.2, "last_first_byte_s": 0.2}
DAYS = len(GOOD) + len(BAD)
CALLS = 3


class _Id(dict[str, str]):
    """Fills every placeholder of a path with one id."""

    def __init__(self, value: str) -> None:
        super().__init__()
        self._value = value

    def __missing__(self, _: str) -> str:
        return self._value


class CanaryRun:
    """Uses ``canaries`` everywhere. ``thorough``: each one in every way; otherwise the ways take turns."""

    def __init__(self, watched: Watched, canaries: list[str], *, thorough: bool) -> None:
        self.world, self.stack, self.collector = watched.world, watched.stack, watched.collector
        self.canaries, self._thorough = canaries, thorough
        self._numbers = {canary: number for number, canary in enumerate(canaries)}
        self.answers: list[bytes] = []
        self.routes: list[Route] = []
        self.sent: set[str] = set()

    async def live(self) -> None:
        """Every canary's whole life: several lanes at once, one life after another in each."""
        self.routes = await routes(self.world)
        async with Parrot(self._days) as parrot:
            provider = await self.world.provider(parrot)
            await asyncio.gather(*(self._lane(self.canaries[start::LANES], provider) for start in range(LANES)))
            self.answers += await spray_large(self.world.admin, self.routes, self.canaries[0])
            for canary in self.canaries[:4]:
                self.answers += await spray_malformed(self.stack.port, canary)
            seen = {request.headers.get("authorization", "").removeprefix("Bearer ") for request in parrot.requests}
        self.sent = seen & set(self.canaries)

    async def _lane(self, canaries: list[str], provider: str) -> None:
        # A revoked key is not called with: each life is the only one of its time in the workspace.
        workspace = await self.world.workspace()
        alias = await self.world.alias(workspace, provider, time_limits=LIMITS)
        owner = await self.world.member(workspace)
        for canary in canaries:
            number = self._numbers[canary]
            # A round of all shapes by the platform's admin, who may do most and for whom some answers take long, then
            # three by the owner of a workspace.
            caller = owner if number // len(SHAPES) % 4 else self.world.admin
            self.answers += await spray(caller, self.routes, canary, self._shapes(number))
            self.answers += await self._life(canary, workspace, alias, provider)
        self.answers.append(whole(await self.world.admin.delete(f"/ai-workspaces/{workspace}")))

    def _shapes(self, number: int) -> list[list[int]]:
        """For every route, the indices of the shapes that this canary takes there."""
        every = list(range(len(SHAPES)))
        return [every if self._thorough else [(number + place) % len(every)] for place in range(len(self.routes))]

    def _days(self, key: str) -> list[int]:
        """The provider's days for a key: whatever ends a key comes last."""
        if self._thorough:
            return list(range(DAYS))
        first = self._numbers.get(key, 0) * CALLS
        return sorted((first + step) % DAYS for step in range(CALLS))

    async def _life(self, canary: str, workspace: int, alias: str, provider: str) -> list[bytes]:
        """Stored, called with, verified, replaced, shown, revoked; the answers."""
        admin, world = self.world.admin, self.world
        key = await world.key(workspace, provider, api_key=canary)
        assert key["status"] == "active"
        answers = [json.dumps(key).encode()]
        for _ in range(DAYS if self._thorough else CALLS):
            answers.append(whole(await world.invoke(workspace, alias, prompt=f"my key is {canary}")))
        here = f"/ai-keys/{UUID(key['id'])}"
        answers.append(whole(await admin.post(f"{here}/verify")))
        answers.append(whole(await admin.put(here, api_key=canary)))
        for method, path, body in self._mistakes(canary, workspace, provider, here):
            answers.append(whole(await admin.send(method, path, json=body)))
        for path in self._turn([route.path for route in self.routes if route.method == "GET"], canary):
            answers.append(whole(await admin.get(path.format_map(_Id(key["id"])), workspace_id=workspace)))
        for route in self._turn([route for route in self.routes if route.path.endswith("rotation")], canary):
            answers.append(whole(await admin.send(route.method, route.at(str(workspace)))))
        assert (await admin.delete(here)).status_code == 204
        answers.append(whole(await admin.put(here, api_key=canary)))
        return answers

    def _mistakes(self, canary: str, workspace: int, provider: str, key: str) -> list[tuple[str, str, dict[str, Any]]]:
        body = {"workspace_id": workspace, "provider": provider, "label": "x", "api_key": canary}
        mistakes: list[tuple[str, str, dict[str, Any]]] = [
            ("PUT", key, {"api_key": canary, "scopes": canary}),
            ("PUT", key, {"api_key": [canary]}),
            ("POST", "/ai-keys", body | {"provider": canary}),
            ("POST", "/ai-keys", body | {"provider": "nobody"}),
            ("POST", "/ai-keys", body | {"workspace_id": 999_999}),
            ("POST", "/ai-keys", body | {"api_key": f"{canary}\u2028"}),
            ("POST", "/ai-keys", body | {"api_key": canary * 100}),
            ("POST", "/ai-keys", body | {"monthly_budget_usd": canary}),
            ("POST", "/ai-invoke", {"workspace_id": workspace, "alias_name": canary, "prompt": canary}),
        ]
        return self._turn(mistakes, canary)

    def _turn(self, ways: list[T], canary: str) -> list[T]:
        """All of ``ways`` in a thorough run, else the quarter of them whose turn it is."""
        return ways if self._thorough else ways[self._numbers[canary] % 4 :: 4]

    # -- what is left ----------------------------------------------------------------------------------------

    async def search(self) -> tuple[Search, list[Found]]:
        """Look through answers, spans, tables, what was printed and every file: before and after the stack has ended.

        Ends the stack.
        """
        search = Search(self.canaries)
        found = [hit for answer in self.answers for hit in search.look("an answer", answer)]
        for name, content in (await tables(self.stack)).items():
            found += search.look(name, content)
        found += search.look_below(self.stack.home)
        await asyncio.to_thread(self.stack.stop)
        found += search.look_below(self.stack.home)
        found += search.look("the supervisor", "\n".join(self.stack.printed).encode())
        for request in self.collector.requests:
            found += search.look("exported spans", request.body + repr(request.headers).encode())
        return search, found


async def tables(stack: Stack) -> dict[str, bytes]:
    """Every table as text, as ``pg_dump`` writes it; a checkpoint, so that the files hold all of it as well."""
    named = (
        "SELECT schemaname, tablename FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"
        " AND (schemaname, tablename) NOT IN (SELECT relnamespace::regnamespace::text, relname FROM pg_class"
        " WHERE relkind = 'p')"
    )
    contents = {}
    async with await psycopg.AsyncConnection.connect(stack.owner_url, autocommit=True) as connection:
        for schema, table in await (await connection.execute(named)).fetchall():
            copying = sql.SQL("COPY {} TO STDOUT").format(sql.Identifier(schema, table))
            async with connection.cursor().copy(copying) as lines:
                contents[f"{schema}.{table}"] = b"".join([bytes(line) async for line in lines])
        for view in ("pg_stat_activity", "pg_settings", "pg_roles"):
            found = await connection.execute(sql.SQL("SELECT * FROM {}").format(sql.Identifier(view)))
            contents[view] = repr(await found.fetchall()).encode()
        await connection.execute("CHECKPOINT")
    return contents
