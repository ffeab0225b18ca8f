"""One server-sent event that is a JSON object: what adapters do alike before they read it."""

import json
from collections.abc import Callable, Iterable
from typing import Any

from services.router.domain.sse import ServerEvent
from services.router.providers.base import Failure, object_in
from services.router.providers.events import Broken, Event
from shared.messages.vocabulary import Outcome

MALFORMED = Broken(Outcome.BAD_RESPONSE, "malformed_chunk")
NOT_UNICODE = Broken(Outcome.BAD_RESPONSE, "not_unicode")


def events_by(read: Callable[[dict[str, Any]], Iterable[Event]]) -> Callable[[ServerEvent], Iterable[Event]]:
    """A reader of events: ``read`` for the JSON object in one. Anything else breaks the stream."""

    def events(event: ServerEvent) -> Iterable[Event]:
        body = object_in(event.data)
        if body is None:
            return (MALFORMED,)
        return read(body) if is_unicode(body, event.data) else (NOT_UNICODE,)

    return events


def is_unicode(body: dict[str, Any], text: str) -> bool:
    """Whether no string of ``body``, parsed from ``text``, holds half of a surrogate pair.

    Only an escape can spell one, so that nearly every event is told by a look at its text.
    """
    if "\\ud" not in text and "\\uD" not in text:
        return True
    try:
        json.dumps(body, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


def broken_by(failure: Failure, status: int | None = None) -> Broken:
    """The end of a stream that reports ``failure``; ``status``: the one it names itself."""
    return Broken(failure.outcome, failure.detail or "stream_error", status, failure.retry_after_s)
