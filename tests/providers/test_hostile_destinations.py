"""Destinations that must never be reached, watched from a server that would be: it sees no connection."""

import socket
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest

from services.router.client import ProviderClient
from services.router.providers.base import Failure, HttpAnswer, HttpRequest
from services.router.sending import Delivery, Limits
from shared.messages.vocabulary import Outcome
from shared.resolving import CheckedResolver
from shared.testing.upstream import Upstream


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    async with Upstream() as serving:
        yield serving


async def attempt(client: ProviderClient, base_url: str) -> Delivery[HttpAnswer | Failure]:
    request = HttpRequest("POST", "/x", {}, b"{}")
    return await client.send(base_url, request, {}, Limits(connect_s=2, first_byte_s=2, total_s=2))


async def test_a_name_that_resolves_inside_is_refused_at_connect(upstream: Upstream) -> None:
    async with aclosing(ProviderClient(frozenset())) as strict:
        # As if the name had been public when its URL was checked.
        strict._bases["https://rebound.example"] = f"http://localhost:{upstream.port}"
        delivery = await attempt(strict, "https://rebound.example")
    assert not delivery.sent
    assert delivery.result == Failure(Outcome.CONNECTION_ERROR, detail="destination_not_allowed")
    assert upstream.connections == 0


async def test_resolver_lets_listed_names_through() -> None:
    resolver = CheckedResolver(frozenset({"localhost:81"}))
    assert {item["host"] for item in await resolver.resolve("localhost", 81, socket.AF_UNSPEC)} <= {"127.0.0.1", "::1"}
    with pytest.raises(OSError, match="not allowed"):
        await resolver.resolve("localhost", 82, socket.AF_UNSPEC)


