"""JetStream belongs to the deployment: it makes the streams, again when they are gone, and nobody else can touch them.

Whoever asks JetStream anything names the subject of the answer. So every service's user tries all it may say, with
every answer sent to where it may not speak.
"""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from time import monotonic
from typing import Any
from uuid import uuid4

import nats
import pytest
from nats.aio.client import Client
from nats.js.errors import NotFoundError

from deploy import streams
from shared.messages import RECORDS
from shared.messages.base import Service
from shared.messages.router import CallFinishedV1
from shared.messages.vault import RevokeKeyV1
from shared.permissions import OPERATOR, inbox_prefix, permissions_of
from shared.testing.stack import ROOT, Stack
from shared.testing.upstream import Upstream
from tests.e2e.world import CHAT, World, accept_keys, chat_answer, eventually, ok

BUCKET = "ai_router_breakers"
WHOLE_BUCKET = f"$JS.API.DIRECT.GET.KV_{BUCKET}"
BACK_WITHIN_S = 5.0
EVIL = json.dumps({"name": "EVIL", "subjects": ["ai.vault.>"], "storage": "memory"}).encode()


async def _quiet(_: Exception) -> None:
    """Refusals are expected here."""


@asynccontextmanager
async def _as(stack: Stack, service: Service) -> AsyncIterator[Client]:
    seed = (stack.home / "secrets" / f"nkey-{service}.seed").read_text().strip()
    client = await nats.connect(
        stack.nats_url, nkeys_seed_str=seed, inbox_prefix=inbox_prefix(service), error_cb=_quiet
    )
    try:
        yield client
    finally:
        await client.close()


@asynccontextmanager
async def _operator(stack: Stack) -> AsyncIterator[Client]:
    client = await streams.connected(stack.nats_url, stack.home / "secrets" / f"nkey-{OPERATOR}.seed")
    try:
        yield client
    finally:
        await client.close()


async def _all_there_is(operator: Client) -> dict[str, Any]:
    """Every stream by name: when it was made, how it is set, what was purged from it, and who reads it."""
    context = operator.jetstream()
    found = {}
    for item in await context.streams_info():
        name = str(item.config.name)
        consumers = [(one.name, one.created, one.config) for one in await context.consumers_info(name)]
        found[name] = (item.created, item.config, consumers)
    return found


async def _forget_questions(operator: Client) -> None:
    """What a consumer's own user has asked it without a limit would get the next records: its place is made anew."""
    for item in streams.declared():
        if item.consumer is not None:
            await operator.jetstream().delete_consumer(item.name, str(item.consumer.durable_name))
    await eventually(lambda: _all_back(operator, {item.name for item in streams.declared()}), within_s=BACK_WITHIN_S)


async def _kept(operator: Client) -> int:
    return (await operator.jetstream().stream_info(f"KV_{BUCKET}")).state.messages


async def _keep(router: Client, body: bytes) -> str:
    subject = f"$KV.{BUCKET}.{uuid4().hex}.v1"
    # What is not on the disk yet cannot be repeated.
    await router.jetstream().publish(subject, body)
    return subject


def _targets() -> list[str]:
    names = [item.name for item in streams.declared()]
    api = [f"$JS.API.STREAM.{verb}.{name}" for name in names for verb in ("DELETE", "PURGE", "UPDATE")]
    return [*api, "$JS.API.STREAM.CREATE.EVIL", "$JS.API.CONSUMER.CREATE.CALLS", "$JS.API.CONSUMER.DELETE.CALLS.x"]


@pytest.mark.parametrize("service", list(Service))
async def test_no_answer_reaches_jetstream(stack: Stack, service: Service) -> None:
    sayable = [subject.replace("*", "7").replace(">", "7") for subject in permissions_of(service).publish]
    async with _operator(stack) as operator, _as(stack, Service.ROUTER) as router, _as(stack, service) as hostile:
        # Kept for the readers that start later: a purge would be seen here.
        kept = [await _keep(router, body) for body in (b"", EVIL, b"{}")]
        before, count = await _all_there_is(operator), await _kept(operator)
        tries = 0
        for subject in sayable:
            questions = [json.dumps({"last_by_subj": one}).encode() for one in kept] if subject == WHOLE_BUCKET else []
            # An empty record would hold up those behind it, which is no harm but to who says it.
            empty = [] if subject in {record.subject for record in RECORDS} else [b""]
            for question in [*empty, b"{}", *questions]:
                for target in _targets():
                    await hostile.publish(subject, question, reply=target)
                    tries += 1
        await hostile.flush()
        # What was answered late would come before this.
        await asyncio.sleep(0.5)
        assert await _all_there_is(operator) == before
        assert await _kept(operator) >= count
        print(f"{service}: answers sent to JetStream's API={tries} streams changed=0 purged=0")
        await _forget_questions(operator)


async def test_the_same_tries_would_work_within_one_account(stack: Stack) -> None:
    """Otherwise nothing above could fail: the operator's account is the one where these subjects mean something."""
    async with _operator(stack) as operator:
        context = operator.jetstream()
        made = await operator.request("$JS.API.STREAM.CREATE.EVIL", EVIL.replace(b"ai.vault.>", b"nothing.>"))
        assert b'"error"' not in made.data
        assert "EVIL" in await _all_there_is(operator)
        assert await context.delete_stream("EVIL")


