"""``POST /v1/messages``: Anthropic's dialect. What it cannot carry, and what is ignored: ``anthropic_bodies.py``."""

import json
from collections.abc import Sequence
from typing import Any

from services.api.dialects.anthropic_bodies import Conversation, MessagesBody
from services.api.dialects.anthropic_errors import problem
from services.api.dialects.anthropic_stream import MessageWriter, message_id, stopped, whole_usage
from services.api.dialects.dialect import Asked
from services.api.dialects.foreign_calls import arguments_object
from services.api.dialects.receipt import model_of, receipt
from shared.errors import OmniError
from shared.messages.chat import ChatOptionsV1
from shared.messages.router import InvokedV1


class AnthropicMessages:
    """A ``Dialect``."""

    path = "/v1/messages"

    def read(self, body: bytes) -> Asked:
        """The question in ``body``. Raises OmniError ``invalid_request``."""
        asked = MessagesBody.parsed(body)
        return Asked(asked.model, asked.turns(), asked.chat_options(), stream=asked.stream)

    def whole(self, asked: Asked, answer: InvokedV1, vectors: Sequence[str], created: int) -> str:
        """A message."""
        del asked, vectors, created
        message = {
            "id": message_id(answer.call_id),
            "type": "message",
            "role": "assistant",
            "model": model_of(answer),
            "content": _content(answer),
            **stopped(answer.finish_reason),
            "usage": whole_usage(answer.tokens),
            "omnipost": receipt(answer),
        }
        return json.dumps(message, ensure_ascii=False)

    def writer(self, asked: Asked, call_id: str, created: int) -> MessageWriter:
        """What writes the events of a message."""
        del created
        return MessageWriter(asked.model, call_id)

    def problem(self, error: OmniError) -> dict[str, Any]:
        """``error`` in Anthropic's shape."""
        return problem(error)


def to_count(body: bytes) -> Asked:
    """The question in a body of ``/v1/messages/count_tokens``. Raises OmniError ``invalid_request``."""
    asked = Conversation.parsed(body)
    return Asked(asked.model, asked.turns(), ChatOptionsV1(**asked.options()))


def _content(answer: InvokedV1) -> list[dict[str, Any]]:
    text = [{"type": "text", "text": answer.text, "citations": None}] if answer.text else []
    calls = [
        {
            "type": "tool_use",
            "id": call.id,
            "name": call.name,
            "input": arguments_object(call.arguments),
            "caller": {"type": "direct"},
        }
        for call in answer.tool_calls
    ]
    return [*text, *calls]