HOSTILE = [
    "http://127.0.0.1:{port}",
    "https://127.0.0.1:{port}",
    "http://localhost:{port}",
    "https://localhost:{port}",
    "https://LOCALHOST:{port}",
    "https://localhost.:{port}",
    "https://a.localhost:{port}",
    "https://[::1]:{port}",
    "https://[::ffff:127.0.0.1]:{port}",
    "https://[::ffff:7f00:1]:{port}",
    "https://[::127.0.0.1]:{port}",
    "https://[64:ff9b::7f00:1]:{port}",
    "https://[2002:7f00:1::]:{port}",
    "https://[2001:0:7f00:1::]:{port}",
    "https://[fe80::1]:{port}",
    "https://[fc00::1]:{port}",
    "https://[::]:{port}",
    "https://0.0.0.0:{port}",
    "https://0:{port}",
    "https://2130706433:{port}",
    "https://0x7f000001:{port}",
    "https://0x7f.0.0.1:{port}",
    "https://0177.0.0.1:{port}",
    "https://127.1:{port}",
    "https://127.0.1:{port}",
    "https://017700000001:{port}",
    "https://127.0.0.1.:{port}",
    "https://10.0.0.1",
    "https://172.16.0.1",
    "https://192.168.1.1",
    "https://169.254.169.254",
    "https://100.64.0.1",
    "https://198.18.0.1",
    "https://224.0.0.1",
    "https://255.255.255.255",
    "https://metadata.google.internal",
    "https://router.lan",
    "https://nas",
    "http://api.openai.com",
    "https://user@127.0.0.1:{port}",
    "https://api.openai.com@127.0.0.1:{port}",
    "https://127.0.0.1:{port}#@api.openai.com",
    "https://api.openai.com\\@127.0.0.1:{port}",
    "https://127.0.0.1:{port}?x=1",
    "https://api.openai.com/v1/../../admin",
    "https://api.openai.com/%2e%2e/admin",
    "https://api.openai.com/./v1",
    "https://api.openai.com//v1",
    "https://api.openai.com/v1;x",
    "https://①②⑦.⓪.⓪.①:{port}",
    "https://127。0。0。1:{port}",
    "https://api.openai.com:0",
    "https://api.openai.com:99999",
    "https://api.openai.com:",
    "https:///v1",
    "https:127.0.0.1:{port}",
    "ftp://127.0.0.1:{port}",
    "file:///etc/passwd",
    "gopher://127.0.0.1:{port}",
    "unix:///tmp/x",
    "//127.0.0.1:{port}",
    "127.0.0.1:{port}",
    "https://-a.example",
    "https://a..example",
    "https://a_b.example",
    "https://[::1",
    "https://[v1.x]:{port}",
    "https://[fe80::1%25lo]",
    "javascript:alert(1)",
    "data:text/plain,x",
    "https://",
    "http://",
    "HTTPS://127.0.0.1:{port}",
    "https://127.0.0.1:{port}/v1",
    "",
    " ",
    "https://127.0.0.1:{port}\r\nHost: x",
    "https://api.openai.com/v1\r\n",
    "https://api.openai.com/\t",
    "https://api.openai.com/\x00",
    " https://api.openai.com",
    "https://api.openai.com/" + "a" * 2000,
    "https://" + "a" * 64 + ".example",
    "https://127.0.0.2:{port}",
    "https://127.255.255.254:{port}",
    "https://0.0.0.1:{port}",
    "https://10.255.255.255",
    "https://172.31.255.255",
    "https://192.168.255.1:{port}",
    "https://169.254.170.2",
    "https://169.254.0.1",
    "https://100.127.255.255",
    "https://100.100.100.200",
    "https://192.0.0.192",
    "https://192.0.2.1",
    "https://192.88.99.1",
    "https://198.19.255.255",
    "https://198.51.100.7",
    "https://203.0.113.9",
    "https://239.255.255.250",
    "https://240.0.0.1",
    "https://[::ffff:10.0.0.1]",
    "https://[::ffff:169.254.169.254]",
    "https://[0:0:0:0:0:ffff:7f00:1]:{port}",
    "https://[::ffff:0:127.0.0.1]:{port}",
    "https://[0000:0000:0000:0000:0000:0000:0000:0001]:{port}",
    "https://[64:ff9b::a9fe:a9fe]",
    "https://[64:ff9b:1::7f00:1]:{port}",
    "https://[100::1]",
    "https://[2001:db8::1]",
    "https://[2002:a9fe:a9fe::]",
    "https://[3fff::1]",
    "https://[fd00:ec2::254]",
    "https://[fec0::1]",
    "https://[ff02::1]",
    "https://[::1%25lo]:{port}",
    "https://[127.0.0.1]:{port}",
    "https://[::1]]:{port}",
    "https://0x7f.1:{port}",
    "https://0x7f.0x0.0x0.0x1:{port}",
    "https://0177.0.0.01:{port}",
    "https://00000177.1:{port}",
    "https://127.0.0.0x1:{port}",
    "https://127.0.0.256:{port}",
    "https://127.00.00.01:{port}",
    "https://3232235521",
    "https://0xA9FEA9FE",
    "https://2852039166",
    "https://metadata",
    "https://metadata.internal",
    "https://instance-data.local",
    "https://kubernetes.default.svc.private",
    "https://printer.home",
    "https://wiki.corp",
    "https://wiki.intranet",
    "https://1.0.0.127.in-addr.arpa",
    "https://localhost.localhost:{port}",
    "https://LocalHost:{port}",
    "https://user:password@127.0.0.1:{port}",
    "https://127.0.0.1:{port}@api.openai.com",
    "https://api.openai.com:443@127.0.0.1:{port}",
    "https://api.openai.com%00.127.0.0.1:{port}",
    "https://api.openai.com%40127.0.0.1:{port}",
    "https://127.0.0.1%3a{port}",
    "https://127.0.0.1%2f@api.openai.com",
    "https://127.0.0.1:{port}/?@api.openai.com",
    "https://127.0.0.1:{port}/#api.openai.com",
    "https://127.0.0.1:{port}\\api.openai.com",
    "https:\\\\127.0.0.1:{port}",
    "https:/127.0.0.1:{port}",
    "https:////127.0.0.1:{port}",
    "http:127.0.0.1:{port}",
    "ws://127.0.0.1:{port}",
    "ldap://127.0.0.1:{port}",
    "dict://127.0.0.1:{port}",
    "tftp://127.0.0.1:{port}",
    "jar:https://127.0.0.1:{port}!/",
    "https+unix://127.0.0.1:{port}",
    "https://127.0.0.1:+{port}",
    "https://127.0.0.1:{port}:{port}",
    "https://127.0.0.1: {port}",
    "https://127.0.0.1:{port}/..",
    "https://lo\u0441alhost:{port}",
    "https://\uff4c\uff4f\uff43\uff41\uff4c\uff48\uff4f\uff53\uff54:{port}",
    "https://\uff11\uff12\uff17.0.0.1:{port}",
    "https://xn--:{port}",
    "https://a.example-",
    "https://{port}",
]


async def test_hostile_base_urls_open_no_connection(upstream: Upstream) -> None:
    async with aclosing(ProviderClient(frozenset({"elsewhere.example", "127.0.0.1:1"}))) as strict:
        deliveries = [await attempt(strict, url.replace("{port}", str(upstream.port))) for url in HOSTILE]
    for url, delivery in zip(HOSTILE, deliveries, strict=True):
        assert isinstance(delivery.result, Failure), url
        assert (delivery.sent, delivery.result.detail) == (False, "destination_not_allowed"), url
    print(f"\nproviders: hostile base URLs refused: {len(deliveries)}, connections: {upstream.connections}")
    assert upstream.connections == 0
    assert len(set(HOSTILE)) >= 150
