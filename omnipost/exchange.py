"""How one request is asked until it is answered: pages, errors, repetitions. No I/O: a client does what is yielded."""

import json
import random
from collections.abc import Generator
from dataclasses import dataclass, field, replace
from email.utils import parsedate_to_datetime
from typing import Any, TypeAlias, TypeVar
from uuid import uuid4

import httpx2

from omnipost.asking import Ask
from omnipost.errors import AnswerLostError, ConflictError, OmniPostError, UnreachableError, error_of

T = TypeVar("T")
CONNECT_S = 5.0
FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 30.0
"""Who is told to wait longer than that is told so by the exception instead."""
LONGEST_RUNNING_S = 600.0
"""How long a repetition waits for its first request to end."""
_NOTHING_SENT = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout, httpx2.UnsupportedProtocol)


@dataclass(frozen=True, slots=True)
class Send:
    """Send this; the answer is a response (read, unless it is ``streamed`` and a success) or a transport error."""

    method: str
    path: str
    query: dict[str, str]
    content: bytes | None = field(repr=False)
    headers: dict[str, str] = field(repr=False)
    timeout: httpx2.Timeout
    streamed: bool = False

    def parts(self) -> dict[str, Any]:
        """As ``build_request`` takes it."""
        about = {"method": self.method, "url": self.path, "params": self.query}
        return {**about, "content": self.content, "headers": self.headers, "timeout": self.timeout}


@dataclass(frozen=True, slots=True)
class Wait:
    """Do nothing for so many seconds."""

    seconds: float


Result: TypeAlias = httpx2.Response | httpx2.RequestError | None
Steps: TypeAlias = Generator[Send | Wait, Result, T]


def asked(ask: Ask[T], token: str, retries: int) -> Steps[T]:
    """The answer of ``ask``; of a list, all pages. Raises OmniPostError. ``retries``: how often it is asked again."""
    if not ask.listed:
        response = yield from responded(ask, token, retries)
        return _json(response)  # type: ignore[no-any-return]
    items: list[Any] = []
    cursor: str | None = None
    while True:
        page = replace(ask, query={**ask.query, "cursor": cursor})
        answer = _json((yield from responded(page, token, retries)))
        items += answer["items"]
        cursor = answer.get("next_cursor")
        if not cursor:
            return items  # type: ignore[return-value]


def responded(ask: Ask[Any], token: str, retries: int, *, streamed: bool = False) -> Steps[httpx2.Response]:
    """A successful response to ``ask``. Raises OmniPostError."""
    send = _send(ask, token, streamed=streamed)
    tried = 0
    running_s = 0.0
    while True:
        result = yield send
        if isinstance(result, httpx2.Response) and (result.is_success or result.status_code in ask.also):
            return result
        error = _error(result, send)
        pause = pause_of(error, send, tried, retries)
        if pause is None and _is_running(error, send) and running_s < LONGEST_RUNNING_S:
            pause = error.retry_after or 1.0
            running_s += pause
        elif pause is None:
            raise error
        else:
            tried += 1
        yield Wait(pause)


def pause_of(error: OmniPostError, send: Send, tried: int, retries: int) -> float | None:
    """Seconds to wait before the same is asked again; None: it must not be.

    What was certainly not done may be repeated. What was perhaps done: reading, and a POST under its Idempotency-Key.
    """
    repeatable = send.method == "GET" or "idempotency-key" in send.headers
    again = (
        isinstance(error, UnreachableError)
        or error.status in (429, 503)
        or (isinstance(error, AnswerLostError) and repeatable)
        or (send.method == "GET" and (error.status or 0) >= 500)
    )
    if not again or tried >= retries or error.extra.get("should_retry") is False:
        return None
    # Who was refused together must not come back together.
    backoff = FIRST_PAUSE_S * 2**tried * random.uniform(0.5, 1.0)  # noqa: S311 - no secret
    pause = max(error.retry_after or 0.0, backoff)
    return pause if pause <= LONGEST_PAUSE_S else None


def _is_running(error: OmniPostError, send: Send) -> bool:
    said = isinstance(error, ConflictError) and error.retry_after is not None
    return said and "idempotency-key" in send.headers


def _send(ask: Ask[Any], token: str, *, streamed: bool) -> Send:
    headers = {"authorization": f"Bearer {token}", "accept": "*/*", "x-request-id": uuid4().hex}
    content = None
    if ask.body is not None:
        headers["content-type"] = "application/json"
        content = json.dumps(ask.body, ensure_ascii=False).encode("utf-8", "replace")
    if ask.method == "POST":
        headers["idempotency-key"] = uuid4().hex
    timeout = httpx2.Timeout(ask.read_s, connect=CONNECT_S)
    return Send(ask.method, ask.path, ask.given(), content, headers, timeout, streamed)


def _error(result: Result, send: Send) -> OmniPostError:
    if isinstance(result, httpx2.Response):
        request_id = result.headers.get("x-request-id")
        error = error_of(
            _json(result), status=result.status_code, request_id=request_id, retry_after=_retry_after(result)
        )
        if result.headers.get("x-should-retry") == "false":
            error.extra["should_retry"] = False
        return error
    kind = type(result).__name__
    request_id = send.headers["x-request-id"]
    if isinstance(result, _NOTHING_SENT):
        return UnreachableError(
            f"OmniPost cannot be reached ({kind}); check the URL and that it is running.", request_id=request_id
        )
    return lost(kind, request_id)


def lost(kind: str, request_id: str | None = None) -> AnswerLostError:
    """The error of a connection that broke (``kind``: how) while it was used."""
    return AnswerLostError(
        f"The connection broke before the answer was complete ({kind}); the call log says what was done.",
        request_id=request_id,
    )


def _json(response: httpx2.Response) -> Any:  # noqa: ANN401 - JSON
    if not response.content:
        return None
    try:
        return response.json()
    except ValueError:
        if response.is_success:
            raise error_of(None, status=response.status_code) from None
        return None


def _retry_after(response: httpx2.Response) -> float | None:
    text = response.headers.get("retry-after", "")
    try:
        return max(0.0, float(text))
    except ValueError:
        pass
    try:
        return max(0.0, (parsedate_to_datetime(text) - parsedate_to_datetime(response.headers["date"])).total_seconds())
    except (KeyError, TypeError, ValueError):
        return None
