"""Streams from a server that misbehaves: every event is heard once and in order, every fault has its reason."""

import asyncio
import gzip
import json
import zlib
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest

from services.router.client import ProviderClient
from services.router.domain.sse import LARGEST_EVENT
from services.router.providers.base import Failure, HttpAnswer
from services.router.reading import LARGEST_STREAM
from services.router.sending import Limits, Streamed
from shared.messages.vocabulary import Outcome
from shared.testing.upstream import Answer, Upstream, json_answer, stream_answer
from tests.providers.listening import DONE, KEY, LIMITS, PATH, Ear, event, listen

IMPATIENT = Limits(connect_s=3, first_byte_s=0.3, total_s=2, silence_s=0.3)
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
WHOLE = (event("a"), event("ä€𝄞"), DONE)
ONE = b"%x\r\n%b" % (len(event("a")), event("a"))
ZIPPED = {"content-encoding": "gzip"}


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    async with Upstream() as serving:
        yield serving


@pytest.fixture
async def client(upstream: Upstream) -> AsyncIterator[ProviderClient]:
    async with aclosing(ProviderClient(frozenset({upstream.host}))) as opened:
        yield opened


def _zipped(data: bytes) -> Answer:
    return stream_answer(gzip.compress(data), headers=ZIPPED)


def _failed(outcome: Outcome, detail: str) -> Failure:
    return Failure(outcome, 200, detail)


