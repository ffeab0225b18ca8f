"""What one event of a streamed chat completion says."""

from collections.abc import Iterable, Iterator
from typing import Any

from services.router.domain.sse import ServerEvent
from services.router.providers.answers import fit_id
from services.router.providers.base import UNTOLD, HttpAnswer, at, object_in, text_at
from services.router.providers.chat_failures import ending, reported, reports_failure
from services.router.providers.chat_host import Host
from services.router.providers.chat_usage import tokens_in
from services.router.providers.chunks import MALFORMED, NOT_UNICODE, is_unicode
from services.router.providers.events import Broken, Done, Event, Named, Refused, Text, Thinking, Told, ToolPiece
from services.router.providers.tool_calls import arguments_text

_THOUGHTS = ("reasoning_content", "reasoning", "reasoning_details")


def events(event: ServerEvent, host: Host) -> tuple[Event, ...]:
    """The neutral events in one server-sent event. Fields nobody knows (padding, timings) say nothing."""
    if event.data.strip() == "[DONE]":
        return (Done(),)
    body = object_in(event.data)
    if body is None:
        return (MALFORMED,)
    if not is_unicode(body, event.data):
        return (NOT_UNICODE,)
    if event.name == "error" or reports_failure(body):
        return (_broken(event, body, host),)
    return tuple(_said(event, body, host))


def _said(event: ServerEvent, body: dict[str, Any], host: Host) -> Iterator[Event]:
    yield Named(text_at(body, "model"), fit_id(at(body, "id")))
    tokens = tokens_in(body)
    if tokens is not UNTOLD:
        yield Told(tokens, host.cost(event.data) if host.cost else None)
    choice = at(body, "choices", 0)
    yield from _pieces(at(choice, "delta"))
    # Completions of a prompt have their text here.
    yield from texts(at(choice, "text"))
    end = ending(at(choice, "finish_reason"))
    if end is not None:
        yield end


def _pieces(delta: object) -> Iterator[Event]:
    if not isinstance(delta, dict):
        return
    if any(map(delta.get, _THOUGHTS)):
        yield Thinking()
    yield from texts(delta.get("content"))
    calls = delta.get("tool_calls")
    yield from map(_tool_piece, calls if isinstance(calls, list) else ())
    if delta.get("refusal"):
        yield Refused("refusal")


def texts(content: object) -> Iterable[Text | Thinking]:
    """A message's content, which is a text or a list of parts: what of it is text, and that it is a thought."""
    if isinstance(content, str):
        return (Text(content),) if content else ()
    if not isinstance(content, list):
        return ()
    return tuple(Text(text) if (text := _text_of(part)) else Thinking() for part in content)


def _text_of(part: object) -> str | None:
    text = at(part, "text")
    return text if at(part, "type") == "text" and isinstance(text, str) else None


def _tool_piece(call: object) -> ToolPiece:
    index, arguments = at(call, "index"), at(call, "function", "arguments")
    return ToolPiece(
        index if type(index) is int else None,
        text_at(call, "id"),
        text_at(call, "function", "name"),
        arguments if isinstance(arguments, str) else arguments_text(arguments) if arguments is not None else "",
    )


def _broken(event: ServerEvent, body: dict[str, Any], host: Host) -> Broken:
    failure = reported(HttpAnswer(200, {}, event.data.encode()), body, host)
    named = failure.status if failure.status != 200 else None
    return Broken(failure.outcome, failure.detail or "", named, failure.retry_after_s, tokens_in(body))
