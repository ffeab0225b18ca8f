"""Two workspaces, every route, every role, every id: nobody is let in who may not, and nothing crosses."""

import asyncio
import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any
from uuid import uuid4

import httpx2

from services.api.domain.access import Role
from shared.testing.stack import Stack
from shared.testing.upstream import Upstream, json_answer
from tests.e2e.isolation import METHODS, OPEN, ROUTES, STATUSES, WORKSPACE_ROLES, Side, Somebody, rows_of
from tests.e2e.world import CHAT, World, answer_everything, eventually, ok

AT_ONCE = 16


@dataclass
class Tally:
    """What happened, to be printed and judged at the end."""

    requests: int = 0
    refused: int = 0
    own_reads: int = 0
    cross_reads: int = 0
    cross_writes: int = 0


@dataclass(frozen=True)
class Matrix:
    """Two sides, everybody, and the stack they meet on."""

    world: World
    stack: Stack
    sides: tuple[Side, Side]
    everybody: tuple[Somebody, ...]
    tally: Tally

    def other(self, side: Side) -> Side:
        """The one across."""
        return self.sides[1] if side is self.sides[0] else self.sides[0]

    async def ask(self, who: Somebody, name: str, side: Side, **more: Any) -> httpx2.Response:
        """Send ``name`` (method and path) as ``who`` about ``side``; what comes back of the other side is counted."""
        method, _, path = name.partition(" ")
        path = path.format(**side.ids())
        route = ROUTES.get(name)
        request = {**(route.request(who, side) if route else {}), **more}
        response = await who.caller.send(method, path, **request)
        self.tally.requests += 1
        asked = path + json.dumps(request)
        for home in self.sides:
            if who.workspace == home.workspace:
                theirs = self.other(home).secrets
                # An error may say back what was asked, nothing else.
                self.tally.cross_reads += any(secret in response.text and secret not in asked for secret in theirs)
                self.tally.own_reads += any(secret in response.text and secret not in asked for secret in home.secrets)
        return response


async def test_every_route_for_every_role_on_every_id_of_two_workspaces(world: World, stack: Stack) -> None:
    document = ok(await world.caller(None).get("/openapi.json"))
    names = {f"{method.upper()} {path}" for path, methods in document["paths"].items() for method in methods}
    assert names == set(ROUTES) | OPEN, "every route has a row in tests/e2e/isolation.py"
    async with Upstream() as upstream:
        answer_everything(upstream)
        provider = await world.provider(upstream, capabilities=["chat", "embedding"])
        sides = (await _side(world, provider, "left"), await _side(world, provider, "right"))
        for side in sides:
            await _leave_open(world, stack, upstream, side)
            await _add_webhook(world, upstream, side)
        matrix = Matrix(world, stack, sides, tuple(await _everybody(world, stack, sides)), Tally())
        await _all_that_must_be_refused(matrix)
        for side in sides:
            await _all_that_is_allowed(matrix, side)
        await _other_methods(matrix, document["paths"])
        await _what_is_the_platforms(matrix)
    tally = matrix.tally
    print(f"isolation: requests={tally.requests} refused={tally.refused} "
          f"cross_reads={tally.cross_reads} cross_writes={tally.cross_writes}")  # fmt: skip
    assert tally.refused > 500
    assert tally.own_reads > 50, "what is searched for does occur in answers"
    assert (tally.cross_reads, tally.cross_writes) == (0, 0)


async def _all_that_must_be_refused(matrix: Matrix) -> None:
    for side in matrix.sides:
        await _settled(matrix, side)
    before = _snapshot(matrix, matrix.sides)
    gate = asyncio.Semaphore(AT_ONCE)

    async def refuse(who: Somebody, name: str, side: Side) -> None:
        async with gate:
            response = await matrix.ask(who, name, side)
        expected = STATUSES[ROUTES[name].verdict(who, side)]
        assert response.status_code in expected, (who.name, name, response.status_code, response.text)
        assert response.headers["content-type"] == f"application/{'' if ' /v1/' in name else 'problem+'}json"
        matrix.tally.refused += 1

    cases = [
        (who, name, side)
        for who in matrix.everybody for name, route in ROUTES.items() for side in matrix.sides
        if route.verdict(who, side) != "allowed"
    ]  # fmt: skip
    await asyncio.gather(*(refuse(*case) for case in cases))
    matrix.tally.cross_writes += _written(before, _snapshot(matrix, matrix.sides))


async def _all_that_is_allowed(matrix: Matrix, side: Side) -> None:
    other = matrix.other(side)
    await _settled(matrix, other)
    before, mine_before = _snapshot(matrix, [other]), _snapshot(matrix, [side])
    for name, route in ROUTES.items():
        for who in matrix.everybody:
            if route.named != "nowhere" and route.verdict(who, side) == "allowed":
                about = await _disposable(matrix.world, side, name) if route.destroys else side
                response = await matrix.ask(who, name, about)
                told = (who.name, name, response.status_code, response.text)
                assert response.status_code in STATUSES["allowed"], told
    for who in matrix.everybody:
        if who.workspace == side.workspace:
            await _borrow_ids(matrix, who, side, other)
    matrix.tally.cross_writes += _written(before, _snapshot(matrix, [other]))
    assert len(_changes(mine_before, _snapshot(matrix, [side]))) > 5, "a change would be seen"


