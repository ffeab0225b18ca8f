"""The client against a server that misbehaves: every fault becomes a reason, and what was sent is known for certain."""

import asyncio
import gzip
import zlib
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest

from services.router.client import ProviderClient
from services.router.providers import OPENAI_COMPATIBLE
from services.router.providers.base import (
    ChatAnswer,
    ChatRequest,
    Failure,
    HttpAnswer,
    HttpRequest,
    Pending,
    billing_of,
)
from services.router.reading import LARGEST_ANSWER
from services.router.sending import Delivery, Limits
from shared.messages.chat import ChatMessageV1, ChatOptionsV1
from shared.messages.vocabulary import Billing, Outcome
from shared.testing.upstream import Answer, Upstream, json_answer

KEY = "sk-client-canary-0123456789"
PATH = "/v1/chat/completions"
REQUEST = OPENAI_COMPATIBLE.chat.encode(
    ChatRequest("m", (ChatMessageV1(role="user", content="prompt-canary"),), ChatOptionsV1(max_tokens=5))
)
GOOD = json_answer(
    {
        "id": "x",
        "choices": [{"finish_reason": "stop", "message": {"content": "hi"}}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 1},
    }
)


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    async with Upstream() as serving:
        yield serving


@pytest.fixture
async def client(upstream: Upstream) -> AsyncIterator[ProviderClient]:
    async with aclosing(ProviderClient(frozenset({upstream.host}))) as opened:
        yield opened


async def send(
    client: ProviderClient,
    base_url: str,
    request: HttpRequest = REQUEST,
    key: str = KEY,
    *,
    connect_s: float = 5.0,
    first_byte_s: float = 5.0,
    total_s: float = 10.0,
) -> Delivery[HttpAnswer | Failure]:
    limits = Limits(connect_s=connect_s, first_byte_s=first_byte_s, total_s=total_s)
    delivery = await client.send(base_url, request, OPENAI_COMPATIBLE.auth(key), limits)
    assert KEY not in repr(delivery)
    assert "prompt-canary" not in repr(delivery)
    return delivery


def _ended(delivery: Delivery[HttpAnswer | Failure]) -> tuple[Outcome, Billing, str | None]:
    result = delivery.result
    seen = OPENAI_COMPATIBLE.chat.decode(result) if isinstance(result, HttpAnswer) else result
    assert not isinstance(seen, Pending)
    billing = billing_of(seen, sent=delivery.sent)
    if isinstance(seen, ChatAnswer):
        return Outcome.SUCCESS, billing, None
    return seen.outcome, billing, seen.detail


