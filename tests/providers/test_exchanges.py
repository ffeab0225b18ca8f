"""Answers that take several requests: asked for until they are there, told to stop when nobody wants them any more."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest

from services.router.client import ProviderClient
from services.router.cuts import Cuts
from services.router.providers.base import UNTOLD, ChatAnswer, Failure, HttpAnswer, HttpRequest, Pending
from services.router.sending import Delivery, Limits, Streamed
from shared.clock import SystemClock
from shared.messages.vocabulary import Outcome
from shared.testing.upstream import Answer, Upstream, json_answer, stream_answer
from tests.providers.listening import AUTH, DONE, KEY, LIMITS, Ear, event

CREATE = HttpRequest("POST", "/predictions", {"prefer": "wait=5", "cancel-after": "30s"}, b"{}")
NEW, POLL, STOP = "/v1/predictions", "/v1/predictions/p", "/v1/predictions/p/cancel"
WORKING = json_answer({"status": "working"}, 201)
READY = json_answer({"status": "done", "text": "hi"})
ANSWER = ChatAnswer("hi", "unknown", UNTOLD)


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    async with Upstream() as serving:
        serving.always("POST", NEW, WORKING)
        serving.always("POST", STOP, json_answer({}))
        yield serving


@pytest.fixture
async def client(upstream: Upstream) -> AsyncIterator[ProviderClient]:
    async with aclosing(ProviderClient(frozenset({"127.0.0.1"}))) as opened:
        yield opened


def decode(answer: HttpAnswer) -> ChatAnswer | Failure | Pending:
    body = json.loads(answer.body or b"{}")
    if answer.status >= 400:
        return Failure(Outcome.PROVIDER_ERROR, answer.status, f"http_{answer.status}")
    if body["status"] == "done":
        return ANSWER
    if body["status"] == "failed":
        return Failure(Outcome.PROVIDER_ERROR, answer.status, "failed")
    stop, elsewhere = HttpRequest("POST", "/predictions/p/cancel", {}, b""), body.get("stream")
    follow = HttpRequest("GET", "/predictions/p", dict(AUTH) if elsewhere else {}, b"")
    poll = HttpRequest("GET", "/predictions/p", {}, b"")
    return Pending(follow, 0.0, stop, streams="stream" in body, elsewhere=elsewhere, poll=poll)


async def exchange(
    client: ProviderClient, upstream: Upstream, ear: Ear | None = None, limits: Limits = LIMITS
) -> Delivery[ChatAnswer | Failure | Streamed]:
    return await client.exchange(upstream.base_url + "/v1", CREATE, AUTH, limits, decode, ear)


def _asked(upstream: Upstream) -> list[str]:
    return [f"{request.method} {request.path.removeprefix(NEW)}" for request in upstream.requests]


async def test_an_answer_at_once_is_one_request(client: ProviderClient, upstream: Upstream) -> None:
    upstream.script("POST", NEW, READY)
    delivery = await exchange(client, upstream)
    assert (delivery.result, delivery.sent, _asked(upstream)) == (ANSWER, True, ["POST "])
    assert (upstream.requests[0].headers["prefer"], upstream.requests[0].headers["cancel-after"]) == ("wait=5", "30s")
    assert upstream.requests[0].headers["accept"] == "application/json"


async def test_a_stream_nobody_listens_to_is_polled_instead(client: ProviderClient, upstream: Upstream) -> None:
    elsewhere = f"{upstream.base_url}/elsewhere"
    upstream.script("POST", NEW, json_answer({"status": "working", "stream": elsewhere}, 201))
    upstream.script("GET", POLL, WORKING, READY)
    delivery = await exchange(client, upstream)
    assert delivery.result == ANSWER
    assert _asked(upstream) == ["POST ", "GET /p", "GET /p"]


async def test_it_is_asked_for_until_it_is_there(client: ProviderClient, upstream: Upstream) -> None:
    upstream.script("GET", POLL, WORKING, WORKING, READY)
    # Nothing new may begin after ``start_by``; what goes on may.
    limits = Limits(connect_s=3, first_byte_s=0.25, total_s=5, start_by=SystemClock().monotonic() + 0.15)
    delivery = await exchange(client, upstream, limits=limits)
    assert (delivery.result, delivery.sent) == (ANSWER, True)
    assert _asked(upstream) == ["POST ", "GET /p", "GET /p", "GET /p"]
    assert delivery.latency_ms >= 300
    assert all(request.headers["authorization"] == f"Bearer {KEY}" for request in upstream.requests)


async def test_a_question_that_fails_is_asked_again(client: ProviderClient, upstream: Upstream) -> None:
    trouble = [Answer(status=503), Answer(reset=True), Answer(status=429)]
    upstream.script("GET", POLL, *trouble, WORKING, READY)
    assert (await exchange(client, upstream)).result == ANSWER
    assert _asked(upstream) == ["POST ", *["GET /p"] * 5]


async def test_not_for_ever(client: ProviderClient, upstream: Upstream) -> None:
    upstream.always("GET", POLL, Answer(status=503))
    delivery = await exchange(client, upstream)
    assert (delivery.result, delivery.sent) == (Failure(Outcome.PROVIDER_ERROR, 503, "http_503"), True)
    await upstream.arrival(6)
    assert _asked(upstream) == ["POST ", *["GET /p"] * 4, "POST /p/cancel"]


async def test_what_has_failed_is_not_stopped(client: ProviderClient, upstream: Upstream) -> None:
    upstream.script("GET", POLL, json_answer({"status": "failed"}))
    delivery = await exchange(client, upstream)
    assert delivery.result == Failure(Outcome.PROVIDER_ERROR, 200, "failed")
    assert not client._background


async def test_a_refusal_at_once_is_not_repeated(client: ProviderClient, upstream: Upstream) -> None:
    upstream.script("POST", NEW, Answer(status=503))
    assert (await exchange(client, upstream)).result == Failure(Outcome.PROVIDER_ERROR, 503, "http_503")
    assert len(upstream.requests) == 1


async def test_its_stream_is_heard_elsewhere_without_the_key(client: ProviderClient, upstream: Upstream) -> None:
    async with Upstream() as elsewhere:
        url = elsewhere.base_url + "/files/p%2B?token=a%20b"
        upstream.script("POST", NEW, json_answer({"status": "working", "stream": url}, 201))
        elsewhere.script("GET", "/files/p%2B", stream_answer(event("a"), event(f"of {KEY}"), DONE))
        ear = Ear()
        result = (await exchange(client, upstream, ear)).result
        assert isinstance(result, Streamed)
        assert (result.clean, ear.texts) == (True, ["a", "of [removed]"])
        [request] = elsewhere.requests
        assert request.path == "/files/p%2B?token=a%20b"
        assert "authorization" not in request.headers
        assert KEY not in repr(request)
    assert _asked(upstream) == ["POST "]


async def test_a_cut_stream_is_stopped(client: ProviderClient, upstream: Upstream) -> None:
    url = upstream.base_url + POLL
    upstream.script("POST", NEW, json_answer({"status": "working", "stream": url}, 201))
    upstream.script("GET", POLL, stream_answer(event("a"), reset=True))
    result = (await exchange(client, upstream, Ear())).result
    assert isinstance(result, Streamed)
    assert not result.clean
    await upstream.arrival(3)
    assert _asked(upstream)[-1] == "POST /p/cancel"


async def test_time_to_create_counts_for_the_first_byte(client: ProviderClient, upstream: Upstream) -> None:
    url = upstream.base_url + POLL
    upstream.script("POST", NEW, json_answer({"status": "working", "stream": url}, 201, delay_s=0.3))
    upstream.script("GET", POLL, stream_answer(hang=True))
    delivery = await exchange(client, upstream, Ear(), Limits(connect_s=3, first_byte_s=0.5, total_s=5))
    assert delivery.result == Failure(Outcome.TIMEOUT, 200, "first_byte_timeout")
    assert 450 <= delivery.latency_ms < 750
    await upstream.arrival(3)


@pytest.mark.parametrize(
    "url",
    [
        "ftp://127.0.0.1/p", "http://example.com/p", "https://u@example.com/p", "https://10.0.0.1/p", "/p", "", "https://",
        "https://x.internal/p", "http://127.0.0.1:1\\@example.com/", "https://example.com/a b", "https://example.com/\n",
    ],
)  # fmt: skip
async def test_elsewhere_is_not_everywhere(client: ProviderClient, upstream: Upstream, url: str) -> None:
    upstream.script("POST", NEW, json_answer({"status": "working", "stream": url}, 201))
    delivery = await exchange(client, upstream, Ear())
    assert delivery.result == Failure(Outcome.CONNECTION_ERROR, detail="destination_not_allowed")
    assert delivery.sent
    await upstream.arrival(2)
    assert _asked(upstream)[-1] == "POST /p/cancel"


@pytest.mark.parametrize("how", ["time", "cancelled", "key"])
async def test_what_nobody_wants_any_more_is_stopped(client: ProviderClient, upstream: Upstream, how: str) -> None:
    cuts = Cuts()
    upstream.always("GET", POLL, WORKING)
    limits = Limits(connect_s=3, first_byte_s=3, total_s=0.35 if how == "time" else 30)
    going = asyncio.create_task(
        client.exchange(upstream.base_url + "/v1", CREATE, AUTH, limits, decode, using=cuts.using(1, "k"))
    )
    await upstream.arrival(3)
    if how == "cancelled":
        going.cancel()
        with pytest.raises(asyncio.CancelledError):
            await going
    elif how == "key":
        cuts.end(1, "k")
        assert (await going).result == Failure(Outcome.KEY_REVOKED, detail="key_revoked")
    else:
        assert (await going).result == Failure(Outcome.TIMEOUT, detail="total_timeout")
    await asyncio.gather(*client._background)
    [stop] = [request for request in upstream.requests if request.path == STOP]
    assert stop.headers["authorization"] == f"Bearer {KEY}"


async def test_stopping_is_given_up_and_closing_waits_for_it(upstream: Upstream) -> None:
    upstream.always("POST", STOP, Answer(hang=True))
    upstream.always("GET", POLL, WORKING)
    limits = Limits(connect_s=3, first_byte_s=3, total_s=0.15)
    async with aclosing(ProviderClient(frozenset({"127.0.0.1"}))) as client:
        assert (await exchange(client, upstream, limits=limits)).result == Failure(
            Outcome.TIMEOUT, None, "total_timeout"
        )
        began = SystemClock().monotonic()
    assert 2.5 < SystemClock().monotonic() - began < 4
    async with asyncio.timeout(1):
        await upstream.left(1)
