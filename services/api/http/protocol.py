"""HTTP/1.1 on the wire, with the bounds that uvicorn leaves open: heads, pipelines, idle and lingering connections.

What is not plainly one request after another is refused and the connection closed, so that nobody before this server
can have understood it differently.
"""

import asyncio
import json
import random
from typing import Any

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

HEAD_BYTES = 32 * 1024
FIELDS = 100
URL_BYTES = 8 * 1024
# How many requests may be sent ahead of their answers.
PIPELINED = 16
# From the first byte of a head to its last; without a byte a connection is as good as idle.
HEAD_S = 10.0
IDLE_S = 30
IDLE_CONNECTIONS = 2048
# A body that nobody wants any more is still taken from the wire, so that its sender reads the answer.
LINGER_S, LINGER_BYTES = 2.0, 16 * 1024 * 1024
REST = "omnipost.rest"
"""In the scope of a request that there was no place for: for about ``REST_S`` its connection is not read."""
REST_S = 1.0
_ONCE = frozenset({b"content-length", b"host", b"transfer-encoding", b"authorization", b"content-type", b"x-api-key"})


_MALFORMED = (400, "This is not a request of HTTP/1.1 as RFC 9112 has it.")
_HEAD_TOO_LARGE = (431, f"The head is too large: at most {FIELDS} fields and {HEAD_BYTES >> 10} KiB.")
_ADDRESS_TOO_LONG = (414, f"The address is longer than {URL_BYTES >> 10} KiB.")