async def _settled(matrix: Matrix, side: Side) -> None:
    """Its own calls are accounted for, so that what changes from now on was changed by others."""
    held = "SELECT 1 FROM metering.reservations WHERE workspace_id = %s AND state = 'held'"
    unsent = "SELECT 1 FROM api.webhook_deliveries WHERE workspace_id = %s AND status = 'pending'"

    async def none_is_open() -> bool | None:
        found = [await matrix.stack.query(query, side.workspace) for query in (held, unsent)]
        return None if any(found) else True

    await eventually(none_is_open)


async def _borrow_ids(matrix: Matrix, who: Somebody, mine: Side, theirs: Side) -> None:
    """Asking about one's own workspace with the other's ids, where the request is allowed and the id is not."""
    calls = (await matrix.world.admin.get("/ai-usage/calls", workspace_id=theirs.workspace)).json()["items"]
    assert calls, "the other side has something to see"
    filters = {"key_id": theirs.key_id, "alias_name": theirs.alias_name, "call_id": calls[0]["call_id"]}
    for name, value in filters.items():
        query = {"params": {"workspace_id": mine.workspace, name: value}}
        assert ok(await matrix.ask(who, "GET /ai-usage/calls", mine, **query))["items"] == []
    query = {"params": {"workspace_id": mine.workspace, "key_id": theirs.key_id}}
    audit = await matrix.ask(who, "GET /ai-audit", mine, **query)
    if audit.status_code == 200:
        assert audit.json()["items"] == []
    figures = {"workspace_id": mine.workspace, "cost_usd": 0, "input_tokens": 0, "output_tokens": 0}
    told = await matrix.ask(who, f"POST /ai-usage/unknown/{theirs.attempt_id}/reconcile", mine, json=figures)
    assert told.status_code in (403, 404)
    body = {"workspace_id": mine.workspace, "alias_name": theirs.alias_name, "prompt": "x"}
    assert (await matrix.ask(who, "POST /ai-invoke", mine, json=body)).status_code in (403, 404)


async def _other_methods(matrix: Matrix, paths: dict[str, dict[str, Any]]) -> None:
    for who in matrix.everybody:
        for path, methods in paths.items():
            for method in METHODS:
                if method.lower() not in methods:
                    response = await matrix.ask(who, f"{method} {path}", matrix.sides[0])
                    expected = 405 if who.role or f"GET {path}" in OPEN else 401  # strangers learn nothing
                    assert response.status_code == expected, (who.name, method, path, response.status_code)
                    matrix.tally.refused += 1


async def _what_is_the_platforms(matrix: Matrix) -> None:
    """Last, because rewrapping data keys and the like touches every workspace."""
    for name, route in ROUTES.items():
        for who in matrix.everybody:
            if route.named == "nowhere" and route.verdict(who, matrix.sides[0]) == "allowed":
                response = await matrix.ask(who, name, matrix.sides[0])
                assert response.status_code in STATUSES["allowed"], (who.name, name, response.text)


# -- who and what --------------------------------------------------------------------------------------------


async def _side(world: World, provider: str, name: str) -> Side:
    mark = f"{name}-{uuid4().hex[:12]}"
    workspace: int = ok(await world.admin.post("/ai-workspaces", name=mark), 201)["id"]
    side = Side(workspace, mark, provider)
    side.key_id = (await world.key(workspace, provider, label=mark))["id"]
    await world.alias(workspace, provider, alias_name=mark, display_name=mark)
    side.alias_name, side.embeds = mark, f"{mark}-e"
    await world.alias(workspace, provider, alias_name=side.embeds, capability="embedding")
    aliases = ok(await world.admin.get("/ai-aliases", workspace_id=workspace))["items"]
    side.alias_id = next(alias["id"] for alias in aliases if alias["alias_name"] == mark)
    token = ok(await world.admin.post("/ai-tokens", workspace_id=workspace, role="viewer", name=mark), 201)
    side.token_id = token["id"]
    ok(await world.invoke(workspace, mark))
    await world.calls(workspace, 1)
    side.secrets |= {mark, side.key_id, token["id"], token["token"], *(alias["id"] for alias in aliases)}
    return side


