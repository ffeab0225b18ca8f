"""Where we connect to on somebody's word: which URLs are accepted, and which addresses may be connected to.

A name is judged when it is saved, and every address it resolves to again when a connection is made.
"""

import re
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from urllib.parse import urlsplit

from shared.errors import OmniError, invalid

_DEFAULT_PORTS = {"https": 443, "http": 80}
_NAME = re.compile(r"(?=.{1,253}\Z)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*")
_NUMBER = re.compile(r"(0x[0-9a-f]*|[0-9]+)")  # a last label like this makes the whole host an IPv4 address to some
_PATH = re.compile(r"(/[A-Za-z0-9._~-]+)*/?")
_WHOLE = re.compile(r"(?P<origin>https?://[^/?#]+)(?P<rest>/[A-Za-z0-9._~:/?&=%+,;!$'()*-]*)?")
_PRIVATE_SUFFIXES = ("localhost", "local", "internal", "intranet", "lan", "home", "corp", "private", "arpa")

_FORBIDDEN_V4 = tuple(
    ip_network(item)
    for item in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
        "192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24", "192.168.0.0/16", "192.175.48.0/24",
        "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
    )
)  # fmt: skip
# Inside global unicast: Teredo and other protocol blocks, documentation, and 6to4, which embeds any IPv4 address.
_GLOBAL_V6 = ip_network("2000::/3")
_FORBIDDEN_V6 = tuple(ip_network(item) for item in ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"))


@dataclass(frozen=True)
class Destination:
    """A base URL taken apart. ``host`` is a lower-case name or an IP address without brackets."""

    scheme: str
    host: str
    port: int
    path: str

    @property
    def authority(self) -> str:
        """``host`` or ``host:port``, the default port left out, IPv6 in brackets."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def bound(self) -> str:
        """What a key is bound to: the authority, with ``http://`` before it when the key would travel in clear."""
        return self.authority if self.scheme == "https" else f"http://{self.authority}"

    @property
    def url(self) -> str:
        """The canonical base URL, without a slash at its end."""
        return f"{self.scheme}://{self.authority}{self.path}"


def parse_allowed(text: str) -> frozenset[str]:
    """The entries of a comma list of ``host`` or ``host:port``."""
    return frozenset(item.strip().lower() for item in text.split(",") if item.strip())


def is_listed(host: str, port: int, allowed: AbstractSet[str]) -> bool:
    """Whether ``host`` stands in ``allowed``, for every port or for this one. IPv6 may be written in brackets."""
    names = {host, f"[{host}]"} if ":" in host else {host}
    return any(name in allowed or f"{name}:{port}" in allowed for name in names)


def is_public(address: str) -> bool:
    """Whether ``address`` (text of an IP address) is one of the public internet and not an alias of one inside.

    IPv6 forms that embed an IPv4 address (mapped, NAT64, 6to4, Teredo) are never public; text that is no address
    is not either.
    """
    try:
        parsed: IPv4Address | IPv6Address = ip_address(address)
    except ValueError:
        return False
    if isinstance(parsed, IPv4Address):
        return not any(parsed in network for network in _FORBIDDEN_V4)
    return parsed in _GLOBAL_V6 and not any(parsed in network for network in _FORBIDDEN_V6)


def parse_base_url(url: str, field: str = "base_url") -> Destination:
    """Take ``url`` apart, strictly.

    Raises:
        OmniError: ``invalid_request`` unless it is scheme, host, an optional port and a plain path, and no more.
    """
    if not 1 <= len(url) <= 2000 or not url.isascii() or not url.isprintable() or set(url) & set(' \\"<>^`{|}%@?#;'):
        raise refused(
            "it must be scheme, host, port and path, and hold nothing else (no user, query or escapes)", field
        )
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise refused("its host or port cannot be read", field) from None
    scheme = parts.scheme.lower()
    if scheme not in _DEFAULT_PORTS:
        raise refused("it must begin with https:// (or http:// for a host that is explicitly allowed)", field)
    host = parts.hostname or ""
    if port == 0 or parts.netloc.endswith(":") or ("[" in parts.netloc and ":" not in host):
        raise refused("its host or port cannot be read", field)
    if not _PATH.fullmatch(parts.path) or {".", ".."} & set(parts.path.split("/")):
        raise refused("its path may hold only letters, digits and - . _ ~ between single slashes", field)
    return Destination(scheme, _host(host, field), port or _DEFAULT_PORTS[scheme], parts.path.rstrip("/"))


def _host(host: str, field: str) -> str:
    if ":" in host:
        try:
            return str(IPv6Address(host))
        except ValueError:
            raise refused("its host is not a valid IPv6 address", field) from None
    try:
        return str(IPv4Address(host))
    except ValueError:
        pass
    if not _NAME.fullmatch(host) or _NUMBER.fullmatch(host.rsplit(".", 1)[-1]):
        raise refused("its host is neither a plain name nor an IP address in its usual form", field)
    return host


def check_base_url(url: str, allowed: AbstractSet[str], field: str = "base_url") -> str:
    """Accept ``url`` as a provider's base URL and give what keys are bound to there (``Destination.bound``).

    Args:
        url: what an admin entered.
        allowed: hosts (``host`` or ``host:port``) that may be private or spoken to without TLS.
        field: what it is called in a refusal.

    Raises:
        OmniError: ``invalid_request`` with the reason.
    """
    destination = parse_base_url(url, field)
    if is_listed(destination.host, destination.port, allowed):
        return destination.bound
    if destination.scheme != "https":
        raise refused("it must use https", field)
    if _is_address(destination.host):
        if not is_public(destination.host):
            raise refused("it points at a private or reserved address", field)
    elif "." not in destination.host or destination.host.rsplit(".", 1)[-1] in _PRIVATE_SUFFIXES:
        raise refused("it points at a private name", field)
    return destination.bound


def check_address(url: str, allowed: AbstractSet[str], field: str = "base_url") -> str:
    """Accept a whole address, with path and query, by the rules for base URLs; gives it in canonical form.

    Raises:
        OmniError: ``invalid_request`` with the reason; ``field`` is what it is called there.
    """
    if not url.isascii() or not url.isprintable() or not (taken := _WHOLE.fullmatch(url)):
        raise refused("it is no plain address", field)
    check_base_url(taken["origin"], allowed, field)
    return parse_base_url(taken["origin"], field).url + (taken["rest"] or "/")


def refused(why: str, field: str = "base_url") -> OmniError:
    """The refusal of an address. ``why``: half a sentence that begins with "it"."""
    return invalid(f"This {field} is not allowed: {why}.", field=field)


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
