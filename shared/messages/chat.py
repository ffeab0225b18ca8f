"""What a conversation is made of, in no provider's words: messages, tools, options, and the answer's pieces."""

from typing import Any, Literal

from pydantic import Field, model_validator

from shared.messages.base import Part

ToolChoice = Literal["auto", "none", "required"]
ReasoningEffort = Literal["none", "minimal", "low", "medium", "high"]


class TextPartV1(Part):
    """Text in a message."""

    type: Literal["text"] = "text"
    text: str = Field(repr=False)


class ImagePartV1(Part):
    """A picture in a message. ``url``: ``https://…`` or ``data:<mime type>;base64,…``; nothing here ever fetches it."""

    type: Literal["image"] = "image"
    url: str = Field(repr=False, pattern=r"^(https://|data:image/[a-z0-9.+-]+;base64,)")
    detail: Literal["auto", "low", "high"] | None = None


ContentPartV1 = TextPartV1 | ImagePartV1


class ToolCallV1(Part):
    """The model wants a tool to be called. ``arguments``: JSON text as the model wrote it, not checked."""

    id: str
    name: str
    arguments: str = Field(repr=False)


class ToolCallDeltaV1(Part):
    """A piece of a tool call. ``index``: which one of the answer. ``id`` and ``name`` come once, with the first."""

    index: int
    id: str | None = None
    name: str | None = None
    arguments: str = Field(default="", repr=False)


class ChatMessageV1(Part):
    """One turn of a conversation. ``tool``: the result of the call ``tool_call_id``."""

    role: Literal["system", "user", "assistant", "tool"]
    content: str | tuple[ContentPartV1, ...] = Field(default="", repr=False)
    tool_calls: tuple[ToolCallV1, ...] = Field(default=(), max_length=128)
    tool_call_id: str | None = None

    @model_validator(mode="after")
    def _fits_its_role(self) -> "ChatMessageV1":
        if (self.role == "tool") != (self.tool_call_id is not None):
            raise ValueError("a tool message, and only that, names its tool_call_id")
        if self.tool_calls and self.role != "assistant":
            raise ValueError("only an assistant message has tool_calls")
        return self

    @property
    def parts(self) -> tuple[ContentPartV1, ...]:
        """The content as parts; an empty text is none."""
        if isinstance(self.content, str):
            return (TextPartV1(text=self.content),) if self.content else ()
        return self.content

    @property
    def text(self) -> str:
        """The text parts, joined."""
        if isinstance(self.content, str):
            return self.content
        return "".join(part.text for part in self.content if isinstance(part, TextPartV1))

    @property
    def images(self) -> tuple[ImagePartV1, ...]:
        """The pictures."""
        parts = () if isinstance(self.content, str) else self.content
        return tuple(part for part in parts if isinstance(part, ImagePartV1))


class ToolV1(Part):
    """A function the model may ask for. ``parameters``: JSON schema of its arguments, None when it takes none."""

    name: str = Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")
    description: str | None = Field(default=None, repr=False)
    parameters: dict[str, Any] | None = Field(default=None, repr=False)
    strict: bool | None = None


class NamedToolV1(Part):
    """This very tool must be called."""

    name: str


class ResponseFormatV1(Part):
    """What the answer's text must be. ``json_schema``: JSON that fits ``schema_``."""

    type: Literal["text", "json_object", "json_schema"]
    name: str | None = Field(default=None, pattern=r"^[A-Za-z0-9_-]{1,64}$")
    description: str | None = Field(default=None, repr=False)
    schema_: dict[str, Any] | None = Field(default=None, repr=False)
    strict: bool | None = None

    @model_validator(mode="after")
    def _schema_where_needed(self) -> "ResponseFormatV1":
        if (self.type == "json_schema") != (self.schema_ is not None):
            raise ValueError("json_schema, and only that, comes with a schema")
        return self


class ChatOptionsV1(Part):
    """How to answer. None leaves the choice to the provider (``max_tokens``: to the catalogue).

    ``provider_options``: by provider id, fields of its own request that it alone is sent; each adapter has a list of
    those it lets through, and any other makes that target unfit.
    """

    max_tokens: int | None = Field(default=None, ge=1, le=1_000_000, strict=True)
    temperature: float | None = Field(default=None, ge=0, le=2, strict=True)
    top_p: float | None = Field(default=None, gt=0, le=1, strict=True)
    stop: tuple[str, ...] | None = Field(default=None, min_length=1, max_length=4)
    seed: int | None = Field(default=None, ge=-(2**31), lt=2**31, strict=True)
    frequency_penalty: float | None = Field(default=None, ge=-2, le=2, strict=True)
    presence_penalty: float | None = Field(default=None, ge=-2, le=2, strict=True)
    tools: tuple[ToolV1, ...] | None = Field(default=None, min_length=1, max_length=128)
    tool_choice: ToolChoice | NamedToolV1 | None = None
    parallel_tool_calls: bool | None = Field(default=None, strict=True)
    response_format: ResponseFormatV1 | None = None
    reasoning_effort: ReasoningEffort | None = None
    provider_options: dict[str, dict[str, Any]] | None = Field(default=None, repr=False)

    @property
    def is_plain(self) -> bool:
        """Whether the answer is plain text, which another target can go on with where one was cut."""
        # ``output_config`` is Anthropic's own, and may ask for JSON of a schema. Others have nothing like it.
        shaped = any("output_config" in row for row in (self.provider_options or {}).values())
        is_text = self.response_format is None or self.response_format.type == "text"
        return self.tools is None and is_text and not shaped


class EmbeddingV1(Part):
    """Texts to embed. ``dimensions`` None: the model's own."""

    inputs: tuple[str, ...] = Field(min_length=1, max_length=4096, repr=False)
    dimensions: int | None = Field(default=None, ge=1, le=65_536, strict=True)


class ContinuedV1(Part):
    """From here on another target goes on with an answer that was cut. ``reason``: how the one before ended."""

    provider: str
    model: str
    reason: str


class DeltaV1(Part):
    """The next piece of an answer. ``vectors``: embeddings, each the base64 of little-endian 32-bit floats."""

    text: str = Field(default="", repr=False)
    tool_calls: tuple[ToolCallDeltaV1, ...] = ()
    continued: ContinuedV1 | None = None
    vectors: tuple[str, ...] = Field(default=(), repr=False)
