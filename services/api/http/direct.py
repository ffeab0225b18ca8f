"""The paths of calls lead past the framework: each of its layers costs every call, and none does anything for one."""

from fastapi import FastAPI
from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Receive, Scope, Send

from services.api.http.compatible import DIALECTS, Begun, Compatible
from services.api.http.errors import problem_response, told
from services.api.http.invoke import invoke
from shared.clock import Clock


class Direct:
    """Pure ASGI around ``app``, whose state the calls use; it serves everything else, other methods of theirs too."""

    def __init__(self, app: FastAPI, clock: Clock) -> None:
        self._app = app
        self._calls: dict[str, ASGIApp] = {dialect.path: Compatible(dialect, clock) for dialect in DIALECTS}
        self._calls["/ai-invoke"] = _native

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        call = self._calls.get(scope["path"]) if scope["type"] == "http" and scope["method"] == "POST" else None
        if call is None:
            await self._app(scope, receive, send)
        else:
            scope["app"] = self._app
            await call(scope, receive, send)


async def _native(scope: Scope, receive: Receive, send: Send) -> None:
    begun = Begun(send)
    try:
        answer = await invoke(Request(scope, receive))
        await answer(scope, receive, begun)
    except ClientDisconnect:
        raise
    except Exception as error:
        if begun.begun:
            raise
        await problem_response(told(error))(scope, receive, send)
