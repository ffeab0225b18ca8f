"""The paths of calls lead past the framework: each of its layers costs every call, and none does anything for one."""

from functools import partial

from fastapi import FastAPI
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from services.api.http.compatible import DIALECTS, Compatible
from services.api.http.errors import problem_response
from services.api.http.invoke import invoke
from services.api.http.serving import served
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
    await served(scope, receive, send, partial(invoke, Request(scope, receive)), problem_response)
