"""The turns of a conversation in Anthropic's dialect, and the blocks they are made of."""

import json
from collections.abc import Iterator, Sequence
from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Field, StrictBool, model_validator

from services.api.dialects.foreign import Foreign
from services.api.dialects.refusing import carried
from services.api.schemas_invoke import LONGEST_CALL_ID, ToolName
from services.api.schemas_json import JsonSchema
from shared.messages.chat import ChatMessageV1, ContentPartV1, ImagePartV1, TextPartV1, ToolCallV1

_NO_BLOCK = frozenset({
    "bash_code_execution_tool_result", "code_execution_tool_result", "container_upload", "document", "mid_conv_system",
    "search_result", "server_tool_use", "text_editor_code_execution_tool_result", "tool_reference",
    "tool_search_tool_result", "web_fetch_tool_result", "web_search_tool_result",
})  # fmt: skip
_TOOL_FAILED = "The tool reported an error:\n"


def _as_blocks(value: object) -> object:
    return [{"type": "text", "text": value}] if isinstance(value, str) else value


def _block(value: object) -> object:
    return carried(value, _NO_BLOCK, "send text and images")


class Block(Foreign):
    """A piece of a request."""

    # Where one provider should cut what it remembers, who made a call, what was cited: nothing the model reads.
    ignored: ClassVar[frozenset[str]] = frozenset({"cache_control", "caller", "citations"})


class Text(Block):
    """Text."""

    type: Literal["text"]
    text: str = Field(repr=False)

    def part(self) -> ContentPartV1:
        """As the router takes it."""
        return TextPartV1(text=self.text)


class Base64Source(Foreign):
    """A picture itself."""

    type: Literal["base64"]
    media_type: Literal["image/jpeg", "image/png", "image/gif", "image/webp"]
    data: str = Field(repr=False, min_length=1)

    @property
    def address(self) -> str:
        """The picture as a data URL."""
        return f"data:{self.media_type};base64,{self.data}"


class UrlSource(Foreign):
    """Where a picture is."""

    type: Literal["url"]
    url: str = Field(repr=False, pattern=r"^https://")

    @property
    def address(self) -> str:
        """Its URL."""
        return self.url


class Image(Block):
    """A picture."""

    type: Literal["image"]
    source: Annotated[Base64Source | UrlSource, Field(discriminator="type")]

    def part(self) -> ContentPartV1:
        """As the router takes it."""
        return ImagePartV1(url=self.source.address)


class ToolUse(Block):
    """A call of an earlier answer."""

    type: Literal["tool_use"]
    id: str = Field(min_length=1, max_length=LONGEST_CALL_ID)
    name: ToolName
    input: JsonSchema = Field(repr=False)

    def call(self) -> ToolCallV1:
        """As the router takes it."""
        arguments = json.dumps(self.input, ensure_ascii=False, separators=(",", ":"))
        return ToolCallV1(id=self.id, name=self.name, arguments=arguments)


class Thought(Foreign):
    """Thinking of an earlier answer. Nobody but its own model can read it, so it is left out."""

    type: Literal["thinking", "redacted_thinking"]
    thinking: str | None = Field(default=None, repr=False)
    signature: str | None = Field(default=None, repr=False)
    data: str | None = Field(default=None, repr=False)


_Shown = Annotated[Text | Image, Field(discriminator="type"), BeforeValidator(_block)]
_Shows = Annotated[tuple[_Shown, ...], BeforeValidator(_as_blocks)]
Texts = Annotated[tuple[Text, ...], BeforeValidator(_as_blocks)]


class ToolResult(Block):
    """What a call has brought."""

    type: Literal["tool_result"]
    tool_use_id: str = Field(min_length=1, max_length=LONGEST_CALL_ID)
    content: _Shows = ()
    is_error: StrictBool | None = None

    def message(self) -> ChatMessageV1:
        """As the router takes it; that the tool failed has no field of its own there, so it is said in words."""
        told = [block.part() for block in self.content]
        if self.is_error:
            told.insert(0, TextPartV1(text=_TOOL_FAILED))
        return ChatMessageV1(role="tool", content=_plain(told), tool_call_id=self.tool_use_id)


_Given = Annotated[Text | Image | ToolResult, Field(discriminator="type"), BeforeValidator(_block)]
_Said = Annotated[Text | ToolUse | Thought, Field(discriminator="type"), BeforeValidator(_block)]


class UserTurn(Foreign):
    """What the user says; results of tool calls come first."""

    role: Literal["user"]
    content: Annotated[tuple[_Given, ...], BeforeValidator(_as_blocks), Field(min_length=1)]

    @model_validator(mode="after")
    def _results_first(self) -> "UserTurn":
        are_results = [isinstance(block, ToolResult) for block in self.content]
        if are_results != sorted(are_results, reverse=True):
            raise ValueError("'tool_result' blocks come before everything else in a message")
        return self

    def messages(self) -> Iterator[ChatMessageV1]:
        """As the router takes it: one message a result, and one for the rest."""
        yield from (block.message() for block in self.content if isinstance(block, ToolResult))
        rest = [block.part() for block in self.content if not isinstance(block, ToolResult)]
        if rest:
            yield ChatMessageV1(role="user", content=_plain(rest))


class AssistantTurn(Foreign):
    """What the model has said; as the last message, the beginning of the answer."""

    role: Literal["assistant"]
    content: Annotated[tuple[_Said, ...], BeforeValidator(_as_blocks)]

    def messages(self) -> Iterator[ChatMessageV1]:
        """As the router takes it."""
        told = [block.part() for block in self.content if isinstance(block, Text)]
        calls = tuple(block.call() for block in self.content if isinstance(block, ToolUse))
        if told or calls:
            yield ChatMessageV1(role="assistant", content=_plain(told), tool_calls=calls)


class SystemTurn(Foreign):
    """What the operator says in the middle of a conversation."""

    role: Literal["system"]
    content: Texts

    def messages(self) -> Iterator[ChatMessageV1]:
        """As the router takes it."""
        yield ChatMessageV1(role="system", content=_plain([block.part() for block in self.content]))


def _plain(parts: Sequence[ContentPartV1]) -> str | tuple[ContentPartV1, ...]:
    if not parts:
        return ""
    first = parts[0]
    return first.text if len(parts) == 1 and isinstance(first, TextPartV1) else tuple(parts)


Turn = Annotated[UserTurn | AssistantTurn | SystemTurn, Field(discriminator="role")]
