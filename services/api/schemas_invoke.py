"""The body of a call: the specification's words around OpenAI's shapes. What is unknown is refused by name."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, StrictBool, StrictInt, model_validator

from services.api.domain.synonyms import canonical
from services.api.schemas import AliasName, Body, WorkspaceId
from services.api.schemas_json import JsonSchema
from shared.messages.chat import (
    ChatMessageV1,
    ChatOptionsV1,
    ContentPartV1,
    EmbeddingV1,
    ImagePartV1,
    NamedToolV1,
    ResponseFormatV1,
    TextPartV1,
    ToolCallV1,
    ToolChoice,
    ToolV1,
)
from shared.messages.vocabulary import Capability

MAX_INPUTS = 2048


def _by_provider(rows: dict[str, Any]) -> dict[str, Any]:
    found = {canonical(name): row for name, row in rows.items()}
    if len(found) < len(rows):
        raise ValueError("two names here stand for the same provider")
    return found


ToolName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]


class TextPart(Body):
    """Text in a message."""

    type: Literal["text"]
    text: str

    def part(self) -> ContentPartV1:
        """As the router takes it."""
        return TextPartV1(text=self.text)


class ImageUrl(Body):
    """Where a picture is, or the picture itself."""

    url: str = Field(pattern=r"^(https://|data:image/[a-z0-9.+-]+;base64,)")
    detail: Literal["auto", "low", "high"] | None = None


class ImagePart(Body):
    """A picture in a user's message."""

    type: Literal["image_url"]
    image_url: ImageUrl

    def part(self) -> ContentPartV1:
        """As the router takes it."""
        return ImagePartV1(url=self.image_url.url, detail=self.image_url.detail)


Content = Annotated[
    tuple[Annotated[TextPart | ImagePart, Field(discriminator="type")], ...], Field(min_length=1, max_length=256)
]


# Gemini wants its thought signature back with a call, some KB that ride in the call's id.
LONGEST_CALL_ID = 65_536


class CalledFunction(Body):
    """Which function the model wanted, with what."""

    name: ToolName
    arguments: str


class ToolCallIn(Body):
    """A call of an earlier answer."""

    id: str = Field(min_length=1, max_length=LONGEST_CALL_ID)
    type: Literal["function"] = "function"
    function: CalledFunction

    def call(self) -> ToolCallV1:
        """As the router takes it."""
        return ToolCallV1(id=self.id, name=self.function.name, arguments=self.function.arguments)


class MessageIn(Body):
    """A message; ``developer`` is another word for ``system``, ``tool`` brings the result of a tool call."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | Content | None = None
    tool_calls: tuple[ToolCallIn, ...] = Field(default=(), max_length=128)
    tool_call_id: str | None = Field(default=None, min_length=1, max_length=LONGEST_CALL_ID)

    @model_validator(mode="after")
    def _fits_its_role(self) -> "MessageIn":
        if (self.role == "tool") != (self.tool_call_id is not None):
            raise ValueError("a tool message, and only that, names its 'tool_call_id'")
        if self.tool_calls and self.role != "assistant":
            raise ValueError("only an assistant message has 'tool_calls'")
        if self.content is None and not self.tool_calls:
            raise ValueError("'content' is missing; only an assistant message with 'tool_calls' may leave it out")
        if self.role != "user" and not isinstance(self.content, str | None) and _has_image(self.content):
            raise ValueError("pictures belong in user messages")
        return self

    def message(self) -> ChatMessageV1:
        """As the router takes it."""
        parts = self.content
        return ChatMessageV1(
            role="system" if self.role == "developer" else self.role,
            content=(parts or "") if isinstance(parts, str | None) else tuple(part.part() for part in parts),
            tool_calls=tuple(call.call() for call in self.tool_calls),
            tool_call_id=self.tool_call_id,
        )


def _has_image(content: tuple[TextPart | ImagePart, ...]) -> bool:
    return any(isinstance(part, ImagePart) for part in content)


class Function(Body):
    """A function the model may ask for. ``parameters``: the JSON schema of its arguments."""

    name: ToolName
    description: str | None = None
    parameters: JsonSchema | None = None
    strict: StrictBool | None = None


class ToolIn(Body):
    """A tool."""

    type: Literal["function"]
    function: Function

    def tool(self) -> ToolV1:
        """As the router takes it."""
        return ToolV1.model_validate(self.function.model_dump())


class NamedFunction(Body):
    """A function's name."""

    name: ToolName


class NamedTool(Body):
    """This very tool must be called."""

    type: Literal["function"]
    function: NamedFunction


class NamedSchema(Body):
    """What an answer in JSON must look like."""

    name: str = Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")
    description: str | None = None
    schema_: JsonSchema = Field(alias="schema")
    strict: StrictBool | None = None


