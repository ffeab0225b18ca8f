"""Streamed answers of ``/v1/responses``: every event numbered, every item added, filled, and done."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from services.api.dialects.foreign_calls import is_whole
from services.api.dialects.openai_response_parts import (
    call_item,
    ended,
    failed,
    message_item,
    response,
    status,
    text_part,
)
from shared.errors import OmniError
from shared.messages.chat import DeltaV1, ToolCallDeltaV1
from shared.messages.router import InvokedV1

_FIRST = ("created", "in_progress")
_WAITING = b": waiting\n\n"


class _Message:
    """An item that is being written: text."""

    def __init__(self, call_id: str, index: int) -> None:
        self._call_id, self.index = call_id, index
        self._told: list[str] = []

    def item(self, state: str) -> dict[str, Any]:
        """The item as it stands; before it is done it shows no content."""
        text = None if state == "in_progress" else "".join(self._told)
        return message_item(self._call_id, self.index, state, text)

    def add(self, text: str) -> None:
        """More of it."""
        self._told.append(text)

    def done(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """The events of its end, but for the item's own."""
        text = "".join(self._told)
        yield "response.output_text.done", {"content_index": 0, "text": text, "logprobs": []}
        yield "response.content_part.done", {"content_index": 0, "part": text_part(text)}


class _Call:
    """An item that is being written: a function call."""

    def __init__(self, call_id: str, index: int, piece: ToolCallDeltaV1) -> None:
        self._call_id, self.index = call_id, index
        self._id, self._name = piece.id or "", piece.name or ""
        self._told: list[str] = []

    @property
    def is_whole(self) -> bool:
        """Whether its arguments are complete."""
        return is_whole("".join(self._told))

    def item(self, state: str) -> dict[str, Any]:
        """The item as it stands; before it is done it shows no arguments."""
        arguments = "" if state == "in_progress" else "".join(self._told)
        call = {"id": self._id, "name": self._name, "arguments": arguments}
        return call_item(self._call_id, self.index, state, call)

    def add(self, arguments: str) -> None:
        """More of it."""
        self._told.append(arguments)

    def done(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """The event of its end, but for the item's own."""
        yield "response.function_call_arguments.done", {"name": self._name, "arguments": "".join(self._told)}


class ResponseWriter:
    """Writes one response as events. ``created``: Unix seconds; ``shown``: what it repeats of the question."""

    def __init__(self, call_id: str, created: int, model: str, shown: Mapping[str, Any]) -> None:
        self._call_id, self._begun = call_id, response(call_id, created, model, shown)
        self._number = len(_FIRST) - 1
        self._items: list[_Message | _Call] = []
        self._open: list[_Message | _Call] = []
        self._calls: dict[int, _Call] = {}
        self._states: dict[int, str] = {}

    def begin(self) -> bytes:
        """``response.created`` and ``response.in_progress``."""
        # Numbered from 0 whenever they are made: the first piece may have been made before.
        return b"".join(_event(f"response.{kind}", number, response=self._begun) for number, kind in enumerate(_FIRST))

    def waiting(self) -> bytes:
        """A comment."""
        return _WAITING

    def delta(self, delta: DeltaV1) -> bytes:
        """The events of a piece."""
        return b"".join(self._events(delta))

    def end(self, answer: InvokedV1) -> bytes:
        """What is open is done; then ``response.completed``, or ``response.incomplete`` at a limit of tokens."""
        state = status(answer)
        if not self._items:
            # An answer is never without an item: programs look for the first.
            events = [*self._begin_message(), *self._close(self._open, state)]
        else:
            events = [*self._close(self._open, state)]
        whole = self._begun | ended(answer, self._output())
        return b"".join((*events, self._event(f"response.{state}", response=whole)))

    def failed(self, error: OmniError) -> bytes:
        """``response.failed``, with what there was of the answer."""
        for item in self._open:
            self._states[item.index] = "incomplete"
        return self._event("response.failed", response=self._begun | failed(error, self._output()))

    def _events(self, delta: DeltaV1) -> Iterator[bytes]:
        if delta.text:
            if not self._open or not isinstance(self._open[-1], _Message):
                yield from self._begin_message()
            message = self._open[-1]
            message.add(delta.text)
            told = {"content_index": 0, "delta": delta.text, "logprobs": []}
            yield self._of("response.output_text.delta", message, **told)
        for piece in delta.tool_calls:
            yield from self._piece(piece)

    def _piece(self, piece: ToolCallDeltaV1) -> Iterator[bytes]:
        call = self._calls.get(piece.index)
        if call is None:
            yield from self._close_whole()
            call = self._calls[piece.index] = _Call(self._call_id, len(self._items), piece)
            yield self._add(call)
        if piece.arguments and call in self._open:
            call.add(piece.arguments)
            yield self._of("response.function_call_arguments.delta", call, delta=piece.arguments)

    def _begin_message(self) -> Iterator[bytes]:
        yield from self._close_whole()
        message = _Message(self._call_id, len(self._items))
        yield self._add(message)
        yield self._of("response.content_part.added", message, content_index=0, part=text_part(""))

    def _add(self, item: _Message | _Call) -> bytes:
        self._items.append(item)
        self._open.append(item)
        added = item.item("in_progress")
        return self._event("response.output_item.added", output_index=item.index, item=added)

    def _close_whole(self) -> Iterator[bytes]:
        # Providers may send the pieces of two calls in turns: one that is not whole yet stays open.
        whole = [item for item in self._open if isinstance(item, _Message) or item.is_whole]
        yield from self._close(whole, "completed")

    def _close(self, items: list[_Message | _Call], state: str) -> Iterator[bytes]:
        for item in list(items):
            self._open.remove(item)
            self._states[item.index] = state
            for kind, fields in item.done():
                yield self._of(kind, item, **fields)
            yield self._event("response.output_item.done", output_index=item.index, item=item.item(state))

    def _output(self) -> list[dict[str, Any]]:
        return [item.item(self._states[item.index]) for item in self._items]

    def _of(self, kind: str, item: _Message | _Call, **fields: Any) -> bytes:  # noqa: ANN401 - JSON
        id_ = item.item("in_progress")["id"]
        return self._event(kind, item_id=id_, output_index=item.index, **fields)

    def _event(self, kind: str, **fields: Any) -> bytes:  # noqa: ANN401 - JSON
        self._number += 1
        return _event(kind, self._number, **fields)


def _event(kind: str, number: int, **fields: Any) -> bytes:  # noqa: ANN401 - JSON
    body = {"type": kind, "sequence_number": number, **fields}
    return f"event: {kind}\ndata: {json.dumps(body, ensure_ascii=False)}\n\n".encode()
