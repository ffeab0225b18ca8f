"""Asks providers: one request and its whole answer, a stream, or an exchange of several requests.

Only what the caller asks for and this module knows is sent, and only where a base URL allows it. The key is cut out of
whatever comes back; what goes wrong becomes a ``Failure`` with a fixed reason.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from collections.abc import Set as AbstractSet
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from services.router.connections import Connections, Opened
from services.router.cuts import KeyEndedError
from services.router.domain.destinations import check_elsewhere, joined
from services.router.following import Answer, Raw, followed
from services.router.providers.base import Failure, HttpAnswer, HttpRequest, Pending
from services.router.reading import Stream, whole
from services.router.sending import GONE, Delivery, Limits, Listener, Progress, Streamed
from shared.clock import Clock, SystemClock
from shared.destinations import check_base_url, parse_base_url
from shared.errors import OmniError
from shared.messages.vocabulary import Outcome
from shared.streams import AskerGoneError

_SECRET = frozenset({"authorization", "x-api-key", "x-goog-api-key", "xi-api-key"})
_SENDABLE = _SECRET | {"accept", "anthropic-version", "cancel-after", "content-type", "prefer", "x-runway-version"}
_ALWAYS = {"accept": "application/json", "accept-encoding": "gzip, deflate", "user-agent": "omnipost-ai"}
_STOPPING = Limits(connect_s=3.0, first_byte_s=3.0, total_s=3.0)
_EVENTS = {"accept": "text/event-stream"}

Result = TypeVar("Result")


@dataclass(frozen=True)
class _Call:
    """One request of an exchange. ``elsewhere``: its whole address, which is not given the key."""

    base_url: str
    request: HttpRequest
    auth_headers: Mapping[str, str]
    streams: bool = False
    elsewhere: str | None = None

    @property
    def secrets(self) -> list[str]:
        """What must not come back."""
        return [value.rsplit(" ", 1)[-1] for name, value in self.auth_headers.items() if name.lower() in _SECRET]


class ProviderClient:
    """Sends requests to providers. Safe for concurrent use by the tasks of one event loop; close it at the end."""

    def __init__(self, allowed_private_hosts: AbstractSet[str]) -> None:
        self._allowed = allowed_private_hosts
        self._clock: Clock = SystemClock()
        self._connections = Connections(allowed_private_hosts)
        self._bases: dict[str, str] = {}
        self._background: set[asyncio.Task[Any]] = set()

    async def aclose(self) -> None:
        """Finish what is left to be told to providers, and close every connection. Used again, it opens anew."""
        await asyncio.gather(*self._background, return_exceptions=True)
        await self._connections.aclose()

    async def send(
        self,
        base_url: str,
        request: HttpRequest,
        auth_headers: Mapping[str, str],
        limits: Limits,
        using: AbstractAsyncContextManager[None] | None = None,
    ) -> Delivery[HttpAnswer | Failure]:
        """Send ``request`` below ``base_url`` and wait for the whole answer.

        Args:
            base_url: the provider's base URL; one that is not allowed gives a ``Failure`` and no connection.
            request: what to send; only headers this module knows are passed on.
            auth_headers: the headers that carry the key.
            limits: when to give up.
            using: the use of a key (``Cuts.using``), and the asker's interest (``Sink.listening``); the connection is
                closed at the moment one of them ends.

        Raises:
            asyncio.CancelledError: the caller was cancelled. Whether anything was sent is then unknown.
        """
        call = _Call(base_url, request, auth_headers)
        return await self._deliver(limits, using, lambda progress: self._whole(call, progress))

    async def stream(
        self,
        base_url: str,
        request: HttpRequest,
        auth_headers: Mapping[str, str],
        limits: Limits,
        listener: Listener,
        using: AbstractAsyncContextManager[None] | None = None,
    ) -> Delivery[Streamed | HttpAnswer | Failure]:
        """Like ``send``, but a stream of events is passed on to ``listener`` as it comes.

        The result is ``Streamed`` after a stream, whole or cut; the whole answer when it is none (another status than
        200 or another type); a ``Failure`` when there was nothing to hear in time, or nothing that can be read.
        What the listener raises closes the connection and is raised here.
        """
        call = _Call(base_url, request, auth_headers, streams=True)
        return await self._deliver(limits, using, lambda progress: self._listened(call, listener, progress))

    async def exchange(
        self,
        base_url: str,
        request: HttpRequest,
        auth_headers: Mapping[str, str],
        limits: Limits,
        decode: Callable[[HttpAnswer], Answer | Failure | Pending],
        listener: Listener | None = None,
        using: AbstractAsyncContextManager[None] | None = None,
    ) -> Delivery[Answer | Failure | Streamed]:
        """Send ``request`` and go on as the answers say (``Pending``) until there is one to use.

        Without ``listener`` the result is what ``decode`` makes of the last answer, or this module's ``Failure``. With
        one it may also be ``Streamed``: the listener then knows what was said. A provider that answers whole although
        a stream was asked for is decoded.

        What the provider still works on when the exchange ends (time, cancellation, end of the key, lost connection)
        it is told to stop, in the background and with the key: that begins nothing, it ends something.
        """
        call = _Call(base_url, request, auth_headers, streams=listener is not None)
        return await self._deliver(limits, using, lambda progress: self._followed(call, decode, listener, progress))

    async def _deliver(
        self,
        limits: Limits,
        using: AbstractAsyncContextManager[None] | None,
        work: Callable[[Progress], Awaitable[Result]],
    ) -> Delivery[Result | Failure]:
        started = self._clock.monotonic()
        progress = Progress(limits, self._clock)
        result: Result | Failure
        try:
            async with using or nullcontext(), progress.total:
                result = await work(progress)
        except KeyEndedError:
            result = progress.key_ended()
        except AskerGoneError:
            result = GONE
        except TimeoutError:
            if not progress.total.expired():
                raise
            result = progress.timed_out()
        return Delivery(result, progress.sent, round((self._clock.monotonic() - started) * 1000))

    async def _whole(self, call: _Call, progress: Progress) -> HttpAnswer | Failure:
        opened = await self._request(call, progress)
        if isinstance(opened, Failure):
            return opened
        try:
            return await whole(opened.head, opened.chunks, progress.limits.silence_s, call.secrets)
        finally:
            await opened.close()

    async def _listened(self, call: _Call, listener: Listener, progress: Progress) -> Raw:
        opened = await self._request(call, progress)
        if isinstance(opened, Failure):
            return opened
        silence_s, over = progress.limits.silence_s, False
        try:
            if not opened.head.streams:
                return await whole(opened.head, opened.chunks, silence_s, call.secrets)
            stream = Stream(opened.head, opened.chunks, listener, silence_s, call.secrets)
            result = await stream.heard(progress.first_byte_due)
            over = isinstance(result, Streamed) and listener.is_over
        finally:
            if not over:
                await opened.close()
        if over:
            self._later(opened.leave())
        return result

    async def _followed(
        self,
        call: _Call,
        decode: Callable[[HttpAnswer], Answer | Failure | Pending],
        listener: Listener | None,
        progress: Progress,
    ) -> Answer | Failure | Streamed:
        async def ask(request: HttpRequest, *, streams: bool, elsewhere: str | None) -> Raw:
            if progress.sent:
                progress.follow_up(streams=streams)
            this = _Call(call.base_url, request, call.auth_headers, streams, elsewhere)
            if listener is None or not streams:
                return await self._whole(this, progress)
            return await self._listened(this, listener, progress)

        def give_up(stop: HttpRequest) -> None:
            this = replace(call, request=stop, streams=False)
            self._later(self._deliver(_STOPPING, None, lambda stopping: self._whole(this, stopping)))

        return await followed(call.request, ask, decode, give_up, streams=call.streams)

    async def _request(self, call: _Call, progress: Progress) -> Opened | Failure:
        headers = _headers(call)
        if headers is None:
            return Failure(Outcome.INVALID_KEY, detail="unsendable_key")
        try:
            url = self._address(call)
        except OmniError:
            return Failure(Outcome.CONNECTION_ERROR, detail="destination_not_allowed")
        return await self._connections.request(call.request.method, url, headers, call.request.body, progress)

    def _address(self, call: _Call) -> str:
        if call.elsewhere is not None:
            return check_elsewhere(call.elsewhere, self._base(call.base_url), self._allowed)
        return joined(self._base(call.base_url), call.request.path)

    def _later(self, work: Coroutine[Any, Any, object]) -> None:
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    def _base(self, base_url: str) -> str:
        known = self._bases.get(base_url)
        if known is None:
            check_base_url(base_url, self._allowed)
            known = self._bases[base_url] = parse_base_url(base_url).url
        return known


def _headers(call: _Call) -> dict[str, str] | None:
    """What is sent, None when the key cannot stand in a header."""
    given = {name.lower(): value for name, value in call.request.headers.items()}
    if call.elsewhere is None:
        given |= {name.lower(): value for name, value in call.auth_headers.items()}
    else:
        given = {name: value for name, value in given.items() if name not in _SECRET}
    if not all(value.isascii() and value.isprintable() for value in given.values()):
        return None
    usual = _ALWAYS | _EVENTS if call.streams else _ALWAYS
    return usual | {name: value for name, value in given.items() if name in _SENDABLE}
