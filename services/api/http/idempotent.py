"""``Idempotency-Key``: for calls ``once_of``, for every other POST a layer around the routes.

A route that makes something takes its id from ``NewId``: whoever carries the request out again makes the same thing.
"""

import json
import re
from base64 import b64decode, b64encode
from typing import Annotated
from uuid import UUID, uuid4

from fastapi import Depends, Request
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.api.domain.access import Principal
from services.api.domain.idempotency import Wish
from services.api.http.caller import Doorkeeper
from services.api.http.errors import problem_response, too_large
from services.api.http.serving import again
from services.api.idempotency import HEADER, Claim, Idempotency, Orphaned
from services.api.once import Calls, Once
from shared.errors import Code, OmniError, invalid

_KEY = re.compile(r"[ -~]{1,255}")
_EFFECT = "omnipost.effect_id"
# Calls see to it themselves: their answers are another matter.
_CALLS = re.compile(r"/ai-invoke|/v1(/.*)?")
# A second run would do something a second time, and nobody could tell.
_NOT_AGAIN = re.compile(r"/ai-workspaces(/[^/]*/dek-rotation)?|/ai-providers|/ai-webhooks/[^/]*/(test|deliveries/.*)")


def key_of(headers: Headers) -> str | None:
    """The request's Idempotency-Key. Raises OmniError ``invalid_request`` for one that is none."""
    given = headers.getlist(HEADER)
    if not given:
        return None
    if len(given) > 1 or not _KEY.fullmatch(given[0]):
        raise invalid(f"An {HEADER} is 1 to 255 printable ASCII characters, sent once.", field=HEADER)
    return given[0]


async def once_of(
    request: Request, caller: Principal, workspace_id: int, body: bytes, authorization: str | None = None
) -> Once:
    """The call that a request asks for. ``authorization``: what stands for that header where it is named otherwise.

    Raises OmniError: ``conflict``, ``invalid_request``, ``unavailable``; then no call was made.
    """
    wish = _wish(request.scope, request.headers, body, authorization, workspace_id)
    calls: Calls = request.app.state.calls
    return await calls.begin(wish, caller, workspace_id)


def _wish(
    scope: Scope, headers: Headers, body: bytes, authorization: str | None = None, workspace_id: int | None = None
) -> Wish | None:
    key = key_of(headers)
    if key is None:
        return None
    token = (authorization or headers.get("authorization", "")).partition(" ")[2]
    target = scope["path"].encode("utf-8", "surrogatepass") + b"?" + scope.get("query_string", b"")
    if workspace_id is not None:
        # A header may have named it. No query has this character.
        target += b"#%d" % workspace_id
    return Wish(key=key, token=token, method=scope["method"], target=target, body=body)


def _new_id(request: Request) -> UUID:
    effect: UUID | None = request.scope.get(_EFFECT)
    return effect or uuid4()


NewId = Annotated[UUID, Depends(_new_id)]


class Idempotent:
    """Every POST that is no call, with an Idempotency-Key: carried out once, answered again from what was kept."""

    def __init__(self, app: ASGIApp, doorkeeper: Doorkeeper, idempotency: Idempotency) -> None:
        self._app, self._doorkeeper, self._idempotency = app, doorkeeper, idempotency

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or scope["method"] != "POST" or _CALLS.fullmatch(scope["path"]):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        if HEADER not in headers:
            await self._app(scope, receive, send)
            return
        try:
            await self._once(scope, receive, send, headers)
        except OmniError as error:
            await problem_response(error)(scope, receive, send)
        except HTTPException:
            # Only a body that is too large ends so here.
            await problem_response(too_large())(scope, receive, send)

    async def _once(self, scope: Scope, receive: Receive, send: Send, headers: Headers) -> None:
        caller = await self._doorkeeper.principal(headers.get("authorization"))
        body = await _read(receive)
        wish = _wish(scope, headers, body or b"")
        if body is None or wish is None:
            return
        claim = await self._idempotency.begin(wish, caller, caller.workspace_id, _may_run_again(scope["path"]))
        if claim.kept is not None:
            await _restored(claim.kept)(scope, receive, send)
            return
        async with claim.held():
            response = await self._carried_out(claim, {**scope, _EFFECT: claim.effect_id}, again(body, receive))
        await response(scope, receive, send)

    async def _carried_out(self, claim: Claim, scope: Scope, receive: Receive) -> Response:
        caught = _Caught()
        try:
            await self._app(scope, receive, caught)
        except BaseException:
            await claim.let_go()
            raise
        response = caught.response()
        if response.status_code >= 500:
            await claim.let_go()
        elif response.status_code >= 400:
            await claim.forget()
        elif not await claim.keep(_stored(response)):
            raise OmniError(Code.CONFLICT, "Another request with this key has taken over; ask again with the same key.")
        return response


def _may_run_again(path: str) -> "_Decide":
    return _Decide(may=not _NOT_AGAIN.fullmatch(path))


class _Decide:
    """Whether a request that was left may be carried out again."""

    def __init__(self, *, may: bool) -> None:
        self._may = may

    async def __call__(self, left: Orphaned) -> None:
        del left
        if not self._may:
            detail = (
                f"A request with this {HEADER} was interrupted. Look whether it has taken effect, then use a new key."
            )
            raise OmniError(Code.CONFLICT, detail, extra={"reason": "interrupted"})


async def _read(receive: Receive) -> bytes | None:
    parts: list[bytes] = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        parts.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(parts)


class _Caught:
    """A response that is looked at before it is sent."""

    def __init__(self) -> None:
        self._status, self._headers, self._body = 500, [], b""  # type: tuple[int, list[tuple[bytes, bytes]], bytes]

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._status, self._headers = message["status"], list(message.get("headers", ()))
        else:
            self._body += message.get("body", b"")

    def response(self) -> Response:
        response = Response(self._body, self._status)
        response.raw_headers = self._headers
        return response


def _stored(response: Response) -> bytes:
    media_type = response.headers.get("content-type")
    body = b64encode(bytes(response.body)).decode()
    return json.dumps({"status": response.status_code, "media_type": media_type, "body": body}).encode()


def _restored(kept: bytes) -> Response:
    stored = json.loads(kept)
    headers = {"idempotent-replayed": "true"}
    return Response(b64decode(stored["body"]), stored["status"], headers, stored["media_type"])
