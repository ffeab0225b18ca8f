"""The only module that opens connections to providers.

Nothing is followed, remembered or sent that the caller did not ask for: no redirects, cookies, proxies or extra
headers. Every address is checked before it is connected to. Whatever goes wrong becomes a ``Failure`` with a fixed
reason, for the texts of the HTTP libraries hold URLs and headers. The key is cut out of whatever comes back.
"""

import asyncio
import ssl
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from contextlib import AbstractAsyncContextManager, nullcontext, suppress
from contextvars import ContextVar
from typing import Any

import aiohttp
import httpx2
from aiohttp.abc import AbstractResolver, ResolveResult
from httpx_aiohttp.httpx2 import AiohttpTransport

from services.router.cuts import KeyEndedError
from services.router.domain.bodies import decoded, without
from services.router.domain.destinations import check_base_url, is_listed, is_public, joined, parse_base_url
from services.router.providers.base import Failure, HttpAnswer, HttpRequest
from services.router.sending import TOO_LATE, Delivery, Limits, Progress
from shared.clock import Clock, SystemClock
from shared.errors import OmniError
from shared.messages.vocabulary import Outcome

# Twice that still fits through the message bus, so that an answer that was paid for can be passed on.
LARGEST_ANSWER = 4 * 1024 * 1024
_SILENT = "silent"
LARGEST_ERROR = 64 * 1024
"""Bytes of a body, decoded, that are read; of an error answer only the beginning."""

_SECRET = frozenset({"authorization", "x-api-key", "x-goog-api-key", "xi-api-key"})
_SENDABLE = _SECRET | {"content-type", "anthropic-version", "x-runway-version"}
_ALWAYS = {"accept": "application/json", "accept-encoding": "gzip, deflate", "user-agent": "omnipost-ai"}
_CONNECTIONS = 1024
# Below the 5 s after which common servers close an idle connection: a request that meets the close is charged for,
# because nobody can tell whether it was read.
_IDLE_S = 4.0
_DNS_TTL_S = 10
_ERROR_BODY_S = 5.0


_progress: ContextVar[Progress] = ContextVar("progress")


class _TooLateError(OSError):
    """Connecting took until after ``Limits.start_by``."""


class _ForbiddenAddressError(OSError):
    """A name resolves to an address that must not be connected to."""


class _CheckedResolver(AbstractResolver):
    """Resolves names to public addresses, or to any for hosts that are listed. The connection uses just these."""

    def __init__(self, allowed: AbstractSet[str]) -> None:
        self._allowed = allowed
        self._system = aiohttp.ThreadedResolver()

    async def resolve(self, host: str, port: int = 0, family: Any = 0) -> list[ResolveResult]:  # noqa: ANN401 - aiohttp's own type differs by release
        found = await self._system.resolve(host, port, family)
        # One private address among public ones is enough to refuse: that is what a rebinding attack looks like.
        if not is_listed(host, port, self._allowed) and not all(is_public(item["host"]) for item in found):
            raise _ForbiddenAddressError("address not allowed")
        return found

    async def close(self) -> None:
        await self._system.close()


class ProviderClient:
    """Sends requests to providers. Safe for concurrent use by the tasks of one event loop; close it at the end."""

    def __init__(self, allowed_private_hosts: AbstractSet[str]) -> None:
        self._allowed = allowed_private_hosts
        self._clock: Clock = SystemClock()
        self._transport: AiohttpTransport | None = None
        self._bases: dict[str, str] = {}
        # Reading the certificates takes long enough to be felt by the first call.
        self._tls = httpx2.create_ssl_context(trust_env=False)

    async def aclose(self) -> None:
        """Close every connection. The client opens anew if it is used again."""
        transport, self._transport = self._transport, None
        if transport is not None:
            await transport.aclose()

    async def send(
        self,
        base_url: str,
        request: HttpRequest,
        auth_headers: Mapping[str, str],
        limits: Limits,
        using: AbstractAsyncContextManager[None] | None = None,
    ) -> Delivery:
        """Send ``request`` below ``base_url`` and wait for the whole answer.

        Args:
            base_url: the provider's base URL; one that is not allowed gives a ``Failure`` and no connection.
            request: what to send; only headers this module knows are passed on.
            auth_headers: the headers that carry the key.
            limits: when to give up.
            using: the use of a key (``Cuts.using``); the connection is closed at the moment the key ends.

        Raises:
            asyncio.CancelledError: the caller was cancelled. Whether anything was sent is then unknown.
        """
        started = self._clock.monotonic()
        progress = Progress(limits, self._clock)
        token = _progress.set(progress)
        try:
            async with using or nullcontext(), progress.total:
                result = await self._exchange(base_url, request, auth_headers, progress)
        except KeyEndedError:
            result = progress.key_ended()
        except TimeoutError:
            result = progress.timed_out()
        finally:
            _progress.reset(token)
        return Delivery(result, progress.sent, round((self._clock.monotonic() - started) * 1000))

    async def _exchange(
        self, base_url: str, request: HttpRequest, auth_headers: Mapping[str, str], progress: Progress
    ) -> HttpAnswer | Failure:
        if not progress.may_start:
            return TOO_LATE
        headers = _headers(request, auth_headers)
        if headers is None:
            return Failure(Outcome.INVALID_KEY, detail="unsendable_key")
        try:
            url = joined(self._base(base_url), request.path)
            outgoing = httpx2.Request(request.method, url, headers=headers, content=request.body or None)
        except (OmniError, httpx2.InvalidURL):
            return Failure(Outcome.CONNECTION_ERROR, detail="destination_not_allowed")
        try:
            async with progress.connecting:
                response = await self._open().handle_async_request(outgoing)
        except TimeoutError:
            raise
        except Exception as error:  # noqa: BLE001 - the libraries raise many kinds, none of which may pass
            return _lost(error, sent=progress.sent)
        secrets = [value.rsplit(" ", 1)[-1] for name, value in auth_headers.items() if name.lower() in _SECRET]
        answer = await _read(response, progress.limits.silence_s)
        if isinstance(answer, Failure):
            return answer
        body, kept = without(answer.body, answer.headers, secrets)
        return HttpAnswer(answer.status, kept, body)

    def _base(self, base_url: str) -> str:
        known = self._bases.get(base_url)
        if known is None:
            check_base_url(base_url, self._allowed)
            known = self._bases[base_url] = parse_base_url(base_url).url
        return known

    def _open(self) -> AiohttpTransport:
        if self._transport is None:
            session = _session(self._allowed, self._tls)
            self._transport = AiohttpTransport(verify=self._tls, trust_env=False, client=session)
        return self._transport