CUT = "cut"
FAULTS: dict[str, tuple[Answer, list[str], Failure | str]] = {
    "headers, then silence": (stream_answer(hang=True), [], _failed(Outcome.TIMEOUT, "first_byte_timeout")),
    "comments, then silence": (
        stream_answer(b": waiting\n\n", hang=True), [], _failed(Outcome.TIMEOUT, "first_byte_timeout"),
    ),
    "comments alone, for ever": (
        stream_answer(*[b": w\n\n"] * 50, drip_s=0.02), [], _failed(Outcome.TIMEOUT, "first_byte_timeout"),
    ),
    "an event that starts nothing, then silence": (
        stream_answer(b"data: {}\n\n", hang=True), [], _failed(Outcome.TIMEOUT, "first_byte_timeout"),
    ),
    "silence in the middle": (stream_answer(event("a"), hang=True), ["a"], _failed(Outcome.TIMEOUT, "silent")),
    "a slow drip": (
        stream_answer(event("a"), *[b": w\n\n"] * 100, drip_s=0.005),
        ["a"], Failure(Outcome.TIMEOUT, None, "total_timeout"),
    ),
    "no headers": (Answer(hang=True), [], Failure(Outcome.TIMEOUT, None, "first_byte_timeout")),
    "cut in an event": (Answer(raw=HEAD + ONE + b'\r\n9\r\ndata: {"t'), ["a"], CUT),
    "cut in a character": (
        Answer(raw=HEAD + b"40\r\n" + event("a") + event("ä")[:-6]), ["a"], CUT,
    ),
    "cut in a chunk header": (Answer(raw=HEAD + ONE + b"\r\n1"), ["a"], CUT),
    "cut between chunks": (Answer(raw=HEAD + ONE + b"\r\n"), ["a"], CUT),
    "a chunk header that is none, at once": (
        Answer(raw=HEAD + ONE + b"\r\nzz\r\n"), [], Failure(Outcome.BAD_RESPONSE, None, "not_http"),
    ),
    "reset": (stream_answer(event("a"), reset=True), ["a"], CUT),
    "reset at once": (Answer(reset=True), [], Failure(Outcome.CONNECTION_ERROR, None, "connection_lost")),
    "closed at once": (Answer(raw=b""), [], Failure(Outcome.CONNECTION_ERROR, None, "connection_lost")),
    "not http": (Answer(raw=b"SSH-2.0-OpenSSH_9.6\r\n\r\n"), [], Failure(Outcome.BAD_RESPONSE, None, "not_http")),
    "no zip": (
        stream_answer(event("a"), headers=ZIPPED), [], _failed(Outcome.BAD_RESPONSE, "not_decodable"),
    ),
    "broken zip": (
        stream_answer(gzip.compress(event("a"))[:-8] + bytes(8), headers=ZIPPED),
        [], _failed(Outcome.BAD_RESPONSE, "not_decodable"),
    ),
    "cut zip": (stream_answer(gzip.compress(event("a"))[:-8], headers=ZIPPED), ["a"], CUT),
    "unknown encoding": (
        stream_answer(event("a"), headers={"content-encoding": "br"}),
        [], _failed(Outcome.BAD_RESPONSE, "not_decodable"),
    ),
    "zip bomb of one event": (
        _zipped(b"data: " + bytes(4 * LARGEST_STREAM)), [], _failed(Outcome.BAD_RESPONSE, "event_too_large"),
    ),
    "zip bomb of comments": (
        _zipped((b": " + b"x" * 1000 + b"\n\n") * 40_000), [], _failed(Outcome.BAD_RESPONSE, "answer_too_large"),
    ),
    "an event too large": (
        stream_answer(b"data: " + b"x" * LARGEST_EVENT + b"\n\n"), [], _failed(Outcome.BAD_RESPONSE, "event_too_large"),
    ),
    "too much": (
        stream_answer(*[b": " + b"x" * 2**20 + b"\n\n"] * 40), [], _failed(Outcome.BAD_RESPONSE, "answer_too_large"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FAULTS)
async def test_fault(client: ProviderClient, upstream: Upstream, name: str) -> None:
    answer, texts, ending = FAULTS[name]
    upstream.script("POST", PATH, answer)
    ear = Ear()
    slow = isinstance(ending, Failure) and ending.outcome is Outcome.TIMEOUT
    delivery = await listen(client, upstream.base_url, ear, IMPATIENT if slow else LIMITS)
    if ending == CUT:
        assert isinstance(delivery.result, Streamed)
        assert not delivery.result.clean
    else:
        assert delivery.result == ending
    assert (ear.texts, delivery.sent) == (texts, True)
    print(f"\nstream fault {name!r}: as expected after {delivery.latency_ms} ms")
    assert delivery.latency_ms < (2500 if slow else 2000)
    upstream.script("POST", PATH, stream_answer(*WHOLE))
    again = Ear()
    assert isinstance((await listen(client, upstream.base_url, again)).result, Streamed)
    assert again.texts == ["a", "ä€𝄞"]


async def test_a_chunk_header_that_is_none_cuts_the_stream() -> None:
    ear = Ear()

    async def babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(HEAD + ONE + b"\r\n")
        await ear.knocked.wait()
        writer.write(b"zz\r\n" + event("b"))
        await reader.read()
        writer.close()

    server = await asyncio.start_server(babble, "127.0.0.1", 0)
    async with server, aclosing(ProviderClient(frozenset({"127.0.0.1"}))) as trusting:
        delivery = await listen(trusting, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", ear)
    assert isinstance(delivery.result, Streamed)
    assert (delivery.result.clean, ear.texts) == (False, ["a"])


@pytest.mark.parametrize("encoding", ["identity", "gzip", "deflate"])
@pytest.mark.parametrize("size", [1, 7, 10_000])
async def test_a_stream_is_heard_however_it_is_sent(
    client: ProviderClient, upstream: Upstream, encoding: str, size: int
) -> None:
    sent = [f"{number} ä€𝄞" for number in range(50)]
    plain = b"".join(event(text) for text in sent)
    body = {"gzip": gzip.compress(plain), "deflate": zlib.compress(plain), "identity": plain}[encoding]
    parts = [body[start : start + size] for start in range(0, len(body), size)]
    upstream.script("POST", PATH, stream_answer(*parts, headers={"content-encoding": encoding, "x-request-id": "r"}))
    ear = Ear()
    result = (await listen(client, upstream.base_url, ear)).result
    assert ear.texts == sent
    assert isinstance(result, Streamed)
    assert (result.status, result.clean, result.headers["x-request-id"]) == (200, True, "r")


async def test_a_zipped_event_is_heard_before_the_next_is_sent(client: ProviderClient, upstream: Upstream) -> None:
    packer, more = zlib.compressobj(wbits=zlib.MAX_WBITS | 16), asyncio.Event()
    first = packer.compress(event("a")) + packer.flush(zlib.Z_SYNC_FLUSH)
    rest = packer.compress(event("b")) + packer.flush()
    upstream.script("POST", PATH, stream_answer(first, more, rest, headers=ZIPPED))
    ear = Ear()
    listening = asyncio.create_task(listen(client, upstream.base_url, ear))
    await ear.knocked.wait()
    more.set()
    assert (await listening).sent
    assert ear.texts == ["a", "b"]


@pytest.mark.parametrize(
    "answer",
    [
        json_answer({"error": {"code": "overloaded"}}),
        json_answer({"error": {"code": "rate"}}, 429, headers={"retry-after": "7"}),
        stream_answer(DONE, status=503),
        Answer(body=b"data: {}\n\n", headers={"content-type": "text/plain"}),
        Answer(body=b"<html>"),
    ],
)
async def test_what_is_no_stream_is_read_whole(client: ProviderClient, upstream: Upstream, answer: Answer) -> None:
    upstream.script("POST", PATH, answer)
    ear = Ear()
    result = (await listen(client, upstream.base_url, ear)).result
    assert isinstance(result, HttpAnswer)
    assert (result.status, ear.raw) == (answer.status, [])
    assert result.body == (DONE if answer.parts else answer.body)


async def test_what_is_asked_for(client: ProviderClient, upstream: Upstream) -> None:
    upstream.script("POST", PATH, stream_answer(*WHOLE))
    await listen(client, upstream.base_url, Ear())
    assert upstream.requests[0].headers["accept"] == "text/event-stream"
    assert upstream.requests[0].headers["authorization"] == f"Bearer {KEY}"


async def test_an_echoed_key_is_cut_out_of_events_and_headers(client: ProviderClient, upstream: Upstream) -> None:
    said = f"data: {json.dumps({'text': f'your key {KEY} and ä', 'part': KEY[-9:]}, ensure_ascii=False)}\n\n"
    parts = [f"event: {KEY}\n".encode(), said.encode()[:30], said.encode()[30:]]
    upstream.script("POST", PATH, stream_answer(*parts, headers={"x-request-id": KEY}))
    ear = Ear()
    result = (await listen(client, upstream.base_url, ear)).result
    assert isinstance(result, Streamed)
    assert "x-request-id" not in result.headers
    assert (ear.texts, ear.raw[0].name) == (["your key [removed] and ä"], "[removed]")
    assert KEY[-9:] not in ear.raw[0].data


async def test_a_listener_that_is_over_need_not_wait(client: ProviderClient, upstream: Upstream) -> None:
    upstream.script("POST", PATH, stream_answer(*WHOLE, event("after"), hang=True), stream_answer(*WHOLE))
    for connections in (1, 2):
        ear = Ear()
        delivery = await listen(client, upstream.base_url, ear)
        assert isinstance(delivery.result, Streamed)
        assert (delivery.result.clean, ear.texts) == (True, ["a", "ä€𝄞"])
        assert delivery.latency_ms < 150
        await asyncio.gather(*client._background)
        assert upstream.connections == connections
    assert upstream.leavings == 1  # of the one that would not end
    upstream.script("POST", PATH, stream_answer(*WHOLE))
    await listen(client, upstream.base_url, Ear())
    assert upstream.connections == 2  # the other one is kept


async def test_a_slow_listener_slows_the_provider_down(client: ProviderClient, upstream: Upstream) -> None:
    ear = Ear(door=asyncio.Event())
    parts = [event("x" * 65_000)] * 400
    upstream.script("POST", PATH, stream_answer(*parts))
    limits = Limits(connect_s=3, first_byte_s=0.5, total_s=20, silence_s=0.5)
    listening = asyncio.create_task(listen(client, upstream.base_url, ear, limits))
    await ear.knocked.wait()
    before, stalled = -1, 0.0
    while before != upstream.body_bytes:
        before = upstream.body_bytes
        await asyncio.sleep(0.8)  # longer than the limits: a slow listener is no silent provider
        stalled += 0.8
    assert before < sum(map(len, parts)) / 2
    print(
        f"\nbackpressure: {before / 2**20:.1f} of 24.8 MiB taken from the server when the listener stalled, "
        f"and no more in {stalled:.1f} s"
    )
    assert ear.door is not None
    ear.door.set()
    result = (await listening).result
    assert isinstance(result, Streamed)
    assert (result.clean, len(ear.texts)) == (True, 400)


async def test_what_the_listener_raises_closes_the_connection(client: ProviderClient, upstream: Upstream) -> None:
    class Deaf(Ear):
        async def hear(self, _heard: object) -> None:
            raise TimeoutError("of the listener's own")

    upstream.script("POST", PATH, stream_answer(event("a"), hang=True))
    with pytest.raises(TimeoutError, match="own"):
        await listen(client, upstream.base_url, Deaf())
    async with asyncio.timeout(1):
        await upstream.left(1)
