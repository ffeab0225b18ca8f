"""Before anything is read, parsed or looked up: who may come in now, and how much may be held for whom.

A request is known by its token, its body is read whole (of nobody unknown, and no slower than ``SLOWEST`` bytes a
second), then it waits for its turn. What cannot even wait is refused at once, for about a tenth of what a call costs.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Hashable
from contextlib import AsyncExitStack

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.api.domain.access import Principal
from services.api.domain.json_bounds import VALUES, has_too_many_values
from services.api.domain.rate_headers import anthropic_headers, openai_headers
from services.api.http.admitting import RETRY_AFTER_MS, STANDINGS
from services.api.http.caller import Doorkeeper
from services.api.http.errors import MAX_BODY_BYTES, too_large
from services.api.http.protocol import REST
from services.api.http.serving import again, authorization_of
from services.api.turnstile import FullError, Turnstile
from shared.clock import Clock
from shared.errors import Code, OmniError, invalid

OPEN = frozenset({"/healthz", "/readyz", "/openapi.json", "/docs"})
# What may wait, and for how long; a workspace's part of it is its share among those that wait.
QUEUE, WAIT_S = 512, 5.0
# Bodies above this size share ``LARGE_BYTES``; smaller ones are bounded by how many there are.
SMALL_BODY, LARGE_BYTES = 64 * 1024, 32 * 1024 * 1024
# How long a body may take: so long, and longer the more of it has come.
FIRST_S, SLOWEST = 15.0, 16 * 1024
_STRANGERS = "strangers"
_KNOWN_AT_MOST = 10_000
_BODILESS = frozenset({"GET", "HEAD", "OPTIONS"})

Refused = Callable[[str, OmniError], Response]


class Gate:
    """Pure ASGI. ``refused`` makes the response for a path and an error, in the words of that path."""

    def __init__(self, app: ASGIApp, doorkeeper: Doorkeeper, places: Turnstile, clock: Clock, refused: Refused) -> None:
        self._app, self._doorkeeper, self._clock, self._refused = app, doorkeeper, clock, refused
        self._places = places
        self._bytes = Turnstile(LARGE_BYTES, queue=QUEUE, wait_s=WAIT_S)
        self._known: OrderedDict[bytes, Hashable] = OrderedDict()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or scope["path"] in OPEN:
            await self._app(scope, receive, send)
            return
        telling = _Telling(scope, send, self._clock)
        try:
            async with AsyncExitStack() as held:
                again = await self._come_in(scope, receive, held)
                await self._app(scope, again, telling)
        except OmniError as error:
            if telling.begun:
                raise
            if isinstance(error, FullError):
                scope[REST] = True
            await self._refused(scope["path"], error)(scope, receive, send)

    async def _come_in(self, scope: Scope, receive: Receive, held: AsyncExitStack) -> Receive:
        headers = dict(scope["headers"])
        hashed = self._doorkeeper.hash_of(authorization_of(headers))
        known = self._known.get(hashed)
        # Each address has a line of its own: whoever makes up tokens keeps only his neighbours there waiting.
        who = known if known is not None else (_STRANGERS, (scope.get("client") or ("",))[0])
        self._places.check(who)
        if known is None:
            async with self._places.place(who):
                who = self._remember(hashed, await self._doorkeeper.principal(authorization_of(headers)))
        if scope["method"] not in _BODILESS:
            receive = again(await self._body(headers, receive, who, held), receive)
        await held.enter_async_context(self._places.place(who))
        return receive

    async def _body(self, headers: dict[bytes, bytes], receive: Receive, who: Hashable, held: AsyncExitStack) -> bytes:
        expected = _expected(headers)
        if expected <= SMALL_BODY:
            return await _whole_body(receive)
        # Room for what may come while it comes, and then for what has come: a call may take minutes.
        async with self._bytes.place(who, expected):
            body = await _whole_body(receive)
        if len(body) > SMALL_BODY:
            await held.enter_async_context(self._bytes.place(who, len(body)))
        return body

    def _remember(self, hashed: bytes, principal: Principal) -> Hashable:
        while len(self._known) >= _KNOWN_AT_MOST:
            self._known.popitem(last=False)
        who: Hashable = principal.workspace_id if principal.workspace_id is not None else principal.token_id
        self._known[hashed] = who
        return who


def _expected(headers: dict[bytes, bytes]) -> int:
    declared = headers.get(b"content-length", b"")
    if declared.isdigit():
        return min(int(declared), MAX_BODY_BYTES)
    return MAX_BODY_BYTES if b"transfer-encoding" in headers else 0


async def _whole_body(receive: Receive) -> bytes:
    """Raises OmniError ``timeout`` (408), ``invalid_request`` (413); ClientDisconnect."""
    loop = asyncio.get_running_loop()
    began, body, looked_at = loop.time(), bytearray(), SMALL_BODY
    try:
        async with asyncio.timeout_at(began + FIRST_S) as limit:
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise ClientDisconnect
                body += message.get("body", b"")
                if len(body) > MAX_BODY_BYTES:
                    raise too_large()
                complete = not message.get("more_body", False)
                if complete or len(body) >= looked_at:
                    # The beginning tells: who sends too many is not listened to for megabytes.
                    looked_at = 2 * len(body)
                    _check_values(body)
                if complete:
                    return bytes(body)
                limit.reschedule(began + FIRST_S + len(body) / SLOWEST)
    except HTTPException:
        # The layer around this one has counted as well.
        raise too_large() from None
    except TimeoutError:
        detail = f"The body came too slowly: send it within {FIRST_S:.0f} s, or at {SLOWEST >> 10} KiB a second."
        raise OmniError(Code.TIMEOUT, detail, status=408) from None


def _check_values(body: bytearray) -> None:
    if has_too_many_values(body):
        raise invalid(f"The body holds more than {VALUES:,} values; send fewer at once.")


class _Telling:
    """Adds where the rate limits stand to the answer's headers."""

    def __init__(self, scope: Scope, send: Send, clock: Clock) -> None:
        self._scope, self._send, self._clock, self.begun = scope, send, clock, False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.begun = True
            if standings := dict(self._scope.get(STANDINGS, ())):
                if self._scope["path"].startswith("/v1/messages"):
                    told = anthropic_headers(standings, self._clock.now())
                else:
                    told = openai_headers(standings)
                message["headers"] = [*message.get("headers", ()), *told]
            if (wait_ms := self._scope.get(RETRY_AFTER_MS)) is not None:
                message["headers"] = [*message["headers"], (b"retry-after-ms", b"%d" % wait_ms)]
        await self._send(message)
