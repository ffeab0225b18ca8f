"""``omnipost``: every command against a real stack and a provider on loopback."""

import asyncio
import csv
import hashlib
import json
import os
import re
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from shared.testing.stack import Stack
from shared.testing.upstream import Upstream, json_answer
from tests.e2e.canaries import Search, draw
from tests.e2e.commands import Line
from tests.e2e.test_streaming import streamed
from tests.e2e.world import CHAT, World, accept_keys, chat_answer, ok, openai_error

KEY, OTHER_KEY, TOKEN = draw(3, seed=11)
ESCAPE = "\x1b"


@dataclass
class Place:
    """An owner's command line in a workspace of its own, whose provider is ``upstream``."""

    line: Line
    workspace: int
    provider: str
    upstream: Upstream
    token: str


@asynccontextmanager
async def place(world: World, stack: Stack) -> AsyncIterator[Place]:
    """A workspace without keys and aliases of its own."""
    async with Upstream() as upstream:
        accept_keys(upstream)
        upstream.always("POST", CHAT, chat_answer())
        workspace = await world.workspace()
        provider = await world.provider(upstream)
        body = {"workspace_id": workspace, "role": "owner", "name": "command line"}
        token = ok(await world.admin.post("/ai-tokens", **body), 201)["token"]
        line = Line({"OMNIPOST_URL": stack.base_url, "OMNIPOST_TOKEN": token})
        yield Place(line, workspace, provider, upstream, token)


async def with_alias(here: Place) -> str:
    """A key, and an alias that uses it."""
    await here.line.ok("keys", "add", here.provider, stdin=KEY)
    await here.line.ok("aliases", "set", "writer", "--target", f"{here.provider}/m")
    return "writer"


@pytest.mark.timeout(400)  # some thirty processes are started one after the other, maybe beside other tests
async def test_every_command_speaks_json(world: World, stack: Stack, tmp_path: Path) -> None:
    async with place(world, stack) as here:
        run = here.line.ok
        added = (
            await run("keys", "add", here.provider, "--label", "Main", "--monthly-usd", "5", "--json", stdin=KEY)
        ).value
        assert (added["status"], added["monthly_budget_usd"], added["scopes"]["text"]) == ("active", 5.0, True)
        assert [key["id"] for key in (await run("keys", "list", "--json")).values] == [added["id"]]
        assert (await run("keys", "verify", added["id"][:8], "--json")).value["status"] == "active"
        rotated = (await run("keys", "rotate", "Main", "--json", stdin=f"{OTHER_KEY}\n")).value
        assert rotated["version"] == added["version"] + 1
        made = (await run("aliases", "set", "writer", "-t", f"{here.provider}/m", "--json")).value
        changed = (await run("aliases", "set", "writer", "--prefer", "cost", "--json")).value
        assert (changed["id"], changed["routing_preference"], changed["primary_model"]) == (made["id"], "cost", "m")
        assert made["id"] in [alias["id"] for alias in (await run("aliases", "list", "--json")).values]
        (target,) = (await run("aliases", "explain", "writer", "Hello!", "--json")).value["targets"]
        assert target["would_be_tried"] is True
        here.upstream.script("POST", CHAT, streamed("Hello ", "back."))
        answer = (await run("invoke", "writer", "Hello!", "--json")).value
        assert (answer["output"]["text"], answer["provider"]) == ("Hello back.", here.provider)
        (row,) = await world.calls(here.workspace, 1)
        assert (await run("calls", "tail", "--no-follow", "--json")).values == [row]
        report = (await run("usage", "--by", "model", "--json")).value
        assert report["totals"]["requests"] == report["days"][0]["requests"] == report["groups"][0]["requests"] == 1
        exported = (await run("export", str(tmp_path / "calls.ndjson"), "--json")).value
        body = (tmp_path / "calls.ndjson").read_bytes()
        assert (exported["rows"], exported["sha256"]) == (1, hashlib.sha256(body).hexdigest())
        assert json.loads(body) == row
        token = (await run("tokens", "add", "robot", "--role", "viewer", "--json")).value
        assert token["token"].startswith("omni_")
        assert {one["name"] for one in (await run("tokens", "list", "--json")).values} == {"command line", "robot"}
        assert (await run("tokens", "revoke", "robot", "--yes", "--json")).value["id"] == token["id"]
        assert (await run("budgets", "resume", "--json")).value == {"key_id": None, "halted": None}
        assert (await run("rotate", "--workspace", str(here.workspace), "--json")).value["keys"] == 1
        assert here.provider in [one["id"] for one in (await run("providers", "--json")).values]
        assert (await run("health", "--json")).value["status"] == "ready"
        assert (await run("aliases", "remove", "writer", "--yes", "--json")).value["removed"] is True
        assert (await run("keys", "revoke", added["id"], "--yes", "--json")).value["status"] == "revoked"
        print(f"\n{len(here.line.commands)} commands speak JSON")
        assert_no_canary(here)


