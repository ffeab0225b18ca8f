"""The body of a call, in the specification's words."""

from typing import Annotated, Any, Literal

from pydantic import Field, StrictBool, model_validator

from services.api.schemas import AliasName, Body, WorkspaceId
from shared.messages.chat import ChatMessageV1, ChatOptionsV1
from shared.messages.vocabulary import Capability


class TextPart(Body):
    """A part of a message's content, in OpenAI's shape."""

    type: Literal["text"]
    text: str


class MessageIn(Body):
    """A message in OpenAI's shape; ``developer`` is another word for ``system``."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str | Annotated[tuple[TextPart, ...], Field(min_length=1, max_length=256)]

    def message(self) -> ChatMessageV1:
        """As the router takes it."""
        parts = self.content
        text = parts if isinstance(parts, str) else "".join(part.text for part in parts)
        return ChatMessageV1(role="system" if self.role == "developer" else self.role, content=text)


class InvokeIn(Body):
    """A call: ``prompt`` or ``messages``. ``options`` as in ``ChatOptionsV1``; an unknown one is refused by name."""

    workspace_id: WorkspaceId | None = None
    alias_name: AliasName
    capability: Capability | None = None
    prompt: str | None = Field(default=None, min_length=1)
    messages: tuple[MessageIn, ...] | None = Field(default=None, min_length=1, max_length=2048)
    input: Any = None
    options: ChatOptionsV1 = ChatOptionsV1()
    stream: StrictBool = False

    @model_validator(mode="after")
    def _one_question(self) -> "InvokeIn":
        if self.stream:
            raise ValueError("streaming is not available yet; leave 'stream' out")
        if self.input is not None:
            raise ValueError("'input' belongs to embedding, which is not available yet")
        if (self.prompt is None) == (self.messages is None):
            raise ValueError("give either 'prompt' or 'messages'")
        return self

    def conversation(self) -> tuple[ChatMessageV1, ...]:
        """The messages to answer."""
        if self.messages is not None:
            return tuple(message.message() for message in self.messages)
        return (ChatMessageV1(role="user", content=self.prompt or ""),)
