"""``POST /v1/responses``: OpenAI's newer dialect without its memory. What it refuses: ``openai_response_bodies.py``."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from services.api.dialects.dialect import Asked
from services.api.dialects.openai_errors import problem
from services.api.dialects.openai_response_bodies import ResponsesIn
from services.api.dialects.openai_response_parts import call_item, ended, message_item, response, status
from services.api.dialects.openai_responses_stream import ResponseWriter
from shared.errors import OmniError
from shared.messages.router import InvokedV1


@dataclass(frozen=True, slots=True)
class ResponseStyle:
    """``shown``: what the answer repeats of the question."""

    shown: Mapping[str, Any] = field(repr=False)


class OpenAIResponses:
    """A ``Dialect``."""

    path = "/v1/responses"

    def read(self, body: bytes) -> Asked:
        """The question in ``body``. Raises OmniError ``invalid_request``."""
        asked = ResponsesIn.parsed(body)
        style = ResponseStyle(asked.shown())
        return Asked(asked.model, asked.messages(), asked.options(), stream=asked.stream, style=style)

    def whole(self, asked: Asked, answer: InvokedV1, vectors: Sequence[str], created: int) -> str:
        """A response."""
        del vectors
        begun = response(answer.call_id, created, asked.model, _shown(asked))
        return json.dumps(begun | ended(answer, _output(answer)), ensure_ascii=False)

    def writer(self, asked: Asked, call_id: str, created: int) -> ResponseWriter:
        """What writes the events of a response."""
        return ResponseWriter(call_id, created, asked.model, _shown(asked))

    def problem(self, error: OmniError) -> dict[str, Any]:
        """``error`` in OpenAI's shape."""
        return problem(error)


def _shown(asked: Asked) -> Mapping[str, Any]:
    return asked.style.shown if isinstance(asked.style, ResponseStyle) else {}


def _output(answer: InvokedV1) -> list[dict[str, Any]]:
    state = status(answer)
    # An answer is never without an item: programs look for the first.
    said = [message_item(answer.call_id, 0, state, answer.text)] if answer.text or not answer.tool_calls else []
    calls = enumerate(answer.tool_calls, start=len(said))
    return said + [call_item(answer.call_id, index, state, vars(call)) for index, call in calls]
