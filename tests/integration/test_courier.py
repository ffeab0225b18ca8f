"""How a payload is brought: over TLS that is right, to addresses that are allowed, and to nowhere else."""

import ssl
from contextlib import aclosing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from services.api.courier import Courier
from services.api.domain.webhooks import Answer
from shared.clock import SystemClock
from shared.errors import OmniError
from shared.testing.certificates import Authority
from shared.testing.upstream import Answer as Given
from shared.testing.upstream import Upstream, json_answer

LOOPBACK = frozenset({"127.0.0.1"})


class _Closing(Courier):
    async def aclose(self) -> None:
        await self.close()


class _Fooled(_Closing):
    """As if the name had been public when its URL was checked."""

    def check(self, url: str) -> str:
        return url


async def bring(url: str, how: type[_Closing] = _Closing, **settings: Any) -> Answer:
    settings = {"allowed_private_hosts": LOOPBACK} | settings
    async with aclosing(how(**settings)) as courier:
        return await courier.bring(url, {"webhook-id": "1"}, b"{}")


async def test_a_name_that_resolves_inside_is_refused_at_connect() -> None:
    async with Upstream() as upstream:
        answer = await bring(f"http://localhost:{upstream.port}/", _Fooled, allowed_private_hosts=frozenset())
        assert upstream.connections == 0
    assert answer == Answer(None, "not_allowed")


async def test_a_url_that_was_allowed_once_is_judged_anew() -> None:
    async with Upstream() as upstream:
        assert await bring(f"{upstream.base_url}/", allowed_private_hosts=frozenset()) == Answer(None, "not_allowed")
        assert upstream.connections == 0


async def test_tls_must_be_right(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    trusting = ssl.create_default_context(cadata=authority.trusted)
    async with Upstream(authority.server()) as upstream:
        upstream.always("POST", "/", json_answer({}))
        assert await bring(f"{upstream.base_url}/", tls=trusting) == Answer(200)
        assert await bring(f"{upstream.base_url}/") == Answer(None, "tls_failed")
        assert len(upstream.requests) == 1
    async with Upstream(authority.server(SystemClock().now() - timedelta(days=1))) as expired:
        assert await bring(f"{expired.base_url}/", tls=trusting) == Answer(None, "tls_failed")
        assert not expired.requests


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (Given(status=200, body=b"x" * 5_000_000), Answer(200)),
        (Given(status=200, body=b"x" * 100, drip_s=5), Answer(200)),
        (Given(status=503, headers={"retry-after": "17"}), Answer(503, None, 17)),
        (Given(status=503, headers={"retry-after": "Mon, 23 Nov 2026 10:00:00 GMT"}), Answer(503)),
        (Given(status=301, headers={"location": "http://169.254.169.254/"}), Answer(301, "redirect")),
        (Given(raw=b"SSH-2.0-x\r\n\r\n"), Answer(None, "not_http")),
        (Given(raw=b"HTTP/1.1 200 OK\r\n" + b"x: " + b"y" * 100_000 + b"\r\n\r\n"), Answer(None, "not_http")),
        (Given(reset=True), Answer(None, "connection_lost")),
        (Given(hang=True), Answer(None, "timeout")),
        (Given(status=200, headers={"set-cookie": "a=b"}), Answer(200)),
    ],
)
async def test_whatever_a_receiver_does_is_a_short_answer(given: Given, expected: Answer) -> None:
    async with Upstream() as upstream:
        upstream.always("POST", "/hook", given)
        assert await bring(f"{upstream.base_url}/hook?a=b", total_s=1.0) == expected
        assert len(upstream.requests) == 1
        sent = upstream.requests[0]
        assert set(sent.headers) == {"host", "webhook-id", "connection", "content-length", "content-type", "user-agent"}


async def test_nobody_listening_is_said_so() -> None:
    async with Upstream() as upstream:
        url = f"{upstream.base_url}/"
    assert await bring(url) == Answer(None, "connect_failed")


def test_a_url_keeps_its_path_and_query() -> None:
    courier = Courier(frozenset())
    assert courier.check("https://EXAMPLE.com:443/a/b?c=d") == "https://example.com/a/b?c=d"
    with pytest.raises(OmniError, match="url is not allowed"):
        courier.check("https://10.1.2.3/")