BODY = GOOD.body
FAULTS: dict[str, tuple[Answer, Outcome, Billing, str]] = {
    "slow": (Answer(delay_s=30), Outcome.TIMEOUT, Billing.UNKNOWN, "first_byte_timeout"),
    "hang": (Answer(hang=True), Outcome.TIMEOUT, Billing.UNKNOWN, "first_byte_timeout"),
    "hang in the body": (
        Answer(body=BODY, cut_after=9, hang=True), Outcome.TIMEOUT, Billing.UNKNOWN, "total_timeout",
    ),
    "dripping": (Answer(body=BODY, drip_s=0.2), Outcome.TIMEOUT, Billing.UNKNOWN, "total_timeout"),
    "reset": (Answer(reset=True), Outcome.CONNECTION_ERROR, Billing.UNKNOWN, "connection_lost"),
    "closed": (Answer(raw=b""), Outcome.CONNECTION_ERROR, Billing.UNKNOWN, "connection_lost"),
    "cut": (Answer(body=BODY, cut_after=9), Outcome.BAD_RESPONSE, Billing.UNKNOWN, "cut_answer"),
    "cut by reset": (
        Answer(body=BODY, cut_after=9, reset=True), Outcome.BAD_RESPONSE, Billing.UNKNOWN, "cut_answer",
    ),
    "cut, length untold": (
        Answer(raw=b"HTTP/1.1 200 OK\r\n\r\n" + BODY[:40]), Outcome.BAD_RESPONSE, Billing.UNKNOWN, "not_json",
    ),
    "not http": (Answer(raw=b"SSH-2.0-OpenSSH_9.6\r\n\r\n"), Outcome.BAD_RESPONSE, Billing.UNKNOWN, "not_http"),
    "not json": (Answer(body=b"<html>"), Outcome.BAD_RESPONSE, Billing.UNKNOWN, "not_json"),
    "empty": (Answer(body=b""), Outcome.BAD_RESPONSE, Billing.UNKNOWN, "not_json"),
    "a list": (Answer(body=b"[]"), Outcome.BAD_RESPONSE, Billing.UNKNOWN, "not_json"),
    "deep": (Answer(body=b"[" * 200_000), Outcome.BAD_RESPONSE, Billing.UNKNOWN, "not_json"),
    "huge": (
        Answer(body=b"x" * (LARGEST_ANSWER + 1)), Outcome.BAD_RESPONSE, Billing.UNKNOWN, "answer_too_large",
    ),
    "gzip bomb": (
        Answer(headers={"content-encoding": "gzip"}, body=gzip.compress(bytes(4 * LARGEST_ANSWER))),
        Outcome.BAD_RESPONSE, Billing.UNKNOWN, "not_decodable",
    ),
    "cut gzip": (
        Answer(headers={"content-encoding": "gzip"}, body=gzip.compress(BODY)[:-9]),
        Outcome.BAD_RESPONSE, Billing.UNKNOWN, "not_decodable",
    ),
    "unknown encoding": (
        Answer(headers={"content-encoding": "br"}, body=BODY), Outcome.BAD_RESPONSE, Billing.UNKNOWN, "not_decodable",
    ),
    "429": (Answer(status=429, headers={"retry-after": "7"}), Outcome.RATE_LIMITED, Billing.NOTHING, "http_429"),
    "500": (Answer(status=500, body=b"oops"), Outcome.PROVIDER_ERROR, Billing.NOTHING, "http_500"),
    "500, cut": (Answer(status=500, body=BODY, cut_after=9), Outcome.PROVIDER_ERROR, Billing.NOTHING, "http_500"),
    "529": (Answer(status=529), Outcome.PROVIDER_ERROR, Billing.NOTHING, "http_529"),
    "504": (Answer(status=504), Outcome.TIMEOUT, Billing.NOTHING, "http_504"),
    "304": (Answer(status=304), Outcome.BAD_RESPONSE, Billing.NOTHING, "http_304"),
    "503, huge": (
        Answer(status=503, body=b"x" * 5_000_000), Outcome.PROVIDER_ERROR, Billing.NOTHING, "http_503",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FAULTS)
async def test_fault(client: ProviderClient, upstream: Upstream, name: str) -> None:
    answer, *ending = FAULTS[name]
    upstream.script("POST", PATH, answer)
    slow = ending[0] is Outcome.TIMEOUT and answer.status == 200
    first_byte_s, total_s = (0.3, 0.6) if slow else (5.0, 10.0)
    delivery = await send(client, upstream.base_url + "/v1", first_byte_s=first_byte_s, total_s=total_s)
    assert delivery.sent
    assert [*_ended(delivery)] == ending
    upstream.script("POST", PATH, GOOD)
    assert _ended(await send(client, upstream.base_url + "/v1")) == (Outcome.SUCCESS, Billing.COST, None)


async def test_retry_after_is_read(client: ProviderClient, upstream: Upstream) -> None:
    upstream.script("POST", PATH, Answer(status=429, headers={"retry-after": "7"}))
    result = (await send(client, upstream.base_url + "/v1")).result
    assert isinstance(result, HttpAnswer)
    assert OPENAI_COMPATIBLE.fail(result).retry_after_s == 7.0


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "identity"])
async def test_compressed_answers_are_read(client: ProviderClient, upstream: Upstream, encoding: str) -> None:
    body = {"gzip": gzip.compress(BODY), "deflate": zlib.compress(BODY), "identity": BODY}[encoding]
    upstream.script("POST", PATH, Answer(headers={"content-encoding": encoding}, body=body))
    assert _ended(await send(client, upstream.base_url + "/v1"))[0] is Outcome.SUCCESS


async def test_only_known_headers_are_sent(client: ProviderClient, upstream: Upstream) -> None:
    upstream.script("POST", PATH, GOOD)
    request = HttpRequest("POST", "/chat/completions", {"x-workspace": "1", "cookie": "a=b", **REQUEST.headers}, b"{}")
    await send(client, upstream.base_url + "/v1", request)
    assert set(upstream.requests[0].headers) == {
        "host", "accept", "accept-encoding", "user-agent", "content-type", "authorization", "content-length",
    }  # fmt: skip
    assert upstream.requests[0].headers["user-agent"] == "omnipost-ai"


