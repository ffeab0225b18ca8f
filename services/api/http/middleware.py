"""What happens around every request: its size is limited, its trace begins, and no exception escapes."""

import re
from uuid import uuid4

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.api.domain import request_ids
from services.api.http.errors import MAX_BODY_BYTES, problem_response, too_large
from shared import logs
from shared.errors import Code, OmniError
from shared.telemetry import Telemetry

_TWO_WORDS = "provider-changes|dead-letters|ledger-actions"
_OURS = re.compile(rf"/(?:ai-(?:{_TWO_WORDS}|[a-z]{{1,16}})|healthz|readyz|openapi\.json|v1)?(?=/|$)")
# The second is what Anthropic's SDKs read.
_REQUEST_IDS = (b"x-request-id", b"request-id")
_FIXED = ((b"x-content-type-options", b"nosniff"), (b"cache-control", b"no-store"))


class Edge:
    """Pure ASGI, because a wrapping response class would hide that a client has left."""

    def __init__(self, app: ASGIApp, telemetry: Telemetry) -> None:
        self._app, self._telemetry = app, telemetry

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        given = headers.get(b"x-request-id", b"").decode("latin-1")
        request_id = given if request_ids.taken(given) else uuid4().hex
        traceparent = headers.get(b"traceparent", b"").decode("latin-1")
        span = f"{scope['method']} {_route(scope['path'])}"
        with logs.about_request(request_id), self._telemetry.root(span, traceparent):
            await self._serve(scope, receive, _Sender(send, request_id.encode()), headers)

    async def _serve(self, scope: Scope, receive: Receive, send: "_Sender", headers: dict[bytes, bytes]) -> None:
        try:
            if _declared_length(headers) > MAX_BODY_BYTES:
                await problem_response(too_large())(scope, receive, send)
            else:
                await self._app(scope, _limited(receive), send)
        except ClientDisconnect:
            return
        except Exception as error:  # noqa: BLE001 - the last line of defence: a caller must always get an answer
            logs.get().error("request failed", exc=error)
            failure = OmniError(Code.INTERNAL, "Something went wrong on our side; the call log says what was done.")
            if not send.begun:
                await problem_response(failure)(scope, receive, send)


class _Sender:
    """Adds the fixed headers and remembers whether the response has begun."""

    def __init__(self, send: Send, request_id: bytes) -> None:
        self._send, self._request_id, self.begun = send, request_id, False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.begun = True
            ids = [(name, self._request_id) for name in _REQUEST_IDS]
            message["headers"] = [*message.get("headers", ()), *ids, *_FIXED]
        await self._send(message)


def _declared_length(headers: dict[bytes, bytes]) -> int:
    text = headers.get(b"content-length", b"0")
    return int(text) if text.isdigit() else 0


def _limited(receive: Receive) -> Receive:
    received = 0

    async def counting() -> Message:
        nonlocal received
        message = await receive()
        received += len(message.get("body", b""))
        if received > MAX_BODY_BYTES:
            # FastAPI lets this exception through as it is; every other one raised here it takes for bad JSON.
            raise HTTPException(413)
        return message

    return counting


def _route(path: str) -> str:
    # Span names hold no ids, and nothing a caller has made up: only the first segment, and only of our own routes.
    ours = _OURS.match(path)
    return ours.group() or "/" if ours else "unknown"
