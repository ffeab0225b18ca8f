"""The only module of the edge that opens connections to others: it brings one payload to one webhook.

Nothing is followed or remembered: no redirects, cookies, proxies, kept connections. The URL is judged anew at every
attempt, and every address its host resolves to before it is connected to. Of an answer only the status is read.
"""

import ssl
from collections.abc import Mapping
from collections.abc import Set as AbstractSet

import aiohttp

from services.api.domain.webhooks import Answer
from shared.destinations import check_address
from shared.errors import OmniError
from shared.resolving import CheckedResolver, ForbiddenAddressError

CONNECT_S = 3.0
TOTAL_S = 10.0
"""Seconds for an attempt: a receiver takes the payload first and works on it later."""


class Courier:
    """Safe to use by many at once.

    Args:
        allowed_private_hosts: hosts (``host`` or ``host:port``) that may be private or spoken to without TLS.
        tls: how certificates are judged; by the system's authorities when left out.
        total_s: seconds for an attempt.
    """

    def __init__(
        self, allowed_private_hosts: AbstractSet[str], tls: ssl.SSLContext | None = None, total_s: float = TOTAL_S
    ) -> None:
        self._allowed, self._tls = allowed_private_hosts, tls or ssl.create_default_context()
        self._time = aiohttp.ClientTimeout(total=total_s, connect=min(CONNECT_S, total_s))
        self._session: aiohttp.ClientSession | None = None

    def check(self, url: str) -> str:
        """``url`` in canonical form. Raises OmniError ``invalid_request`` when nothing may be sent there."""
        return check_address(url, self._allowed, "url")

    async def bring(self, url: str, headers: Mapping[str, str], payload: bytes) -> Answer:
        """Send it once. Whatever goes wrong is in the answer."""
        try:
            url = self.check(url)
        except OmniError:
            return Answer(None, "not_allowed")
        try:
            async with self._open().post(url, data=payload, headers=headers, allow_redirects=False) as response:
                return _answer(response.status, response.headers.get("Retry-After", ""))
        except Exception as error:  # noqa: BLE001 - the library raises many kinds, whose texts hold the URL
            return _failure(error)

    async def close(self) -> None:
        """Release everything."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector = aiohttp.TCPConnector(
                limit=0, ssl=self._tls, resolver=CheckedResolver(self._allowed), use_dns_cache=False, force_close=True
            )
            self._session = aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=False,
                auto_decompress=False,
                skip_auto_headers=("Accept", "Accept-Encoding"),
                timeout=self._time,
            )
        return self._session


def _answer(status: int, retry_after: str) -> Answer:
    wait_s = int(retry_after) if retry_after.isdecimal() and len(retry_after) < 10 else None
    return Answer(status, "redirect" if 300 <= status < 400 else None, wait_s)


def _failure(error: BaseException) -> Answer:
    causes: list[BaseException] = []
    seen: BaseException | None = error
    while seen is not None and len(causes) < 8:
        causes.append(seen)
        seen = getattr(seen, "os_error", None) or seen.__cause__ or seen.__context__

    def any_is(*kinds: type[BaseException]) -> bool:
        return any(isinstance(cause, kinds) for cause in causes)

    if any_is(ForbiddenAddressError):
        return Answer(None, "not_allowed")
    if any_is(TimeoutError):
        return Answer(None, "timeout")
    if any_is(ssl.SSLError, ssl.CertificateError):
        return Answer(None, "tls_failed")
    if any_is(aiohttp.ClientConnectorError):
        return Answer(None, "connect_failed")
    if any_is(aiohttp.ClientResponseError, aiohttp.http_exceptions.HttpProcessingError):
        return Answer(None, "not_http")
    return Answer(None, "connection_lost")
