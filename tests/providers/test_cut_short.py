"""Requests that are ended from our side: their key has ended, or they could not begin in time."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest

from services.router.client import ProviderClient
from services.router.cuts import Cuts
from services.router.providers.base import Failure, billing_of
from services.router.sending import TOO_LATE, Limits
from shared.clock import SystemClock
from shared.messages.vocabulary import Billing, Outcome
from shared.testing.upstream import Answer, Upstream
from tests.providers.test_client import BODY, GOOD, PATH, REQUEST

LIMITS = Limits(connect_s=3, first_byte_s=3, total_s=5)


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    async with Upstream() as serving:
        yield serving


@pytest.fixture
async def client(upstream: Upstream) -> AsyncIterator[ProviderClient]:
    async with aclosing(ProviderClient(frozenset({upstream.host}))) as opened:
        yield opened


async def test_with_a_key_that_has_ended_nothing_is_sent(client: ProviderClient, upstream: Upstream) -> None:
    cuts = Cuts()
    cuts.end(1, "k")
    delivery = await client.send(upstream.base_url, REQUEST, {}, LIMITS, cuts.using(1, "k"))
    assert delivery.result == Failure(Outcome.MISSING_KEY, detail="key_revoked")
    assert (delivery.sent, upstream.connections) == (False, 0)


async def test_a_key_that_ends_while_connecting_is_not_sent(client: ProviderClient, upstream: Upstream) -> None:
    cuts, connected = Cuts(), asyncio.Event()

    async def handshake(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)  # of a TLS hello that is never answered
        connected.set()
        await reader.read()
        writer.close()

    server = await asyncio.start_server(handshake, "127.0.0.1", 0)
    async with server, aclosing(ProviderClient(frozenset({"127.0.0.1"}))) as trusting:
        base_url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        sending = asyncio.create_task(trusting.send(base_url, REQUEST, {}, LIMITS, cuts.using(1, "k")))
        await connected.wait()
        cuts.end(1, "k")
        delivery = await sending
    assert delivery.result == Failure(Outcome.MISSING_KEY, detail="key_revoked")
    assert not delivery.sent
    assert delivery.latency_ms < 1000


@pytest.mark.parametrize("answer", [Answer(hang=True), Answer(body=BODY, cut_after=9, hang=True)])
async def test_a_key_that_ends_cuts_its_own_connections(
    client: ProviderClient, upstream: Upstream, answer: Answer
) -> None:
    cuts, url = Cuts(), upstream.base_url + "/v1"
    upstream.always("POST", PATH, answer)
    mine = asyncio.create_task(client.send(url, REQUEST, {}, LIMITS, cuts.using(1, "mine")))
    await upstream.arrival(1)
    [connection] = upstream._serving
    other = asyncio.create_task(client.send(url, REQUEST, {}, LIMITS, cuts.using(1, "other")))
    await upstream.arrival(2)
    cuts.end(1, "mine")
    delivery = await mine
    assert (delivery.sent, delivery.result) == (True, Failure(Outcome.KEY_REVOKED, detail="key_revoked"))
    assert billing_of(Failure(Outcome.KEY_REVOKED), sent=True) is Billing.UNKNOWN
    async with asyncio.timeout(1):
        await asyncio.wait({connection})
    assert not other.done()
    assert [*cuts.under_way()] == [(1, "other")]
    other.cancel()


async def test_a_cut_is_not_the_callers_own_cancellation(client: ProviderClient, upstream: Upstream) -> None:
    cuts = Cuts()
    upstream.always("POST", PATH, Answer(hang=True))
    for end_too in (False, True):
        sending = asyncio.create_task(client.send(upstream.base_url + "/v1", REQUEST, {}, LIMITS, cuts.using(1, "k")))
        await upstream.arrival(len(upstream.requests) + 1)
        if end_too:
            cuts.end(1, "k")
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
    assert not cuts.under_way()


async def test_what_cannot_start_in_time_is_not_sent(client: ProviderClient, upstream: Upstream) -> None:
    clock = SystemClock()
    upstream.always("POST", PATH, GOOD)
    assert (await client.send(upstream.base_url + "/v1", REQUEST, {}, LIMITS)).sent  # a kept connection is there
    for start_in_s in (-1.0, 0.0):
        limits = Limits(connect_s=3, first_byte_s=3, total_s=5, start_by=clock.monotonic() + start_in_s)
        delivery = await client.send(upstream.base_url + "/v1", REQUEST, {}, limits)
        assert (delivery.sent, delivery.result) == (False, TOO_LATE)
        assert billing_of(TOO_LATE, sent=delivery.sent) is Billing.NOTHING
    slow = Limits(connect_s=3, first_byte_s=3, total_s=5, start_by=clock.monotonic() + 0.3)
    delivery = await client.send(f"https://{upstream.host}/v1", REQUEST, {}, slow)  # its handshake never ends
    assert (delivery.sent, delivery.result) == (False, TOO_LATE)
    assert delivery.latency_ms < 1500
    assert len(upstream.requests) == 1