async def test_people_get_tables_without_colour_in_a_pipe(world: World, stack: Stack, tmp_path: Path) -> None:
    async with place(world, stack) as here:
        run = here.line.ok
        await with_alias(here)
        assert (await run("invoke", "writer", "-", stdin="Hello!")).out == "Hello back.\n"
        assert here.upstream.requests[-1].json["messages"] == [{"role": "user", "content": "Hello!"}]
        await world.calls(here.workspace, 1)
        assert "key" in (await run("keys", "list")).out.lower()
        assert f"{here.provider}/m" in (await run("aliases", "list")).out
        assert "be tried" in (await run("aliases", "explain", "writer")).out
        tail = (await run("calls", "tail", "--no-follow")).out
        assert re.fullmatch(
            rf"[\d-]+ [\d:]+  writer  {here.provider}/m  success  10 → 5 tokens  \$\S+  \d+ m?s\n", tail
        )
        usage = (await run("usage")).out
        assert "1 requests" in usage
        assert "▁█\n" in usage
        for command in ("tokens list", "rotate -w 1", "providers", "health", f"export {tmp_path}/c.csv"):
            named = command.replace("-w 1", f"-w {here.workspace}").split()
            assert (await run(*named)).out
        with (tmp_path / "c.csv").open(newline="") as file:
            assert [row["outcome"] for row in csv.DictReader(file)] == ["success"]
        made = await run("tokens", "add", "robot")
        assert re.fullmatch(r"omni_\S+\n", made.out), "the token alone, so that it can be put in a file"
        assert not [said for said in here.line.said if ESCAPE in said]
        assert_no_canary(here)


async def test_budgets_are_bars(world: World, stack: Stack) -> None:
    async with place(world, stack) as here:
        await with_alias(here)
        body = {"workspace_id": here.workspace, "monthly_budget_requests": 10}
        ok(await world.admin.put("/ai-budgets/workspace", **body))
        for _ in range(8):
            await here.line.ok("invoke", "writer", "x")
        shown = (await here.line.ok("usage")).out
        assert re.search(r"workspace +month +█{19}░{5}   80% 8 of 10 requests, anew 20\d\d-\d\d-01", shown), shown
        _, colourful = await here.line.on_terminal("usage")
        assert f"{ESCAPE}[33m███████████████████░░░░░{ESCAPE}[0m" in colourful


async def test_exit_codes_say_who_must_act(world: World, stack: Stack) -> None:
    async with place(world, stack) as here:
        run = here.line.run
        assert (await run("keys", "lst")).code == 2
        assert (await run("invoke", "writer")).code == 2
        assert (await run("export", "/nowhere/calls.csv")).code == 2
        assert (await run("aliases", "set", "x", "-t", "nothing")).code == 2
        refused = await run("invoke", "nobody", "x", "--json")
        assert (refused.code, refused.error["code"], refused.out) == (3, "not_found", "")
        assert refused.error["request_id"]
        await here.line.ok("aliases", "set", "writer", "-t", f"{here.provider}/m")
        lacking = await run("invoke", "writer", "x")
        assert (lacking.code, "omnipost keys add" in lacking.err) == (3, True)
        await with_alias(here)
        here.upstream.always("POST", CHAT, openai_error(400, "billing_not_active"))
        failed = await run("invoke", "writer", "x")
        assert (failed.code, f"{here.provider}/m: " in failed.err) == (5, True)
        assert (await run("keys", "list", "--url", "http://127.0.0.1:9")).code == 4
        nobody = Line({"OMNIPOST_URL": stack.base_url, "OMNIPOST_TOKEN": "omni_nobody-at-all"})
        unknown = await nobody.run("keys", "list")
        assert (unknown.code, "OMNIPOST_TOKEN" in unknown.err, "nobody-at-all" in unknown.err) == (3, True, False)
        assert (await Line({"OMNIPOST_HOME": "/nowhere"}).run("keys", "list")).code == 2
        with_yes = await run("keys", "revoke", "x" * 8)
        assert (with_yes.code, (await run("aliases", "remove", "writer")).code) == (3, 2)


