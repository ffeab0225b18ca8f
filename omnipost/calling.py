"""Calls of aliases, their streams, and the call log: what is sent, and what the pieces mean. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self, TypedDict, Unpack

import httpx2

from omnipost.asking import Ask, set_only
from omnipost.errors import error_of
from omnipost.exchange import lost
from omnipost.shapes import Answer, CallPage, Target

CALL_S = 660.0
"""Longer than any alias may take."""
SILENCE_S = 35.0
"""A stream says something every 10 s."""
LONGEST_EVENT = 64 * 1024 * 1024


class Question(TypedDict, total=False):
    """One of ``prompt``, ``messages`` (OpenAI's shape) and ``input`` (texts to embed), and how to answer.

    ``options``: ``max_tokens``, ``temperature``, ``tools``, ``response_format`` … (docs/api.md).
    """

    prompt: str
    messages: Sequence[Mapping[str, Any]]
    input: str | Sequence[str]
    options: Mapping[str, Any]
    capability: str


class Filters(TypedDict, total=False):
    """Which rows of the call log: ``since`` and ``until`` are ISO dates or instants, ``limit`` is rows a page."""

    since: str | None
    until: str | None
    provider: str | None
    alias_name: str | None
    model: str | None
    key_id: str | None
    call_id: str | None
    outcome: str | None
    limit: int | None


def call(alias: str, workspace_id: int | None, *, stream: bool = False, **question: Unpack[Question]) -> Ask[Answer]:
    """A call of ``alias``."""
    body = {"alias_name": alias, **set_only(workspace_id=workspace_id, **question)}
    if stream:
        return Ask("POST", "/ai-invoke", body={**body, "stream": True}, read_s=SILENCE_S)
    return Ask("POST", "/ai-invoke", body=body, read_s=CALL_S)


def call_page(workspace_id: int | None, cursor: str | None, filters: Filters) -> Ask[CallPage]:
    """A page of the call log, newest first."""
    named = {{"since": "from", "until": "to"}.get(name, name): value for name, value in filters.items()}
    return Ask("GET", "/ai-usage/calls", {**named, "workspace_id": workspace_id, "cursor": cursor})


class ToolPiece(TypedDict, total=False):
    """A piece of a tool call; ``arguments`` are to be joined by ``index``."""

    index: int
    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Piece:
    """What has come of a streamed answer. ``continued``: the answer was cut, and from here this target goes on."""

    text: str = ""
    tool_calls: tuple[ToolPiece, ...] = ()
    continued: Target | None = None


class Reading:
    """A streamed answer as it is read. ``answer``: the whole of it, once it has ended well."""

    def __init__(self, request_id: str | None) -> None:
        self._request_id = request_id
        self.answer: Answer | None = None

    def take(self, event: httpx2.ServerSentEvent) -> Piece | None:
        """The piece this event brings, if any. Raises OmniPostError for an ``error`` event."""
        data: Any = event.json() if event.data else None
        if event.event == "error":
            raise error_of(data, request_id=self._request_id)
        if event.event == "done":
            self.answer = data
        elif event.event == "continued":
            return Piece(continued=data)
        elif event.event == "delta":
            return Piece(data.get("text", ""), tuple(data.get("tool_calls", ())))
        return None

    def whole(self) -> Answer:
        """The answer. Raises AnswerLostError when the stream has not come to its end."""
        if self.answer is None:
            raise lost("the stream was not read to its end", self._request_id)
        return self.answer

    def broken(self, error: Exception) -> Exception:
        """What to raise for ``error`` of the transport, or of an event that is none."""
        return lost(type(error).__name__, self._request_id)


class StreamState:
    """What streams of both clients have in common: ``response`` is there once it is entered."""

    def __init__(self) -> None:
        self._response: httpx2.Response | None = None
        self._reading = Reading(None)

    @property
    def answer(self) -> Answer:
        """The whole answer, as a plain call gives it. Raises AnswerLostError before the stream has ended."""
        return self._reading.whole()

    def _opened(self, response: httpx2.Response) -> Self:
        self._response, self._reading = response, Reading(response.headers.get("x-request-id"))
        return self

    def _events(self) -> httpx2.EventSource:
        if self._response is None:
            raise RuntimeError("Use the stream in a with block; it is opened there, and closed at the end.")
        return httpx2.EventSource(self._response, max_event_size=LONGEST_EVENT)