class PlainFormat(Body):
    """Text, or any JSON object."""

    type: Literal["text", "json_object"]

    def format(self) -> ResponseFormatV1:
        """As the router takes it."""
        return ResponseFormatV1(type=self.type)


class SchemaFormat(Body):
    """JSON that fits a schema."""

    type: Literal["json_schema"]
    json_schema: NamedSchema

    def format(self) -> ResponseFormatV1:
        """As the router takes it."""
        return ResponseFormatV1(type=self.type, **self.json_schema.model_dump())


class OptionsIn(ChatOptionsV1):
    """``ChatOptionsV1`` with OpenAI's shapes where the contract has its own, and the options of an embedding."""

    tools: tuple[ToolIn, ...] | None = Field(default=None, min_length=1, max_length=128)  # type: ignore[assignment]
    tool_choice: ToolChoice | NamedTool | None = None  # type: ignore[assignment]
    response_format: Annotated[PlainFormat | SchemaFormat, Field(discriminator="type")] | None = None  # type: ignore[assignment]
    provider_options: Annotated[dict[str, JsonSchema], AfterValidator(_by_provider)] | None = None
    dimensions: Annotated[StrictInt, Field(ge=1, le=65_536)] | None = None
    encoding_format: Literal["float", "base64"] | None = None

    def of_chat(self) -> ChatOptionsV1:
        """As the router takes them."""
        translated: dict[str, Any] = {
            "tools": self.tools and tuple(tool.tool() for tool in self.tools),
            "tool_choice": NamedToolV1(name=self.tool_choice.function.name)
            if isinstance(self.tool_choice, NamedTool)
            else self.tool_choice,
            "response_format": self.response_format and self.response_format.format(),
        }
        plain = {name: value for name, value in vars(self).items() if name in _OF_CHAT and value is not None}
        return ChatOptionsV1.model_validate(plain | translated)

    def given(self) -> frozenset[str]:
        """The names of what is not left to the provider."""
        return frozenset(name for name, value in vars(self).items() if value is not None)


_OF_EMBEDDING = frozenset({"dimensions", "encoding_format"})
_OF_CHAT = frozenset(ChatOptionsV1.model_fields)
Inputs = Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Field(min_length=1, max_length=MAX_INPUTS)]


class Question(Body):
    """What may be asked: ``prompt`` or ``messages`` for an answer, ``input`` (texts, or one) for embeddings."""

    prompt: str | None = Field(default=None, min_length=1)
    messages: tuple[MessageIn, ...] | None = Field(default=None, min_length=1, max_length=2048)
    input: Annotated[str, Field(min_length=1)] | Inputs | None = None
    options: OptionsIn = OptionsIn()

    @model_validator(mode="after")
    def _one_question_at_most(self) -> "Question":
        if self._questions() > 1:
            raise ValueError("give one of 'prompt', 'messages' and 'input'")
        embeds = self.input is not None
        wrong = self.options.given() & (_OF_CHAT if embeds else _OF_EMBEDDING)
        if wrong:
            raise ValueError(f"'{min(wrong)}' is no option of {'an embedding' if embeds else 'a conversation'}")
        return self

    def _questions(self) -> int:
        return sum(given is not None for given in (self.prompt, self.messages, self.input))

    def conversation(self) -> tuple[ChatMessageV1, ...]:
        """The messages to answer; none for an embedding."""
        if self.messages is not None:
            return tuple(message.message() for message in self.messages)
        return () if self.prompt is None else (ChatMessageV1(role="user", content=self.prompt),)

    def embedding(self) -> EmbeddingV1 | None:
        """The texts to embed; None for a conversation."""
        if self.input is None:
            return None
        inputs = (self.input,) if isinstance(self.input, str) else self.input
        return EmbeddingV1(inputs=inputs, dimensions=self.options.dimensions)


class InvokeIn(Question):
    """A call: one question to an alias."""

    workspace_id: WorkspaceId | None = None
    alias_name: AliasName
    capability: Capability | None = None
    stream: StrictBool = False

    @model_validator(mode="after")
    def _one_question(self) -> "InvokeIn":
        if self._questions() != 1:
            raise ValueError("give one of 'prompt', 'messages' and 'input'")
        embeds = self.input is not None
        if self.capability is not None and embeds != (self.capability is Capability.EMBEDDING):
            raise ValueError("'input', and only that, is for the capability embedding")
        if embeds and self.stream:
            raise ValueError("embeddings are not streamed; leave 'stream' out")
        return self


class ExplainIn(Question):
    """What a call would ask; without a question a short one is assumed."""

    workspace_id: WorkspaceId | None = None
