"""Streams that are ended from our side: the provider sees it within milliseconds, whatever it is doing."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import aclosing, suppress
from datetime import timedelta
from pathlib import Path
from time import perf_counter

import pytest

from services.router.client import ProviderClient
from services.router.cuts import Cuts
from services.router.providers.base import Failure
from services.router.sending import Limits
from shared.clock import SystemClock
from shared.messages.vocabulary import Outcome
from shared.testing.certificates import Authority
from shared.testing.upstream import Upstream, stream_answer
from tests.providers.listening import AUTH, LIMITS, PATH, REQUEST, Ear, event, listen

STREAMS = 200
AT_ONCE_S = 0.05


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    async with Upstream() as serving:
        yield serving


@pytest.fixture
async def client(upstream: Upstream) -> AsyncIterator[ProviderClient]:
    async with aclosing(ProviderClient(frozenset({upstream.host}))) as opened:
        yield opened


def _trusting(authority: Authority) -> ProviderClient:
    client = ProviderClient(frozenset({"127.0.0.1"}))
    client._connections._tls.load_verify_locations(cadata=authority.trusted)
    return client


@pytest.mark.parametrize("waits", ["for the provider", "for the listener"])
async def test_a_key_that_ends_cuts_its_stream(client: ProviderClient, upstream: Upstream, waits: str) -> None:
    cuts, ear = Cuts(), Ear(door=None if waits == "for the provider" else asyncio.Event())
    upstream.script("POST", PATH, stream_answer(event("a"), hang=True))
    listening = asyncio.create_task(
        client.stream(upstream.base_url + "/v1", REQUEST, AUTH, LIMITS, ear, cuts.using(1, "k"))
    )
    await ear.knocked.wait()
    began = perf_counter()
    cuts.end(1, "k")
    delivery = await listening
    await upstream.left(1)
    took = perf_counter() - began
    print(f"\na stream is closed {1000 * took:.1f} ms after its key has ended")
    assert (delivery.result, delivery.sent) == (Failure(Outcome.KEY_REVOKED, detail="key_revoked"), True)
    assert took < AT_ONCE_S


async def test_cancelled_streams_are_closed_at_once(client: ProviderClient, upstream: Upstream) -> None:
    chance, slowest, parts = random.Random(4), 0.0, [event("word")] * 40  # noqa: S311 - no secret
    for number in range(STREAMS):
        cut = chance.randrange(sum(map(len, parts)))
        upstream.script("POST", PATH, stream_answer(*parts, hang=True, cut_after=cut))
        listening = asyncio.create_task(listen(client, upstream.base_url, Ear()))
        await upstream.arrival(number + 1)
        for _ in range(chance.randrange(20)):
            await asyncio.sleep(0)
        began = perf_counter()
        listening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await listening
        await upstream.left(number + 1)
        slowest = max(slowest, perf_counter() - began)
    print(f"\n{STREAMS} streams cancelled at random moments: the slowest was closed after {1000 * slowest:.1f} ms")
    assert slowest < 1.0
    assert upstream.leavings == STREAMS


async def test_a_stalled_stream_is_closed_too(client: ProviderClient, upstream: Upstream) -> None:
    ear = Ear(door=asyncio.Event())
    upstream.script("POST", PATH, stream_answer(*[event("x" * 65_000)] * 200))
    listening = asyncio.create_task(listen(client, upstream.base_url, ear))
    await ear.knocked.wait()
    listening.cancel()
    with suppress(asyncio.CancelledError):
        await listening
    async with asyncio.timeout(1):
        await upstream.left(1)


async def test_over_tls_nobody_waits_for_a_farewell(tmp_path: Path) -> None:
    authority, gone = Authority(tmp_path), asyncio.Event()
    async with Upstream(authority.server()) as upstream, aclosing(_trusting(authority)) as client:
        upstream.script("POST", PATH, stream_answer(event("a"), hang=True))
        deaf = asyncio.Event()

        async def between(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            there, here = await asyncio.open_connection("127.0.0.1", upstream.port)

            async def back() -> None:
                while data := await there.read(65_536):
                    writer.write(data)

            answering = asyncio.create_task(back())
            with suppress(ConnectionError):
                while data := await reader.read(65_536):
                    if not deaf.is_set():
                        here.write(data)
            gone.set()
            answering.cancel()
            here.close()
            writer.close()

        server = await asyncio.start_server(between, "127.0.0.1", 0)
        async with server:
            ear = Ear()
            url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            listening = asyncio.create_task(listen(client, url, ear))
            await ear.knocked.wait()
            deaf.set()
            began = perf_counter()
            listening.cancel()
            async with asyncio.timeout(5):
                await gone.wait()
            took = perf_counter() - began
            print(f"\na TLS stream is closed {1000 * took:.1f} ms after its cancellation, without the provider's help")
            assert took < AT_ONCE_S


@pytest.mark.parametrize("flaw", ["of nobody's", "expired"])
async def test_a_bad_certificate_gets_nothing(tmp_path: Path, flaw: str) -> None:
    authority = Authority(tmp_path)
    until = SystemClock().now() - timedelta(hours=1) if flaw == "expired" else None
    trusting = _trusting(authority) if flaw == "expired" else ProviderClient(frozenset({"127.0.0.1"}))
    async with Upstream(authority.server(until)) as upstream, aclosing(trusting) as client:
        delivery = await listen(client, upstream.base_url, Ear(), Limits(connect_s=3, first_byte_s=3, total_s=5))
        assert (delivery.result, delivery.sent) == (Failure(Outcome.CONNECTION_ERROR, detail="tls_failed"), False)
        assert not upstream.requests