async def test_what_jetstream_repeats_is_no_request(stack: Stack, world: World) -> None:
    async with Upstream() as upstream:
        accept_keys(upstream)
        workspace = await world.workspace()
        key = await world.key(workspace, await world.provider(upstream))
    body = RevokeKeyV1(workspace_id=workspace, key_id=key["id"]).model_dump_json().encode()
    ignored = stack.log("vault").count("request ignored")
    async with _as(stack, Service.ROUTER) as router:
        kept = await _keep(router, body)
        question = json.dumps({"last_by_subj": kept}).encode()
        await router.publish(WHOLE_BUCKET, question, reply=RevokeKeyV1.subject)
        await router.flush()
        await eventually(lambda: _logged(stack, "vault", "request ignored", ignored), within_s=5)
    assert (await _status(world, workspace, key["id"])) == "active"
    async with _as(stack, Service.API) as api:
        await api.publish(RevokeKeyV1.subject, body, reply=f"{inbox_prefix(Service.METERING)}.x")
        await eventually(lambda: _logged(stack, "vault", "request ignored", ignored + 1), within_s=5)
        assert (await _status(world, workspace, key["id"])) == "active"
        # The very same body, asked by whom it may be asked.
        await api.request(RevokeKeyV1.subject, body, timeout=5)
    assert (await _status(world, workspace, key["id"])) == "revoked"
    print("requests repeated by JetStream or answered elsewhere: 2, carried out: 0")


async def test_what_jetstream_repeats_is_no_record(stack: Stack) -> None:
    dropped, call_id = stack.log("metering").count("not said by its owner"), str(uuid4())
    record = CallFinishedV1.model_validate({**CallFinishedV1.example, "attempt_id": call_id, "call_id": call_id})
    async with _as(stack, Service.ROUTER) as router:
        kept = await _keep(router, record.model_dump_json().encode())
        question = json.dumps({"last_by_subj": kept}).encode()
        await router.publish(WHOLE_BUCKET, question, reply=CallFinishedV1.subject)
        await router.flush()
        await eventually(lambda: _logged(stack, "metering", "not said by its owner", dropped), within_s=25)
    assert not await _settled(stack, call_id)
    print("records repeated by JetStream: 1, taken for the router's: 0")


async def test_streams_deleted_while_running_come_back(stack: Stack, world: World) -> None:
    async with Upstream() as upstream, _operator(stack) as operator:
        accept_keys(upstream)
        upstream.always("POST", CHAT, chat_answer())
        workspace = await world.workspace()
        provider = await world.provider(upstream)
        await world.key(workspace, provider)
        alias = await world.alias(workspace, provider)
        wanted = {item.name for item in streams.declared()}
        context = operator.jetstream()
        for name in sorted(wanted):
            await context.delete_stream(name)
        began = monotonic()
        answered = ok(await world.invoke(workspace, alias))
        await eventually(lambda: _all_back(operator, wanted), within_s=20)
        seconds = monotonic() - began
        await eventually(lambda: _settled(stack, answered["call_id"]), within_s=20)
        print(f"streams back after {seconds:.2f} s, the call made meanwhile settled after {monotonic() - began:.2f} s")
        assert seconds <= BACK_WITHIN_S
        await context.delete_consumer("CALLS", "metering-calls")
        await eventually(lambda: _all_back(operator, wanted), within_s=BACK_WITHIN_S)


async def test_the_command_makes_nothing_twice_and_says_what_is_missing(stack: Stack) -> None:
    seed = stack.home / "secrets" / f"nkey-{OPERATOR}.seed"
    code, said = await _command(stack, OMNIPOST_NATS_OPERATOR_SEED_FILE=str(seed))
    assert (code, said.strip().rpartition("made: ")[2]) == (0, "none")
    service = stack.home / "secrets" / f"nkey-{Service.METERING}.seed"
    code, said = await _command(stack, OMNIPOST_NATS_OPERATOR_SEED_FILE=str(service))
    assert code == 1
    for item in streams.declared():
        assert f"nats stream add {item.name}" in said
    assert "nats consumer add CALLS metering-calls" in said


async def _command(stack: Stack, **environment: str) -> tuple[int | None, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "deploy.streams",
        cwd=ROOT,
        env={"PATH": os.defpath, "NATS_URL": stack.nats_url, **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    return process.returncode, said.decode()


async def _logged(stack: Stack, part: str, what: str, more_than: int) -> bool | None:
    return (await asyncio.to_thread(stack.log, part)).count(what) > more_than or None


async def _status(world: World, workspace: int, key_id: str) -> str:
    return str(ok(await world.admin.get(f"/ai-keys/{key_id}", workspace_id=workspace))["status"])


async def _all_back(operator: Client, wanted: set[str]) -> bool | None:
    with suppress(NotFoundError):
        found = await _all_there_is(operator)
        read = [name for name, (_, _, consumers) in found.items() if consumers]
        return (wanted <= set(found) and {"ALERTS", "CALLS"} <= set(read)) or None
    return None


async def _settled(stack: Stack, call_id: str) -> bool | None:
    rows = await stack.query("SELECT 1 FROM metering.ai_call_logs WHERE call_id::text = %s", call_id)
    return bool(rows) or None