async def test_the_local_stack_is_found(stack: Stack) -> None:
    line = Line({"OMNIPOST_HOME": str(stack.home)})
    assert (await line.ok("invoke", "sandbox-echo", "Hi", "-w", "1000")).out == "[simulated] You said: Hi\n"
    assert (await line.ok("keys", "list", "--json")).code == 0
    assert not [said for said in line.said if stack.admin_token in said]


async def test_ctrl_c_ends_the_call_at_the_provider(world: World, stack: Stack) -> None:
    async with place(world, stack) as here:
        alias = await with_alias(here)
        here.upstream.always("POST", CHAT, streamed("One ", last=b"", hang=True))
        process = await here.line.start("invoke", alias, "x")
        assert process.stdout is not None
        assert await asyncio.wait_for(process.stdout.read(4), 30) == b"One "
        before = here.upstream.leavings
        process.send_signal(signal.SIGINT)
        await asyncio.wait_for(here.upstream.left(before + 1), 5)
        _, err = await process.communicate()
        assert (process.returncode, b"Traceback" in err) == (130, False)
        (row,) = await world.calls(here.workspace, 1)
        assert row["outcome"] == "cancelled"


async def test_a_reader_that_leaves_ends_it_quietly(world: World, stack: Stack) -> None:
    async with place(world, stack) as here:
        for command in (("providers", "--json"), ("providers",)):
            ours, theirs = os.pipe()
            process = await here.line.start(*command, stdout=theirs)
            os.close(theirs)
            os.close(ours)
            _, err = await process.communicate()
            assert (process.returncode, err) == (141, b"")


async def test_following_shows_new_calls_once_and_newest_last(world: World, stack: Stack) -> None:
    async with place(world, stack) as here:
        alias = await with_alias(here)
        await here.line.ok("invoke", alias, "x")
        await world.calls(here.workspace, 1)
        process = await here.line.start("calls", "tail", "--json")
        assert process.stdout is not None
        shown = [json.loads(await asyncio.wait_for(process.stdout.readline(), 30))]
        for _ in range(2):
            await here.line.ok("invoke", alias, "x")
            shown.append(json.loads(await asyncio.wait_for(process.stdout.readline(), 30)))
        process.send_signal(signal.SIGINT)
        rest, _ = await process.communicate()
        assert (process.returncode, rest) == (130, b"")
        assert shown == list(reversed(await world.calls(here.workspace, 3)))


async def test_a_key_is_typed_without_echo(world: World, stack: Stack) -> None:
    async with place(world, stack) as here:
        code, shown = await here.line.on_terminal("keys", "add", here.provider, typed=f"{KEY}\n", after="API key: ")
        assert (code, "active" in shown) == (0, True), shown
        assert f"{ESCAPE}[32mactive" in shown
        misplaced = await here.line.run("keys", "add", here.provider, OTHER_KEY)
        assert (misplaced.code, "does not belong on the command line" in misplaced.err) == (2, True)
        for wrong in (("keys", "verify", OTHER_KEY), ("tokens", "revoke", OTHER_KEY), ("keys", "rotate", OTHER_KEY)):
            assert (await here.line.run(*wrong)).code == 3
        assert_no_canary(here)


async def test_an_answer_does_not_steer_the_terminal(world: World, stack: Stack) -> None:
    async with place(world, stack) as here:
        alias = await with_alias(here)
        here.upstream.always("POST", CHAT, streamed("a\x1b]0;owned\x07b", "\x1b[2Jc"))
        code, shown = await here.line.on_terminal("invoke", alias, "x")
        assert (code, shown.splitlines()[0]) == (0, "a]0;ownedb[2Jc")
        assert (await here.line.ok("invoke", alias, "x")).out == "a\x1b]0;owned\x07b\x1b[2Jc\n"


@pytest.mark.parametrize("body", [[], {"items": [{}]}, {"items": 5}], ids=str)
async def test_a_crash_shows_no_token(body: object) -> None:
    async with Upstream() as upstream:
        upstream.always("GET", "*", json_answer(body))
        line = Line({"OMNIPOST_URL": upstream.base_url, "OMNIPOST_TOKEN": TOKEN})
        crashed = await line.run("keys", "list")
        assert (crashed.code, "Traceback" in crashed.err) == (1, True)
        assert upstream.requests[-1].headers["authorization"] == f"Bearer {TOKEN}"
    assert Search([TOKEN]).look("output", "".join(line.said).encode()) == []


def assert_no_canary(here: Place) -> None:
    """Neither a key nor the token stands in anything that was said."""
    said = "".join(here.line.said).encode()
    assert Search([KEY, OTHER_KEY]).look("output", said) == []
    assert here.token.encode() not in said
    print(f"\n0 hits of two keys and a token in {len(said):,} bytes of output")