async def test_a_set_cookie_is_forgotten(client: ProviderClient, upstream: Upstream) -> None:
    upstream.always("POST", PATH, json_answer({}, headers={"set-cookie": "session=1; Path=/"}))
    for _ in range(2):
        await send(client, upstream.base_url + "/v1")
    assert all("cookie" not in request.headers for request in upstream.requests)


async def test_a_model_name_cannot_change_the_path(client: ProviderClient, upstream: Upstream) -> None:
    path = "/v1beta/models/a%2F..%2F..%2Fb%3Fc%23d%25e:generateContent"
    upstream.always("POST", "*", GOOD)
    await send(client, upstream.base_url, HttpRequest("POST", path, {}, b"{}"))
    assert upstream.requests[0].path == path


async def test_redirects_are_not_followed(client: ProviderClient, upstream: Upstream) -> None:
    async with Upstream() as elsewhere, aclosing(ProviderClient(frozenset({"127.0.0.1"}))) as trusting:
        for status in (301, 302, 303, 307, 308):
            upstream.script("POST", PATH, Answer(status=status, headers={"location": elsewhere.base_url + PATH}))
            ending = _ended(await send(trusting, upstream.base_url + "/v1"))
            assert ending == (Outcome.BAD_RESPONSE, Billing.NOTHING, f"http_{status}")
        assert elsewhere.connections == 0


async def test_an_echoed_key_is_cut_out(client: ProviderClient, upstream: Upstream) -> None:
    answer = json_answer({"error": {"code": KEY, "message": f"bad key {KEY}"}}, 401, headers={"x-request-id": KEY})
    upstream.script("POST", PATH, answer)
    result = (await send(client, upstream.base_url + "/v1")).result
    assert isinstance(result, HttpAnswer)
    assert KEY.encode() not in result.body
    assert "x-request-id" not in result.headers
    assert KEY not in repr(OPENAI_COMPATIBLE.chat.decode(result))


@pytest.mark.parametrize("key", ["sk-a\r\nx-injected: 1", "sk-é", "sk-\x00"])
async def test_a_key_that_fits_no_header_is_not_sent(client: ProviderClient, upstream: Upstream, key: str) -> None:
    delivery = await send(client, upstream.base_url + "/v1", key=key)
    assert (delivery.sent, _ended(delivery)) == (False, (Outcome.INVALID_KEY, Billing.NOTHING, "unsendable_key"))
    assert upstream.connections == 0


async def test_connection_refused(client: ProviderClient, upstream: Upstream) -> None:
    async with Upstream() as gone, aclosing(ProviderClient(frozenset({"127.0.0.1"}))) as trusting:
        await gone.__aexit__()
        delivery = await send(trusting, gone.base_url)
    assert (delivery.sent, *_ended(delivery)) == (
        False, Outcome.CONNECTION_ERROR, Billing.NOTHING, "connect_failed",
    )  # fmt: skip


async def test_a_handshake_that_never_ends_is_a_connect_timeout(client: ProviderClient, upstream: Upstream) -> None:
    delivery = await send(client, f"https://{upstream.host}/v1", connect_s=0.5)
    assert (delivery.sent, *_ended(delivery)) == (False, Outcome.TIMEOUT, Billing.NOTHING, "connect_timeout")
    assert 450 <= delivery.latency_ms <= 2000


async def test_a_host_without_tls_is_told_apart() -> None:
    async def answer_in_clear(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(5)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(answer_in_clear, "127.0.0.1", 0)
    async with server, aclosing(ProviderClient(frozenset({"127.0.0.1"}))) as trusting:
        delivery = await send(trusting, f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    assert (delivery.sent, *_ended(delivery)) == (False, Outcome.CONNECTION_ERROR, Billing.NOTHING, "tls_failed")


async def test_cancelling_closes_the_connection(client: ProviderClient, upstream: Upstream) -> None:
    upstream.script("POST", PATH, Answer(hang=True))
    task = asyncio.create_task(send(client, upstream.base_url + "/v1"))
    await upstream.arrival(1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with asyncio.timeout(1):
        await asyncio.gather(*upstream._serving)


async def test_connections_are_reused_and_many_fit(client: ProviderClient, upstream: Upstream) -> None:
    upstream.always("POST", PATH, json_answer({}, delay_s=0.1))
    for _ in range(2):
        await asyncio.gather(*(send(client, upstream.base_url + "/v1") for _ in range(150)))
    assert len(upstream.requests) == 300
    assert upstream.connections <= 160
