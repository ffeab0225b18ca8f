"""Steps of serving a request that more than one layer takes: its body once more, its token, a failure told in time."""

from collections.abc import Awaitable, Callable, Mapping

from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.api.http.errors import told
from shared.errors import OmniError


def again(body: bytes, receive: Receive) -> Receive:
    """``body`` once more, in one piece, and then whatever comes after it."""
    given = False

    async def replay() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay


def authorization_of(headers: Mapping[bytes, bytes]) -> str | None:
    """What stands for the ``Authorization`` header: Anthropic's SDK sends the token as ``x-api-key``."""
    given, key = headers.get(b"authorization"), headers.get(b"x-api-key")
    if given is None and key is not None:
        given = b"Bearer " + key
    return None if given is None else given.decode("latin-1")


class _Begun:
    """Remembers whether the response has begun."""

    def __init__(self, send: Send) -> None:
        self._send, self.begun = send, False

    async def __call__(self, message: Message) -> None:
        self.begun = True
        await self._send(message)


async def served(
    scope: Scope,
    receive: Receive,
    send: Send,
    answer: Callable[[], Awaitable[ASGIApp]],
    failed: Callable[[OmniError], Response],
) -> None:
    """Send what ``answer`` gives; a failure before the first byte as ``failed`` tells it, a later one is raised."""
    begun = _Begun(send)
    try:
        await (await answer())(scope, receive, begun)
    except ClientDisconnect:
        raise
    except Exception as error:
        if begun.begun:
            raise
        await failed(told(error))(scope, receive, send)
