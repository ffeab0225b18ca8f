"""Server-sent events at the edge, over real sockets: as slow as the client, given up the moment it leaves."""

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvicorn
from fastapi import FastAPI
from starlette.requests import Request
from starlette.routing import Route

from services.api.http import errors
from services.api.http.sse import EventStream
from shared.errors import Code, OmniError
from shared.messages.chat import ContinuedV1, DeltaV1, ToolCallDeltaV1
from shared.messages.router import InvokedV1, InvokeV1
from shared.streams import AskerGoneError, Sink
from tests.integration.streams_world import Script, Streams, question, streams_world, whole

Events = list[tuple[str, dict[str, Any]]]


@pytest.fixture(scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Streams]:
    async with streams_world(tmp_path_factory.mktemp("edge-streams")) as made:
        yield made


@pytest.fixture(scope="module")
async def port(world: Streams) -> AsyncIterator[int]:
    """An edge with one route, served as the real one is."""

    async def call(_: Request) -> EventStream:
        return EventStream(lambda: world.api.stream(question(), InvokedV1, timeout=60), 60)

    app = FastAPI(routes=[Route("/", call)])
    errors.install(app)
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, loop="none", http="httptools", lifespan="off", log_config=None))
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    yield listening.getsockname()[1]
    server.should_exit = True
    await serving


