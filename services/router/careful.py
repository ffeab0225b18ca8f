"""Reads strangers' answers through an adapter: nothing it stumbles over breaks the call, and no key comes through.

``services/router/reading.py`` has cut the key out of the bytes. A character written as an escape or a cut
between two events hides it from that; in what an adapter has read there is neither.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Generic, TypeVar

from services.router.domain.bodies import Seams, without_in_texts
from services.router.domain.sse import ServerEvent
from services.router.providers.base import ChatAnswer, Dialect, EmbedAnswer, Failure, HttpAnswer, Pending
from services.router.providers.chunks import MALFORMED
from services.router.providers.events import Event, Text, ToolPiece
from shared import logs
from shared.messages.chat import ToolCallV1
from shared.messages.vocabulary import Outcome

Answer = TypeVar("Answer", bound=ChatAnswer | EmbedAnswer)
Said = TypeVar("Said", bound=ChatAnswer | EmbedAnswer | Failure | Event)

UNREADABLE = "unreadable"


class Careful(Generic[Answer]):
    """Reads one exchange. ``decode`` and ``dialect`` (None: nothing streams) are the adapter's, ``key`` is in use."""

    def __init__(
        self, decode: Callable[[HttpAnswer], Answer | Failure | Pending], dialect: Dialect | None, key: str
    ) -> None:
        self._decode, self._dialect = decode, dialect
        self._clean, self._seams = without_in_texts([key]), Seams([key])

    @property
    def dialect(self) -> Dialect | None:
        """The adapter's, with events that are read carefully."""
        return None if self._dialect is None else replace(self._dialect, events=self.events)

    def decode(self, answer: HttpAnswer) -> Answer | Failure | Pending:
        """What the adapter reads; ``bad_response`` when it cannot."""
        try:
            read = self._decode(answer)
        except Exception as error:  # noqa: BLE001 - whatever a stranger sends must not break the call
            logs.get().error("an answer could not be read", exc=error)
            return Failure(Outcome.BAD_RESPONSE, answer.status, UNREADABLE)
        return read if isinstance(read, Pending) else self._cleaned(read)

    def events(self, event: ServerEvent) -> tuple[Event, ...]:
        """What the adapter reads; the end of the stream when it cannot."""
        if self._dialect is None:
            return ()
        try:
            said = tuple(self._dialect.events(event))
        except Exception as error:  # noqa: BLE001 - as above
            logs.get().error("an event could not be read", exc=error)
            return (MALFORMED,)
        return tuple(self._joined(self._cleaned(item)) for item in said)

    def _joined(self, item: Event) -> Event:
        match item:
            case Text(text):
                return Text(self._seams.clean("text", text))
            case ToolPiece(index, _, _, arguments) if index is not None:
                return replace(item, arguments=self._seams.clean(index, arguments))
        return item

    def _cleaned(self, said: Said) -> Said:
        changed: dict[str, Any] = {}
        for name, value in vars(said).items():
            if type(value) is str and (cleaned := self._clean(value)) != value:
                changed[name] = cleaned
            elif name == "tool_calls" and value:
                changed[name] = tuple(map(self._cleaned_call, value))
        return replace(said, **changed) if changed else said

    def _cleaned_call(self, call: ToolCallV1) -> ToolCallV1:
        return ToolCallV1(id=self._clean(call.id), name=self._clean(call.name), arguments=self._clean(call.arguments))
