import pytest

from services.router.domain.destinations import check_elsewhere, host_of, joined
from services.router.providers import PROVIDERS
from shared.destinations import check_base_url, is_public, parse_allowed, parse_base_url
from shared.errors import Code, OmniError

NOBODY: frozenset[str] = frozenset()


@pytest.mark.parametrize(
    ("url", "authority", "canonical"),
    [
        ("https://api.openai.com/v1", "api.openai.com", "https://api.openai.com/v1"),
        ("https://API.OpenAI.com:443/v1/", "api.openai.com", "https://api.openai.com/v1"),
        ("HTTPS://llm.acme.example:8443", "llm.acme.example:8443", "https://llm.acme.example:8443"),
        ("https://1.1.1.1/a.b/c_d~e-f", "1.1.1.1", "https://1.1.1.1/a.b/c_d~e-f"),
        ("https://[2606:4700:0:0:0:0:0:1111]", "[2606:4700::1111]", "https://[2606:4700::1111]"),
        ("https://xn--bcher-kva.example", "xn--bcher-kva.example", "https://xn--bcher-kva.example"),
    ],
)
def test_accepted(url: str, authority: str, canonical: str) -> None:
    assert check_base_url(url, NOBODY) == authority
    assert host_of(url) == authority
    assert parse_base_url(url).url == canonical
    assert parse_base_url(canonical) == parse_base_url(url)


def test_every_known_provider_is_accepted() -> None:
    for provider in PROVIDERS.values():
        assert check_base_url(provider.base_url, NOBODY)


@pytest.mark.parametrize(
    ("url", "allowed", "authority"),
    [
        ("http://127.0.0.1:9000/v1", "127.0.0.1:9000", "http://127.0.0.1:9000"),
        ("http://127.0.0.1:9000/v1", " other , 127.0.0.1 ", "http://127.0.0.1:9000"),
        ("http://Localhost", "LOCALHOST:80", "http://localhost"),
        ("https://localhost", "localhost:443", "localhost"),
        ("http://[::1]:9000", "[::1]:9000", "http://[::1]:9000"),
        ("http://[::1]:9000", "::1", "http://[::1]:9000"),
        ("http://vllm.internal:8000/v1", "vllm.internal", "http://vllm.internal:8000"),
    ],
)
def test_accepted_because_listed(url: str, allowed: str, authority: str) -> None:
    assert check_base_url(url, parse_allowed(allowed)) == authority


@pytest.mark.parametrize(
    ("url", "allowed"),
    [
        ("http://127.0.0.1:9001", "127.0.0.1:9000"),
        ("http://127.0.0.2:9000", "127.0.0.1"),
        ("http://localhost", "localhost:443"),
        ("http://127.0.0.1:9000/../x", "127.0.0.1"),
        ("http://user@127.0.0.1:9000", "127.0.0.1"),
        ("http://2130706433:9000", "127.0.0.1"),
        ("http://api.openai.com", ""),
        ("https://db", ""),
        ("https://x.internal", ""),
        ("https://169.254.169.254/latest", ""),
        ("https://[::ffff:8.8.8.8]", ""),
    ],
)
def test_refused(url: str, allowed: str) -> None:
    with pytest.raises(OmniError) as raised:
        check_base_url(url, parse_allowed(allowed))
    assert raised.value.code is Code.INVALID_REQUEST
    assert raised.value.extra == {"field": "base_url"}
    assert url not in raised.value.detail


def test_nothing_is_allowed_by_default() -> None:
    assert parse_allowed("") == parse_allowed(" , ") == NOBODY


@pytest.mark.parametrize(
    "address",
    ["8.8.8.8", "1.1.1.1", "100.63.255.255", "172.32.0.1", "223.255.255.255", "2606:4700::1", "2a00:1450:4001::200e"],
)
def test_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0",  # noqa: S104 - judged, not bound
        "0.1.2.3",
        "10.1.2.3",
        "100.64.0.1",
        "100.127.255.255",
        "127.0.0.1",
        "127.255.255.255",
        "169.254.169.254",
        "172.16.0.1",
        "172.31.255.255",
        "192.0.0.8",
        "192.0.2.1",
        "192.88.99.1",
        "192.168.0.1",
        "198.18.0.1",
        "198.19.255.255",
        "198.51.100.1",
        "203.0.113.1",
        "224.0.0.1",
        "239.255.255.255",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::127.0.0.1",
        "::8.8.8.8",
        "::ffff:8.8.8.8",
        "::ffff:127.0.0.1",
        "64:ff9b::808:808",
        "64:ff9b:1::1",
        "100::1",
        "2001::1",
        "2001:db8::1",
        "2002:808:808::1",
        "3fff::1",
        "5f00::1",
        "fc00::1",
        "fd12::1",
        "fe80::1",
        "fe80::1%eth0",
        "fec0::1",
        "ff02::1",
        "4000::1",
        "nonsense",
        "1.2.3",
        "0x7f.0.0.1",
        "2130706433",
    ],
)
def test_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize(
    ("base", "path", "url"),
    [
        ("https://api.anthropic.com", "/v1/messages", "https://api.anthropic.com/v1/messages"),
        ("https://api.anthropic.com/v1", "/v1/messages", "https://api.anthropic.com/v1/messages"),
        ("https://api.openai.com/v1", "/chat/completions", "https://api.openai.com/v1/chat/completions"),
        ("http://h/v1beta", "/v1beta/models/m:generateContent", "http://h/v1beta/models/m:generateContent"),
        ("http://h/v1", "/v1beta/models?pageSize=1", "http://h/v1/v1beta/models?pageSize=1"),
        ("http://h/v1", "/models", "http://h/v1/models"),
    ],
)
def test_a_version_is_not_repeated(base: str, path: str, url: str) -> None:
    assert joined(base, path) == url


@pytest.mark.parametrize(
    ("url", "base", "canonical"),
    [
        ("https://stream.replicate.com/v1/files/a-b_c?x=%20y&z=1", "https://api.replicate.com", None),
        ("https://Stream.Replicate.com:443", "https://api.replicate.com", "https://stream.replicate.com/"),
        ("https://api.replicate.com/", "http://ollama.lan", None),
        ("http://ollama.lan/x", "http://ollama.lan", None),
        ("https://ollama.lan/x", "https://10.0.0.1", None),
    ],
)
def test_an_address_a_provider_names_is_accepted(url: str, base: str, canonical: str | None) -> None:
    assert check_elsewhere(url, base, frozenset({"ollama.lan", "10.0.0.1"})) == (canonical or url)


@pytest.mark.parametrize(
    "url",
    [
        "http://stream.replicate.com/x", "https://ollama.lan/x", "http://ollama.lan/x", "https://10.0.0.1/", "ftp://a.com/",
        "https://a.com:0/", "https://u:p@a.com/", "https://a.com\\@b.com/", "https://a.com/#f", "https://a.com/\u00e4",
        "https://a.com/\r\nx: y", "https://127.0.0.1/", "https://[::1]/", "https://0x7f.1/", "//a.com/", "https:///x",
    ],
)  # fmt: skip
def test_an_answer_does_not_lead_into_our_network(url: str) -> None:
    with pytest.raises(OmniError):
        check_elsewhere(url, "https://api.replicate.com/v1", frozenset({"ollama.lan", "10.0.0.1"}))