@asynccontextmanager
async def asking(port: int, **how: Any) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A client that has sent its request."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, **how)
    writer.write(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
    yield reader, writer
    writer.close()


async def answer_of(port: int) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of an answer."""
    async with asyncio.timeout(20), asking(port) as (reader, _):
        head, _, rest = (await reader.read()).partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    return int(first.split()[1]), headers, _unchunked(rest) if "transfer-encoding" in headers else rest


def _unchunked(body: bytes) -> bytes:
    found: list[bytes] = []
    place = 0
    while length := int(body[place : (line := body.index(b"\r\n", place))], 16):
        found.append(body[line + 2 : line + 2 + length])
        place = line + length + 4
    return b"".join(found)


def events_of(body: bytes) -> Events:
    """The events of a body; comments count as events of their own."""
    found: Events = []
    for block in body.decode().removesuffix("\n\n").split("\n\n"):
        name, _, data = block.partition("\n")
        found.append((name.removeprefix("event: "), json.loads(data.removeprefix("data: ")) if data else {}))
    return found


def telling(*deltas: DeltaV1, then: Exception | None = None) -> Script:
    async def script(request: InvokeV1, sink: Sink | None) -> InvokedV1:
        assert sink is not None
        for delta in deltas:
            await sink.send(delta)
        if then is not None:
            raise then
        return whole(request, "all")

    return script


async def test_pieces_then_the_whole(world: Streams, port: int) -> None:
    mark = ContinuedV1(provider="q", model="n", reason="timeout")
    call = ToolCallDeltaV1(index=0, id="c1", name="f", arguments="{")
    world.script = telling(
        DeltaV1(text="One\n"), DeltaV1(text="twö", continued=mark), DeltaV1(tool_calls=(call,)), DeltaV1()
    )
    status, headers, body = await answer_of(port)
    events = events_of(body)
    assert (status, headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
    assert headers["x-accel-buffering"] == "no"
    assert events[:-1] == [
        ("delta", {"text": "One\n"}),
        ("continued", {"provider": "q", "model": "n", "reason": "timeout"}),
        ("delta", {"text": "twö"}),
        ("delta", {"tool_calls": [{"index": 0, "id": "c1", "name": "f", "arguments": "{"}]}),
    ]
    assert events[-1][0] == "done"
    assert events[-1][1]["output"] == {"text": "all"}
    assert await world.how_it_ended() is None


async def test_a_failure_before_the_first_piece_has_its_own_status(world: Streams, port: int) -> None:
    world.script = telling(then=OmniError(Code.RATE_LIMITED, "Later.", extra={"retry_after_s": 7}))
    status, headers, body = await answer_of(port)
    assert (status, headers["content-type"], headers["retry-after"]) == (429, "application/problem+json", "7")
    assert json.loads(body)["code"] == "rate_limited"
    await world.how_it_ended()


async def test_a_failure_after_it_is_an_event(world: Streams, port: int) -> None:
    world.script = telling(DeltaV1(text="a"), then=OmniError(Code.PROVIDER_ERROR, "No more.", extra={"call_id": "7"}))
    status, _, body = await answer_of(port)
    (_, piece), (name, problem) = events_of(body)
    assert (status, piece, name) == (200, {"text": "a"}, "error")
    assert (problem["code"], problem["status"], problem["call_id"]) == ("provider_error", 502, "7")
    await world.how_it_ended()


async def test_silence_is_filled_with_comments(world: Streams, port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.api.http.sse.SILENCE_S", 0.1)

    async def script(_: InvokeV1, sink: Sink | None) -> InvokedV1:
        assert sink is not None
        await asyncio.sleep(0.45)
        raise OmniError(Code.TIMEOUT, "Too late.")

    world.script = script
    status, _, body = await answer_of(port)
    events = events_of(body)
    assert status == 200
    assert [name for name, _ in events][:3] == [": waiting"] * 3
    assert events[-1][0] == "error"
    assert events[-1][1]["code"] == "timeout"
    await world.how_it_ended()


async def test_a_client_that_leaves_ends_the_call(world: Streams, port: int) -> None:
    async def script(_: InvokeV1, sink: Sink | None) -> InvokedV1:
        assert sink is not None
        await sink.send(DeltaV1(text="x"))
        async with sink.listening():
            await asyncio.Event().wait()
        raise AssertionError

    world.script, slowest = script, 0.0
    for _ in range(50):
        async with asking(port) as (reader, writer):
            await reader.readuntil(b"event: delta")
            writer.transport.abort()
            left = time.perf_counter()
            assert isinstance(await world.how_it_ended(), AskerGoneError)
            slowest = max(slowest, time.perf_counter() - left)
    print(f"\n50 clients left: each call ended within {slowest * 1000:.1f} ms")
    assert slowest < 1


async def test_a_client_that_stops_reading_stops_the_answer(world: Streams, port: int) -> None:
    piece, most = "x" * 16_000, 4_000
    sent: list[int] = []

    async def script(request: InvokeV1, sink: Sink | None) -> InvokedV1:
        assert sink is not None
        async with sink.listening():
            for number in range(most):
                await sink.send(DeltaV1(text=piece))
                sent.append(number)
        return whole(request)

    world.script = script
    small = socket.socket()
    small.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384)
    small.setblocking(False)  # noqa: FBT003 - the socket's own name for it
    await asyncio.get_running_loop().sock_connect(small, ("127.0.0.1", port))
    _, writer = await asyncio.open_connection(sock=small, limit=4096)
    writer.write(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
    before = -1
    while before != len(sent) or not sent:
        before = len(sent)
        await asyncio.sleep(0.5)
    print(f"\nclient stalled: {len(sent)} of {most} pieces given, {len(sent) * len(piece):,} bytes on their way")
    assert len(sent) < most / 4
    writer.transport.abort()
    assert isinstance(await world.how_it_ended(), AskerGoneError)


async def test_how_fast_events_are(world: Streams, port: int) -> None:
    count = 10_000
    piece = DeltaV1(tool_calls=(ToolCallDeltaV1(index=0, arguments="word "),))
    world.script = telling(*[piece] * count)
    began, used = time.perf_counter(), time.process_time()
    _, _, body = await answer_of(port)
    took, used = time.perf_counter() - began, time.process_time() - used
    print(f"\n{count:,} events, router's side, edge and client in one process:", end=" ")
    print(f"{count / took:,.0f} a second, {used / count * 1e6:.0f} µs of CPU each")
    assert body.count(b"event: delta") == count
    assert await world.how_it_ended() is None