class Wire:
    """The connections of one server. ``protocol`` is what ``uvicorn.Config`` takes for ``http``."""

    def __init__(self) -> None:
        # In the order in which they fell idle.
        self._idle: dict[EdgeProtocol, None] = {}

    def protocol(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> "EdgeProtocol":
        """A protocol for one connection."""
        return EdgeProtocol(self, config, server_state, app_state, _loop)

    def idle(self, connection: "EdgeProtocol") -> None:
        """It has no request; of too many such, the one that has had none for longest is closed."""
        self._idle.pop(connection, None)
        self._idle[connection] = None
        if len(self._idle) > IDLE_CONNECTIONS:
            oldest = next(iter(self._idle))
            del self._idle[oldest]
            oldest.transport.close()

    def busy(self, connection: "EdgeProtocol") -> None:
        """It has a request, or is gone."""
        self._idle.pop(connection, None)


class EdgeProtocol(HttpToolsProtocol):
    """One connection."""

    def __init__(self, wire: Wire, *args: Any) -> None:  # noqa: ANN401 - uvicorn's own
        super().__init__(*args)
        self._wire = wire
        self._head_bytes = self._fields = self._field_bytes = 0
        self._head_began = False
        self._in_head = self._refused = False
        self._why = _MALFORMED
        self._timer: asyncio.TimerHandle | None = None
        self._lingered: int | None = None

    # -- the connection --------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client is there; it may wait a while with its first request."""
        super().connection_made(transport)
        self._wire.idle(self)
        self._close_in(IDLE_S)

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone."""
        self._wire.busy(self)
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Bytes: part of a head, of a body, or of both."""
        if self._refused or self.transport.is_closing():
            return
        if self._lingered is not None:
            self._lingered += len(data)
            if self._lingered > LINGER_BYTES:
                self.transport.close()
                return
        before, self._head_began = self._head_bytes if self._in_head else 0, False
        self._feed(data)
        if self._in_head and not self._refused:
            # Where a head has begun among these bytes, the most of them may have been the body before it.
            self._head_bytes = 0 if self._head_began else before + len(data)
            if self._head_bytes > HEAD_BYTES:
                self._why = _HEAD_TOO_LARGE
                self.send_400_response("")
            elif self._timer is None:
                self._close_in(HEAD_S)

    def _feed(self, data: bytes) -> None:
        # As uvicorn does, but for a line in the log for whatever somebody sends.
        self._unset_keepalive_if_required()
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError:
            self.send_400_response("")
        except httptools.HttpParserUpgrade:
            # What follows is in a protocol that is not spoken here: the request is answered, the rest is not read.
            self._refused = True
            if self.cycle is not None:
                self.cycle.keep_alive = False

    def send_400_response(self, msg: str) -> None:
        """Refuse what has come, once, and close; what came whole before it is still answered."""
        del msg
        if self._refused:
            return
        self._refused = True
        cycle: RequestResponseCycle | None = self.cycle
        if cycle is not None and not cycle.response_complete:
            if cycle.response_started or not cycle.more_body:
                cycle.keep_alive = False
                self.flow.pause_reading()
                return
            cycle.disconnected = True
            cycle.message_event.set()
        status, detail = self._why
        body = json.dumps(
            {
                "type": "urn:omnipost:problem:invalid_request",
                "title": "Invalid request",
                "status": status,
                "code": "invalid_request",
                "detail": detail,
            }
        ).encode()
        head = b"content-type: application/problem+json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n"
        self.transport.write(STATUS_LINE[status] + head % len(body) + body)
        self.transport.close()

    # -- what the parser finds -------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """The first byte of a head."""
        super().on_message_begin()
        self._stop_timer()
        self._in_head, self._head_bytes, self._fields, self._field_bytes = True, 0, 0, 0
        self._head_began = True

    def on_url(self, url: bytes) -> None:
        """A part of the target."""
        super().on_url(url)
        if len(self.url) > URL_BYTES:
            self._why = _ADDRESS_TOO_LONG
            raise httptools.HttpParserError("address")

    def on_header(self, name: bytes, value: bytes) -> None:
        """A field. Those behind a chunked body are nobody's business: they come after the request was understood."""
        if not self._in_head:
            return
        self._fields += 1
        self._field_bytes += len(name) + len(value)
        if self._fields > FIELDS or self._field_bytes > HEAD_BYTES:
            self._why = _HEAD_TOO_LARGE
            raise httptools.HttpParserError("head")
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The request is known."""
        _check_head(self.headers, self.parser.get_http_version(), self.parser.get_method())
        if len(self.pipeline) >= PIPELINED:
            raise httptools.HttpParserError("pipeline")
        self._stop_timer()
        self._wire.busy(self)
        super().on_headers_complete()
        self._in_head = False

    def on_message_complete(self) -> None:
        """The request is whole."""
        super().on_message_complete()
        if self._lingered is not None:
            self._lingered = None
            self._stop_timer()
            self._wire.idle(self)

    def on_response_complete(self) -> None:
        """The answer is whole, perhaps before the request is."""
        answered = self.cycle
        super().on_response_complete()
        if self.transport.is_closing() or self.pipeline or not answered.response_complete:
            return
        if answered.more_body:
            self._lingered = 0
            self._unset_keepalive_if_required()
            self._close_in(LINGER_S)
            return
        self._wire.idle(self)
        if REST in answered.scope:
            # Refusals are cheap, not free: who asks again at once would have nobody else served. Not all at one moment.
            self.flow.pause_reading()
            self.loop.call_later(REST_S * random.uniform(0.5, 1.5), self._read_on)  # noqa: S311 - no secret

    def _read_on(self) -> None:
        if not self.transport.is_closing():
            self.flow.resume_reading()

    # -- time ------------------------------------------------------------------------------------------------

    def _close_in(self, seconds: float) -> None:
        self._stop_timer()
        self._timer = self.loop.call_later(seconds, self._time_is_up)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _time_is_up(self) -> None:
        self._timer = None
        if self._in_head and self.cycle is not None and not self.cycle.response_complete:
            # While a request is worked on nothing is read: the rest of the next head may be waiting for us.
            self._close_in(HEAD_S)
            return
        self.transport.close()


def _check_head(headers: list[tuple[bytes, bytes]], version: str, method: bytes) -> None:
    """Raises HttpParserError for what one server may read differently from another."""
    names = [name for name, _ in headers]
    for name in _ONCE:
        if names.count(name) > 1:
            raise httptools.HttpParserError("twice")
    if version not in ("1.0", "1.1") or method == b"CONNECT":
        raise httptools.HttpParserError("version")
    if version == "1.1" and b"host" not in names:
        raise httptools.HttpParserError("host")
    if b"transfer-encoding" in names:
        coding = next(value for name, value in headers if name == b"transfer-encoding")
        if version == "1.0" or b"content-length" in names or coding.lower().strip() != b"chunked":
            raise httptools.HttpParserError("framing")
