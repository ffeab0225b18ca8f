"""The only module that opens connections to providers.

Nothing is followed, remembered or sent that the caller did not ask for: no redirects, cookies, proxies or extra
headers. Every address is checked before it is connected to. Whatever goes wrong becomes a ``Failure`` with a fixed
reason, for the texts of the HTTP libraries hold URLs and headers.
"""

import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from collections.abc import Set as AbstractSet
from contextlib import suppress
from functools import partial
from types import SimpleNamespace

import aiohttp
import httpx2
from aiohttp.client_proto import ResponseHandler

from services.router.providers.base import Failure
from services.router.reading import Head, leftover
from services.router.sending import TOO_LATE, Progress
from shared.messages.vocabulary import Outcome
from shared.resolving import CheckedResolver, ForbiddenAddressError

_CONNECTIONS = 1024
# Below the 5 s after which common servers close an idle connection: a request that meets the close is charged for,
# because nobody can tell whether it was read.
_IDLE_S = 4.0
_DNS_TTL_S = 10

_PIECE = 16 * 1024

_NO_CAUSE = BaseException()


class _TooLateError(OSError):
    """Connecting took until after ``Limits.start_by``."""


class _Handler(ResponseHandler):
    """The library's, mended in two places."""

    def close(self) -> None:
        # Over TLS a farewell waits up to 30 s for its answer, and the provider goes on: only what is idle takes leave.
        if self._payload is not None and self._payload.is_eof():
            super().close()
        else:
            self.abort()

    def set_exception(self, exc: BaseException, exc_cause: BaseException = _NO_CAUSE) -> None:
        # Bytes that are not HTTP end the connection, but nobody tells who reads the body.
        body = self._payload
        super().set_exception(exc, exc_cause)
        if body is not None and not body.is_eof() and body.exception() is None:
            body.set_exception(aiohttp.ClientPayloadError(), exc)


class _Connector(aiohttp.TCPConnector):
    def __init__(self, allowed: AbstractSet[str], tls: ssl.SSLContext) -> None:
        super().__init__(
            limit=_CONNECTIONS,
            ssl=tls,
            resolver=CheckedResolver(allowed),
            ttl_dns_cache=_DNS_TTL_S,
            keepalive_timeout=_IDLE_S,
        )
        make: Callable[..., ResponseHandler] = _Handler
        self._factory = partial(make, loop=self._loop)


class Opened:
    """An answer that has begun. ``chunks``: its body as it comes; close it whatever happens."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response
        headers: dict[str, str] = {}
        for written, value in response.headers.items():
            name = written.lower()
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        self.head = Head(response.status, headers)
        self.chunks: AsyncIterator[bytes] = response.content.iter_chunked(_PIECE)

    async def close(self) -> None:
        """Close the connection at once, unless the body has been read to its end."""
        # A connection that cannot even be closed properly is gone all the same.
        with suppress(aiohttp.ClientError, OSError):
            self._response.release()
            await self._response.wait_for_close()

    async def leave(self) -> None:
        """Close politely: a body that is as good as over is read to its end, so that the connection stays of use."""
        try:
            await leftover(self.chunks)
        finally:
            await self.close()


class Connections:
    """Opens connections and keeps them for the next request to the same place.

    Args:
        allowed_private_hosts: hosts (``host`` or ``host:port``) that may resolve to private addresses.
    """

    def __init__(self, allowed_private_hosts: AbstractSet[str]) -> None:
        self._allowed = allowed_private_hosts
        self._session: aiohttp.ClientSession | None = None
        # Reading the certificates takes long enough to be felt by the first call.
        self._tls = httpx2.create_ssl_context(trust_env=False)

    async def aclose(self) -> None:
        """Close every connection. Used again, it opens anew."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def request(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes, progress: Progress
    ) -> Opened | Failure:
        """Send a request and wait for status and headers, as long as ``progress.connecting`` lasts.

        Args:
            method: its method.
            url: the whole address, checked by the caller; what it resolves to is checked here.
            headers: all that is sent, beside what HTTP itself needs.
            body: nothing is sent when it is empty.
            progress: told of the moment before the first byte is written.
        """
        if not progress.may_start:
            return TOO_LATE
        try:
            async with progress.connecting:
                response = await self._open().request(
                    method, url, headers=headers, data=body or None, allow_redirects=False, trace_request_ctx=progress
                )
                return Opened(response)
        except aiohttp.InvalidURL:
            return Failure(Outcome.CONNECTION_ERROR, detail="destination_not_allowed")
        except TimeoutError:
            return progress.timed_out()
        except Exception as error:  # noqa: BLE001 - the libraries raise many kinds, none of which may pass
            return _lost(error, sent=progress.asked)

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = _session(self._allowed, self._tls)
        return self._session


def _session(allowed: AbstractSet[str], tls: ssl.SSLContext) -> aiohttp.ClientSession:
    trace = aiohttp.TraceConfig()
    trace.on_request_headers_sent.append(_on_headers_sent)
    return aiohttp.ClientSession(
        connector=_Connector(allowed, tls),
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,
        auto_decompress=False,
        skip_auto_headers=("Accept", "Accept-Encoding", "Content-Type", "User-Agent"),
        timeout=aiohttp.ClientTimeout(),
        trace_configs=[trace],
    )


async def _on_headers_sent(_: aiohttp.ClientSession, context: SimpleNamespace, __: object) -> None:
    # Called just before the first byte is written: the only reliable sign, for the exceptions do not tell.
    progress: Progress = context.trace_request_ctx
    if not progress.may_start:
        raise _TooLateError
    progress.start()


def _lost(error: BaseException, *, sent: bool) -> Failure:
    causes: list[BaseException] = []
    seen: BaseException | None = error
    while seen is not None and len(causes) < 8:
        causes.append(seen)
        seen = seen.__cause__ or seen.__context__
    if not sent:
        if any(isinstance(item, _TooLateError) for item in causes):
            return TOO_LATE
        if any(isinstance(item, ForbiddenAddressError) for item in causes):
            return Failure(Outcome.CONNECTION_ERROR, detail="destination_not_allowed")
        tls = any(isinstance(item, ssl.SSLError | ssl.CertificateError) for item in causes)
        return Failure(Outcome.CONNECTION_ERROR, detail="tls_failed" if tls else "connect_failed")
    if any(
        isinstance(item, aiohttp.http_exceptions.HttpProcessingError | aiohttp.ClientResponseError) for item in causes
    ):
        return Failure(Outcome.BAD_RESPONSE, detail="not_http")
    return Failure(Outcome.CONNECTION_ERROR, detail="connection_lost")
