"""Another OmniPost service on the bus: it calls, streams and cancels in its workspaces, and can do nothing else."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

import nats
import pytest

from shared.errors import Code, OmniError
from shared.invoking import Invoking, connected, new_call_id
from shared.messages.chat import ChatMessageV1
from shared.messages.events import KeyInvalidV1
from shared.messages.router import InvokedV1, InvokeV1
from shared.permissions import inbox_prefix
from shared.testing.stack import ROOT, Stack
from shared.testing.upstream import Upstream
from tests.e2e.test_streaming import streamed, upstreams
from tests.e2e.world import CHAT, World, chat_answer

NAME = "composer"


def give(stack: Stack, workspaces: str, name: str = NAME) -> str:
    """Run ``make guest`` for a running stack; what it prints."""
    command = ["/usr/bin/env", f"OMNIPOST_HOME={stack.home}", sys.executable, "-m", "deploy.local.guests", name]
    ran = subprocess.run(
        [*command, "--workspaces", workspaces], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    )
    return ran.stdout


def seed_of(stack: Stack) -> Path:
    return stack.home / "secrets" / f"nkey-guest.{NAME}.seed"


def question(workspace: int, alias: str, *, stream: bool = False) -> InvokeV1:
    message = ChatMessageV1(role="user", content="Hello!")
    return InvokeV1(workspace_id=workspace, call_id=new_call_id(), alias_name=alias, messages=(message,), stream=stream)


@asynccontextmanager
async def guest_of(stack: Stack, world: World) -> AsyncIterator[tuple[Invoking, int, str, Upstream]]:
    """A guest that is given one workspace, and an alias there."""
    async with AsyncExitStack() as open_until_the_end:
        workspace, alias, (upstream,) = await open_until_the_end.enter_async_context(upstreams(world, 1))
        assert f"workspaces {workspace}, at once" in give(stack, str(workspace))
        omnipost = await open_until_the_end.enter_async_context(_reachable(stack))
        yield omnipost, workspace, alias, upstream


@asynccontextmanager
async def _reachable(stack: Stack) -> AsyncIterator[Invoking]:
    # The server reads its users again a moment after it was told.
    async with asyncio.timeout(10):
        while True:
            with suppress(OmniError):
                async with connected(stack.nats_url, NAME, seed_of(stack)):
                    break
    async with connected(stack.nats_url, NAME, seed_of(stack)) as omnipost:
        yield omnipost


async def test_a_guest_calls_and_streams(stack: Stack, world: World) -> None:
    async with guest_of(stack, world) as (omnipost, workspace, alias, upstream):
        upstream.script("POST", CHAT, chat_answer("Whole."), streamed("In ", "parts."))
        whole = await omnipost.invoke(question(workspace, alias))
        async with omnipost.invoke_in_parts(question(workspace, alias, stream=True)) as pieces:
            heard = [piece.text async for piece in pieces]
        assert (whole.text, "".join(heard), pieces.final.text) == ("Whole.", "In parts.", "In parts.")
        rows = await world.calls(workspace, 2)
        assert {row["call_id"] for row in rows} == {whole.call_id, pieces.final.call_id}


async def test_leaving_a_stream_ends_the_call(stack: Stack, world: World) -> None:
    async with guest_of(stack, world) as (omnipost, workspace, alias, upstream):
        upstream.always("POST", CHAT, streamed("One", last=b"", hang=True))
        before = upstream.leavings
        async with omnipost.invoke_in_parts(question(workspace, alias, stream=True)) as pieces:
            assert (await anext(pieces)).text == "One"
        await asyncio.wait_for(upstream.left(before + 1), 5)
        (row,) = await world.calls(workspace, 1)
        assert row["outcome"] == "cancelled"


async def test_a_guest_reaches_no_other_workspace(stack: Stack, world: World) -> None:
    async with guest_of(stack, world) as (omnipost, workspace, _, upstream), upstreams(world, 1) as theirs:
        other, their_alias, (their_upstream,) = theirs
        with pytest.raises(OmniError) as refused:
            await asyncio.wait_for(omnipost.invoke(question(other, their_alias)), 5)
        assert refused.value.code is Code.FORBIDDEN
        # In a subject of its own a guest may say anything, so the router compares.
        smuggled = question(other, their_alias).model_dump_json().encode()
        answer = await omnipost.client.request(f"ai.invoke.{workspace}", smuggled, timeout=5)
        assert (answer.headers or {})["Omnipost-Problem"] == "forbidden"
        give(stack, f"{workspace},{other}")
        their_upstream.always("POST", CHAT, chat_answer("Theirs."))
        assert (await _once_given(omnipost, question(other, their_alias))).text == "Theirs."
        posts = [one for one in (*upstream.requests, *their_upstream.requests) if one.method == "POST"]
        assert len(posts) == 1


async def test_a_guest_hears_its_events_and_nothing_else(stack: Stack, world: World) -> None:
    async with guest_of(stack, world) as (_, workspace, _, _):
        denied: list[str] = []

        async def failed(error: Exception) -> None:
            denied.append(str(error).lower())

        seed = seed_of(stack).read_text().strip()
        prefix = inbox_prefix(f"guest.{NAME}")
        client = await nats.connect(stack.nats_url, nkeys_seed_str=seed, inbox_prefix=prefix, error_cb=failed)
        mine = KeyInvalidV1.subject.format(workspace_id=workspace)
        forbidden = ["ai.events.>", "ai.events.*.key_invalid.v1", "ai.invoke.*", f"ai.invoke.{workspace}", ">"]
        forbidden += ["_INBOX_api.>", "_INBOX_guest.other.>", "ai.vault.>", "ai.router.streams.*.v1"]
        for subject in (mine, *forbidden):
            await client.subscribe(subject)
        for subject in (mine, "ai.vault.lease.v1", "ai.metering.reserve.v1", "$JS.API.INFO", "ai.calls.finished.v1"):
            await client.publish(subject, b"{}")
        await client.flush()
        await client.flush()
        await client.close()
        assert sum("subscription" in line for line in denied) == len(forbidden), denied
        assert sum("publish" in line for line in denied) == 5, denied
        assert not [line for line in denied if f'subscription to "{mine}"' in line]


async def test_the_example_of_the_documentation_runs_until_its_credentials_are_taken(
    stack: Stack, tmp_path: Path
) -> None:
    give(stack, "1000")
    async with _reachable(stack):
        pass
    kept = tmp_path / "kept.seed"
    kept.write_bytes(seed_of(stack).read_bytes())
    code, said = await _example(stack, kept)
    print(f"\n{said}")
    assert code == 0, said
    assert "You said: A post about rain" in said
    assert "You said: A post about sun" in said
    assert "has no access any more, at once" in give(stack, "")
    async with asyncio.timeout(30):
        while code == 0:
            code, said = await _example(stack, kept)
    assert (code, "cannot be reached" in said, "Traceback" in said) == (1, True, False), said


async def _example(stack: Stack, seed: Path) -> tuple[int | None, str]:
    example = [sys.executable, str(ROOT / "docs/examples/composer.py"), str(seed), stack.nats_url]
    ran = await asyncio.create_subprocess_exec(
        "/usr/bin/env", f"PYTHONPATH={ROOT}", *example, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    said = (await asyncio.wait_for(ran.communicate(), 60))[0].decode()
    return ran.returncode, said


async def _once_given(omnipost: Invoking, asked: InvokeV1) -> InvokedV1:
    async with asyncio.timeout(10):
        while True:
            with suppress(OmniError):
                return await omnipost.invoke(asked)