async def _leave_open(world: World, stack: Stack, upstream: Upstream, side: Side) -> None:
    """A call nobody knows the cost of and whose content is stored, and a dead letter."""
    here = f"/ai-workspaces/{side.workspace}/retention"
    ok(await world.admin.put(here, store_content=True))
    upstream.script("POST", CHAT, json_answer({"choices": [{"message": {"content": "x"}, "finish_reason": "stop"}]}))
    ok(await world.invoke(side.workspace, side.alias_name))
    await world.calls(side.workspace, 2)
    unknown = ok(await world.admin.get("/ai-usage/unknown", workspace_id=side.workspace))["items"]
    side.attempt_id = unknown[0]["attempt_id"]
    stored = "SELECT 1 FROM metering.ai_call_contents WHERE attempt_id = %s"
    await eventually(lambda: _found(stack, stored, side.attempt_id))
    # So that nothing more is written behind the calls that follow.
    ok(await world.admin.put(here, store_content=False))
    rows = await stack.query(
        "INSERT INTO metering.dead_letters (received_at, subject, reason, body, fingerprint, delivered)"
        " VALUES (now(), 's', 'r', %s, %s, 1) RETURNING id",
        side.mark.encode(),
        side.mark.encode(),
    )
    side.letter_id = str(rows[0][0])


async def _add_webhook(world: World, upstream: Upstream, side: Side) -> None:
    """A webhook whose receiver takes everything, and a delivery that has arrived there."""
    upstream.always("POST", "/hook", json_answer({}))
    side.receiver = f"{upstream.base_url}/hook?of={side.mark}"
    hook = ok(await world.admin.post("/ai-webhooks", workspace_id=side.workspace, url=side.receiver), 201)
    side.webhook_id = hook["id"]
    sent = ok(await world.admin.post(f"/ai-webhooks/{side.webhook_id}/test"), 202)
    side.delivery_id = sent["id"]
    side.secrets |= {side.webhook_id, side.delivery_id, hook["secret"]}


async def _found(stack: Stack, query: str, value: str) -> bool | None:
    return bool(await stack.query(query, value)) or None


async def _everybody(world: World, stack: Stack, sides: Iterable[Side]) -> list[Somebody]:
    everybody = [
        Somebody("the platform's admin", world.admin, Role.PLATFORM_ADMIN),
        Somebody("nobody", world.caller(None)),
        Somebody("somebody with a made-up token", world.caller(f"omni_{uuid4().hex}{uuid4().hex}")),
    ]
    for side in sides:
        for role in WORKSPACE_ROLES:
            caller = world.caller((await _token(world, side, role))["token"])
            everybody.append(Somebody(f"{role} of {side.mark}", caller, role, side.workspace))
        expired, revoked = await _token(world, side, Role.OWNER), await _token(world, side, Role.OWNER)
        await stack.query(
            "UPDATE api.access_tokens SET expires_at = now() - interval '1 second' WHERE id = %s RETURNING 1",
            expired["id"],
        )
        assert (await world.admin.delete(f"/ai-tokens/{revoked['id']}")).status_code == 204
        everybody.append(Somebody(f"an expired owner of {side.mark}", world.caller(expired["token"])))
        everybody.append(Somebody(f"a revoked owner of {side.mark}", world.caller(revoked["token"])))
    return everybody


async def _token(world: World, side: Side, role: Role) -> dict[str, Any]:
    body = {"workspace_id": side.workspace, "role": role.value, "name": side.mark}
    return ok(await world.admin.post("/ai-tokens", **body), 201)


async def _disposable(world: World, side: Side, name: str) -> Side:
    """``side`` with something new for ``name`` to destroy."""
    if "{key_id}" in name:
        return replace(side, key_id=(await world.key(side.workspace, side.provider, label=side.mark))["id"])
    if "{token_id}" in name:
        return replace(side, token_id=(await _token(world, side, Role.VIEWER))["id"])
    if "{alias_id}" in name:
        body = {"primary_provider": side.provider, "primary_model": "m", "alias_name": f"d-{uuid4().hex}"}
        made = ok(await world.admin.post("/ai-aliases", workspace_id=side.workspace, **body), 201)
        return replace(side, alias_id=made["id"])
    if "{webhook_id}" in name:
        url = {"workspace_id": side.workspace, "url": side.receiver}
        return replace(side, webhook_id=ok(await world.admin.post("/ai-webhooks", **url), 201)["id"])
    assert "{workspace_id}" in name, f"say here what {name} may destroy"
    return replace(side, workspace=await world.workspace())


def _snapshot(matrix: Matrix, sides: Iterable[Side]) -> dict[str, list[str]]:
    return {
        f"{side.mark} {table}": rows
        for side in sides
        for table, rows in rows_of(matrix.stack.owner_url, side.workspace).items()
    }


def _changes(before: dict[str, list[str]], after: dict[str, list[str]]) -> list[str]:
    return [table for table in before.keys() | after.keys() if before.get(table) != after.get(table)]


def _written(before: dict[str, list[str]], after: dict[str, list[str]]) -> int:
    """How many tables changed; what changed in them is printed, for whoever has to find out why."""
    changed = _changes(before, after)
    for table in changed:
        rows = set(before.get(table, [])) ^ set(after.get(table, []))
        print(f"isolation: {table} changed: {sorted(rows)[:4]}")
    return len(changed)