def _session(allowed: AbstractSet[str], tls: ssl.SSLContext) -> aiohttp.ClientSession:
    trace = aiohttp.TraceConfig()
    trace.on_request_headers_sent.append(_on_headers_sent)
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(
            limit=_CONNECTIONS,
            ssl=tls,
            resolver=_CheckedResolver(allowed),
            ttl_dns_cache=_DNS_TTL_S,
            keepalive_timeout=_IDLE_S,
        ),
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,
        auto_decompress=False,
        skip_auto_headers=("Accept", "Accept-Encoding", "Content-Type", "User-Agent"),
        timeout=aiohttp.ClientTimeout(),
        trace_configs=[trace],
    )


async def _on_headers_sent(*_: object) -> None:
    # Called just before the first byte is written: the only reliable sign, for the exceptions do not tell.
    progress = _progress.get()
    if not progress.may_start:
        raise _TooLateError
    progress.start()


def _headers(request: HttpRequest, auth_headers: Mapping[str, str]) -> dict[str, str] | None:
    """What is sent, None when the key cannot stand in a header."""
    given = {name.lower(): value for name, value in (*request.headers.items(), *auth_headers.items())}
    if not all(value.isascii() and value.isprintable() for value in given.values()):
        return None
    return _ALWAYS | {name: value for name, value in given.items() if name in _SENDABLE}


def _lost(error: BaseException, *, sent: bool) -> Failure:
    causes: list[BaseException] = []
    seen: BaseException | None = error
    while seen is not None and len(causes) < 8:
        causes.append(seen)
        seen = seen.__cause__ or seen.__context__
    if not sent:
        if any(isinstance(item, _TooLateError) for item in causes):
            return TOO_LATE
        if any(isinstance(item, _ForbiddenAddressError) for item in causes):
            return Failure(Outcome.CONNECTION_ERROR, detail="destination_not_allowed")
        tls = any(isinstance(item, ssl.SSLError | ssl.CertificateError) for item in causes)
        return Failure(Outcome.CONNECTION_ERROR, detail="tls_failed" if tls else "connect_failed")
    if any(
        isinstance(item, aiohttp.http_exceptions.HttpProcessingError | aiohttp.ClientResponseError) for item in causes
    ):
        return Failure(Outcome.BAD_RESPONSE, detail="not_http")
    return Failure(Outcome.CONNECTION_ERROR, detail="connection_lost")


async def _read(response: httpx2.Response, silence_s: float) -> HttpAnswer | Failure:
    status, headers = response.status_code, {name.lower(): value for name, value in response.headers.items()}
    encoding = headers.get("content-encoding", "")
    try:
        if status >= 400:
            return HttpAnswer(status, headers, decoded(await _error_body(response), encoding, LARGEST_ERROR) or b"")
        raw, fault = await _body(response, LARGEST_ANSWER, silence_s)
    finally:
        # A connection that cannot even be closed properly is gone all the same.
        with suppress(httpx2.HTTPError, aiohttp.ClientError, OSError):
            await response.aclose()
    if fault == _SILENT:
        return Failure(Outcome.TIMEOUT, status, fault)
    body = None if fault else decoded(raw, encoding, LARGEST_ANSWER)
    if body is None:
        return Failure(Outcome.BAD_RESPONSE, status, fault or "not_decodable")
    return HttpAnswer(status, headers, body)


async def _error_body(response: httpx2.Response) -> bytes:
    # The status has said it: a body that hangs must not turn a clear refusal into an unknown outcome.
    try:
        async with asyncio.timeout(_ERROR_BODY_S):
            return (await _body(response, LARGEST_ERROR, _ERROR_BODY_S))[0]
    except TimeoutError:
        return b""


async def _body(response: httpx2.Response, limit: int, silence_s: float) -> tuple[bytes, str | None]:
    """The bytes as they came, and what was wrong with them."""
    raw = bytearray()
    chunks = response.aiter_raw()
    try:
        while True:
            async with asyncio.timeout(silence_s):
                chunk = await anext(chunks, None)
            if chunk is None:
                return bytes(raw), None
            raw += chunk
            if len(raw) > limit:
                return bytes(raw[:limit]), "answer_too_large"
    except TimeoutError:
        return bytes(raw), _SILENT
    except Exception:  # noqa: BLE001 - the libraries raise many kinds, none of which may pass
        return bytes(raw), "cut_answer"
