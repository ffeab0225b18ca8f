"""With a collector: one trace over every hop. And 20 canary keys on every path, searched for wherever bytes stay."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from shared.testing.stack import Stack
from shared.testing.upstream import Answer, Upstream, json_answer
from tests.e2e.world import CHAT, World, accept_keys, chat_answer, connected, eventually, ok, openai_error

TRACES = "/v1/traces"
CANARIES = 20


class Watched:
    """A stack whose spans arrive at ``collector``."""

    def __init__(self, stack: Stack, world: World, collector: Upstream) -> None:
        self.stack, self.world, self.collector = stack, world, collector

    def spans(self) -> list[dict[str, str]]:
        """Every span so far: service, name, ids in hex."""
        found = []
        for request in self.collector.requests:
            for resource in ExportTraceServiceRequest.FromString(request.body).resource_spans:
                names = [item.value.string_value for item in resource.resource.attributes if item.key == "service.name"]
                found += [
                    {
                        "service": names[0].removeprefix("omnipost-"),
                        "name": span.name,
                        "trace": span.trace_id.hex(),
                        "id": span.span_id.hex(),
                        "parent": span.parent_span_id.hex(),
                    }
                    for scope in resource.scope_spans
                    for span in scope.spans
                ]
        return found


@pytest.fixture(scope="module")
async def watched(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Watched]:
    async with Upstream() as collector:
        collector.always("POST", TRACES, Answer())
        environment = {
            "OMNIPOST_ALLOWED_PRIVATE_HOSTS": "127.0.0.1",
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.base_url,
            "LOG_LEVEL": "debug",
        }
        home = tmp_path_factory.mktemp("watched") / "home"
        stack = await asyncio.to_thread(Stack.start, home, environment=environment)
        try:
            async with connected(stack) as world:
                yield Watched(stack, world, collector)
        finally:
            await asyncio.to_thread(stack.stop)


async def test_one_trace_over_every_hop(watched: Watched) -> None:
    world = watched.world
    workspace = await world.workspace()
    async with Upstream() as bad, Upstream() as good:
        for upstream in (bad, good):
            accept_keys(upstream)
        bad.always("POST", CHAT, openai_error(500, "server_error"))
        good.always("POST", CHAT, chat_answer())
        providers = [await world.provider(bad), await world.provider(good)]
        for provider in providers:
            await world.key(workspace, provider)
        alias = await world.alias(workspace, *providers)
        ok(await world.invoke(workspace, alias))
        rows = await world.calls(workspace, 2)
    [trace_id] = {row["trace_id"] for row in rows}

    async def whole() -> list[dict[str, str]] | None:
        # Every process sends its spans when it likes. The tree is there when it has one root, both settlements, and an
        # answer for every question: a leaf that is still missing leaves no orphan behind.
        mine = [span for span in watched.spans() if span["trace"] == trace_id]
        settled = [span for span in mine if span["service"] == "metering" and "CallFinished" in span["name"]]
        ids = {span["id"] for span in mine}
        roots = [span["parent"] for span in mine if span["parent"] not in ids]
        asked = sorted(span["name"].removesuffix(" ask") for span in mine if span["name"].endswith(" ask"))
        answered = sorted(span["name"].removesuffix(" answer") for span in mine if span["name"].endswith(" answer"))
        return mine if len(settled) == 2 and roots == [""] and asked == answered else None

    spans = await eventually(whole)
    by_id = {span["id"]: span for span in spans}
    roots = [span for span in spans if span["parent"] not in by_id]
    assert [(span["service"], span["name"]) for span in roots] == [("api", "POST /ai-invoke")]
    hops = {(by_id[span["parent"]]["service"], span["service"]) for span in spans if span["parent"] in by_id}
    print("hops", sorted(hops), "spans", len(spans))
    assert {("api", "router"), ("router", "vault"), ("router", "metering")} <= hops
    assert len([span for span in spans if span["name"] == "chat m"]) == 2


async def test_an_incoming_traceparent_is_continued(watched: Watched) -> None:
    world = watched.world
    workspace = await world.workspace()
    async with Upstream() as upstream:
        accept_keys(upstream)
        upstream.always("POST", CHAT, chat_answer())
        provider = await world.provider(upstream)
        await world.key(workspace, provider)
        alias = await world.alias(workspace, provider)
        trace_id = "0af7651916cd43dd8448eb211c80319c"
        body = {"workspace_id": workspace, "alias_name": alias, "prompt": "x"}
        headers = {"traceparent": f"00-{trace_id}-b7ad6b7169203331-01"}
        ok(await world.admin.send("POST", "/ai-invoke", json=body, headers=headers))
        [row] = await world.calls(workspace, 1)
        assert row["trace_id"] == trace_id


async def test_canary_keys_are_nowhere(watched: Watched) -> None:
    world, stack = watched.world, watched.stack
    canaries = [f"sk-canary+{number:02d}/Zq7{number * 7919 + 104729:x}==Kw" for number in range(CANARIES)]
    answers: list[str] = []
    for canary in canaries:
        answers += await _everywhere(world, canary)
    assert len(answers) > 20 * CANARIES
    tables = await _dump(stack)
    await asyncio.to_thread(stack.stop)

    kept = {
        "responses": "\n".join(answers).encode(),
        "tables": tables,
        "spans": b"".join(request.body for request in watched.collector.requests),
        "logs": b"".join(file.read_bytes() for file in (stack.home / "log").iterdir()),
        "files": _files(stack.home),
    }
    forms = {canary: _forms(canary) for canary in canaries}
    found = [
        (place, canary, name)
        for place, content in kept.items()
        for canary, spelled in forms.items()
        for name, form in spelled.items()
        if form in content
    ]
    sizes = ", ".join(f"{place} {len(content)} bytes" for place, content in kept.items())
    print(f"canaries={len(canaries)} answers={len(answers)} found={len(found)} in {sizes}")
    assert not found
    control = {"responses": b"masked_key", "tables": b"chat", "spans": b"chat m", "logs": b"api", "files": b"chat"}
    assert not [place for place, known in control.items() if known not in kept[place]], "the search finds what is there"


def _forms(canary: str) -> dict[str, bytes]:
    raw = canary.encode()
    forms = {
        "raw": raw,
        "hex": raw.hex().encode(),
        "HEX": raw.hex().upper().encode(),
        "url": quote(canary, safe="").encode(),
        "url+": quote_plus(canary).encode(),
        "json": json.dumps(canary).strip('"').replace("/", "\\/").encode(),
        "utf16": canary.encode("utf-16-le"),
    }
    for shift in range(3):
        # What base64 makes of the key does not depend on its neighbours, but for the first and last characters.
        text = base64.b64encode(b"\0" * shift + raw + b"\0\0")
        inner = text[4 : 4 * ((shift + len(raw)) // 3)]
        forms[f"base64-{shift}"] = inner
        forms[f"base64url-{shift}"] = inner.replace(b"+", b"-").replace(b"/", b"_")
    return forms


def _files(home: Path) -> bytes:
    """The database's files and write-ahead log, JetStream's store, configuration and secrets."""
    return b"".join(file.read_bytes() for file in home.rglob("*") if file.is_file() and "log" not in file.parts[-2:-1])


async def _dump(stack: Stack) -> bytes:
    tables = await stack.query(
        "SELECT schemaname, tablename FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"
    )
    rows = []
    for schema, table in tables:
        rows += [str(row) for row in await stack.query(f'SELECT t::text FROM "{schema}"."{table}" t')]
    return "\n".join(rows).encode()


async def _everywhere(world: World, canary: str) -> list[str]:
    """Use one canary on every path that can see a key, the failing ones included; the texts that came back."""
    admin, seen = world.admin, []
    workspace = await world.workspace()
    json_type = {"content-type": "application/json"}
    async with Upstream() as upstream:
        accept_keys(upstream)
        provider = await world.provider(upstream)
        key = await world.key(workspace, provider, api_key=canary)
        alias = await world.alias(workspace, provider, time_limits={"first_byte_s": 0.3, "last_first_byte_s": 0.3})
        seen.append(json.dumps(key))
        echo = json.dumps({"error": {"message": f"{canary} is bad", "code": canary, "type": canary}}).encode()
        upstream.script("POST", CHAT, *_bad_days(canary, echo))
        for _ in range(13):
            seen.append((await world.invoke(workspace, alias, prompt=f"my key is {canary}")).text)
        upstream.always("GET", "/v1/models", Answer(401, body=echo))
        seen.append((await admin.post(f"/ai-keys/{key['id']}/verify")).text)
        seen.append((await admin.put(f"/ai-keys/{key['id']}", api_key=canary)).text)
        seen.append((await admin.put(f"/ai-keys/{key['id']}", api_key=canary, scopes=canary)).text)
        for path in ("/ai-keys", "/ai-usage", "/ai-usage/calls", "/ai-usage/export", "/ai-aliases", "/ai-providers"):
            seen.append((await admin.get(path, workspace_id=workspace)).text)
        for path in ("/ai-keys", "/ai-invoke", "/ai-aliases", "/ai-providers", "/ai-tokens"):
            for content in (f'{{"api_key": "{canary}"', f'{{"{canary}": 1}}', f'["{canary}"]', canary):
                seen.append((await admin.send("POST", path, content=content.encode(), headers=json_type)).text)
        bad = {"workspace_id": canary, "provider": canary, "label": "x", "api_key": canary, "scopes": {canary: True}}
        seen.append((await admin.post("/ai-keys", **bad)).text)
        seen.append((await admin.post("/ai-keys", workspace_id=workspace, provider="nobody", api_key=canary)).text)
        seen.append((await admin.post("/ai-keys", workspace_id=999_999, provider=provider, api_key=canary)).text)
        seen.append((await admin.get(f"/ai-keys/{quote(canary, safe='')}")).text)
        seen.append((await world.caller(canary).get("/ai-keys")).text)
        seen.append((await admin.get("/ai-usage/calls", workspace_id=workspace, cursor=canary)).text)
        assert (await admin.delete(f"/ai-keys/{key['id']}")).status_code == 204
    return seen


def _bad_days(canary: str, echo: bytes) -> list[Answer]:
    """What a provider may do to a call, with the key in it wherever a provider could put it."""
    return [
        chat_answer(),
        chat_answer(f"your key is {canary}"),
        Answer(500, body=echo),
        Answer(429, body=echo),
        Answer(400, body=echo),
        Answer(302, {"location": f"http://127.0.0.1:1/{canary}"}),
        Answer(body=canary.encode()),
        json_answer({"choices": canary}),
        chat_answer(hang=True),
        chat_answer(cut_after=20),
        chat_answer(reset=True),
        Answer(401, body=echo),
    ]
