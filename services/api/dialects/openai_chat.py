"""OpenAI's ``/v1/chat/completions``."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field, StrictBool, StrictInt, model_validator

from services.api.dialects.dialect import Asked
from services.api.dialects.foreign import Foreign
from services.api.dialects.openai_answers import ChatWriter, answer_head, finish_reason, whole_answer
from services.api.dialects.openai_errors import problem
from services.api.dialects.openai_fields import Model, Stop, StreamOptions, Unhonoured
from services.api.schemas_invoke import MessageIn, OptionsIn
from shared.errors import OmniError
from shared.messages.chat import ToolCallV1
from shared.messages.router import InvokedV1


class ChatMessageIn(Foreign, MessageIn):
    """A message. What an answer's message says besides, and is sent back with it, says nothing in a question."""

    ignored = frozenset({"name", "annotations", "reasoning", "reasoning_content"})


class ChatIn(Unhonoured, OptionsIn):
    """The body. ``provider_options`` is ours: by provider id, fields of its own request."""

    model: Model
    messages: tuple[ChatMessageIn, ...] = Field(min_length=1, max_length=2048)
    stream: StrictBool = False
    stream_options: StreamOptions = StreamOptions()
    max_completion_tokens: StrictInt | None = Field(default=None, ge=1, le=1_000_000)
    stop: Stop | None = None
    modalities: tuple[Literal["text"], ...] = ("text",)
    verbosity: Literal["medium"] = "medium"

    @model_validator(mode="after")
    def _a_conversation(self) -> "ChatIn":
        if self.dimensions is not None or self.encoding_format is not None:
            raise ValueError("'dimensions' and 'encoding_format' are no options of a conversation")
        return self

    def asked(self) -> Asked:
        """As the router takes it; of two limits the newer field's holds."""
        options = self.of_chat()
        if self.max_completion_tokens is not None:
            options = options.model_copy(update={"max_tokens": self.max_completion_tokens})
        style = ChatStyle(include_usage=self.stream_options.include_usage)
        messages = tuple(message.message() for message in self.messages)
        return Asked(self.model, messages, options, stream=self.stream, style=style)


@dataclass(frozen=True, slots=True)
class ChatStyle:
    """``include_usage``: a stream has one more chunk, with the usage."""

    include_usage: bool = False


class OpenAIChat:
    """The dialect."""

    path = "/v1/chat/completions"

    def read(self, body: bytes) -> Asked:
        """See ``Dialect.read``."""
        return ChatIn.parsed(body).asked()

    def whole(self, asked: Asked, answer: InvokedV1, vectors: Sequence[str], created: int) -> str:
        """See ``Dialect.whole``."""
        del asked, vectors
        choice = {
            "index": 0,
            "message": _message(answer),
            "logprobs": None,
            "finish_reason": finish_reason(answer),
        }
        return whole_answer("chatcmpl", "chat.completion", answer, choice, created)

    def writer(self, asked: Asked, call_id: str, created: int) -> ChatWriter:
        """See ``Dialect.writer``."""
        style = asked.style if isinstance(asked.style, ChatStyle) else ChatStyle()
        head = answer_head("chatcmpl", call_id, "chat.completion.chunk", created, asked.model)
        return ChatWriter(head, include_usage=style.include_usage)

    def problem(self, error: OmniError) -> dict[str, Any]:
        """See ``Dialect.problem``."""
        return problem(error)


def _message(answer: InvokedV1) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": answer.text, "refusal": None, "annotations": []}
    if answer.tool_calls:
        # Beside calls an empty text is none.
        message |= {"content": answer.text or None, "tool_calls": [_call(call) for call in answer.tool_calls]}
    return message


def _call(call: ToolCallV1) -> dict[str, Any]:
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
