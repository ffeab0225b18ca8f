"""What a question to ``/v1/responses`` is made of: items, which become the messages of a conversation."""

from collections.abc import Iterable
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field

from services.api.dialects.foreign import Foreign
from services.api.dialects.refusing import carried
from services.api.schemas_invoke import LONGEST_CALL_ID, ToolName
from shared.messages.chat import ChatMessageV1, ContentPartV1, ImagePartV1, TextPartV1, ToolCallV1

_NO_ITEM = frozenset({
    "additional_tools", "apply_patch_call", "apply_patch_call_output", "code_interpreter_call", "compaction",
    "compaction_trigger", "computer_call", "computer_call_output", "custom_tool_call", "custom_tool_call_output",
    "file_search_call", "image_generation_call", "item_reference", "local_shell_call", "local_shell_call_output",
    "mcp_approval_request", "mcp_approval_response", "mcp_call", "mcp_list_tools", "program", "program_output",
    "shell_call", "shell_call_output", "tool_search_call", "tool_search_output", "web_search_call",
})  # fmt: skip
_NO_PART = frozenset({"input_audio", "input_file", "input_video", "computer_screenshot"})


def _item(value: object) -> object:
    # A message may leave its type out.
    if isinstance(value, dict) and "type" not in value and "role" in value:
        return {**value, "type": "message"}
    return carried(value, _NO_ITEM, "send messages, function calls and their outputs")


def _part(value: object) -> object:
    return carried(value, _NO_PART, "send text and images")


def _as_input(value: object) -> object:
    return [{"type": "message", "role": "user", "content": value}] if isinstance(value, str) else value


def _as_parts(value: object) -> object:
    return [{"type": "input_text", "text": value}] if isinstance(value, str) else value


class TextIn(Foreign):
    """Text, also that of an earlier answer."""

    ignored: ClassVar[frozenset[str]] = frozenset({"annotations", "logprobs", "prompt_cache_breakpoint"})

    type: Literal["input_text", "output_text", "text"]
    text: str = Field(repr=False)

    def part(self) -> ContentPartV1:
        """As the router takes it."""
        return TextPartV1(text=self.text)


class RefusalIn(Foreign):
    """What an earlier answer said instead of one."""

    type: Literal["refusal"]
    refusal: str = Field(repr=False)

    def part(self) -> ContentPartV1:
        """As the router takes it."""
        return TextPartV1(text=self.refusal)


class ImageIn(Foreign):
    """A picture."""

    ignored: ClassVar[frozenset[str]] = frozenset({"prompt_cache_breakpoint"})

    type: Literal["input_image"]
    image_url: str = Field(repr=False, pattern=r"^(https://|data:image/[a-z0-9.+-]+;base64,)")
    detail: Literal["auto", "low", "high"] | None = None

    def part(self) -> ContentPartV1:
        """As the router takes it."""
        return ImagePartV1(url=self.image_url, detail=self.detail)


_PartIn = Annotated[TextIn | RefusalIn | ImageIn, Field(discriminator="type"), BeforeValidator(_part)]
_PartsIn = Annotated[tuple[_PartIn, ...], BeforeValidator(_as_parts)]


class _Item(Foreign):
    # What an answer's item says besides, and is sent back with it.
    ignored: ClassVar[frozenset[str]] = frozenset({"id", "status", "phase", "caller", "created_by"})


class MessageItem(_Item):
    """A message."""

    type: Literal["message"]
    role: Literal["user", "assistant", "system", "developer"]
    content: _PartsIn

    def message(self) -> ChatMessageV1:
        """As the router takes it."""
        role = "system" if self.role == "developer" else self.role
        return ChatMessageV1(role=role, content=_plain([part.part() for part in self.content]))


class CallItem(_Item):
    """A call of an earlier answer."""

    type: Literal["function_call"]
    call_id: str = Field(min_length=1, max_length=LONGEST_CALL_ID)
    name: ToolName
    arguments: str = Field(repr=False)

    def call(self) -> ToolCallV1:
        """As the router takes it."""
        return ToolCallV1(id=self.call_id, name=self.name, arguments=self.arguments)


class OutputItem(_Item):
    """What a call has brought."""

    type: Literal["function_call_output"]
    call_id: str = Field(min_length=1, max_length=LONGEST_CALL_ID)
    output: _PartsIn

    def message(self) -> ChatMessageV1:
        """As the router takes it."""
        content = _plain([part.part() for part in self.output])
        return ChatMessageV1(role="tool", content=content, tool_call_id=self.call_id)


class ReasoningItem(_Item):
    """Reasoning of an earlier answer. Nobody but its own model can read it, so it is left out."""

    type: Literal["reasoning"]
    summary: tuple[dict[str, Any], ...] = Field(default=(), repr=False)
    content: tuple[dict[str, Any], ...] = Field(default=(), repr=False)
    encrypted_content: str | None = Field(default=None, repr=False)


Item = Annotated[
    MessageItem | CallItem | OutputItem | ReasoningItem, Field(discriminator="type"), BeforeValidator(_item)
]
Input = Annotated[tuple[Item, ...], BeforeValidator(_as_input), Field(min_length=1, max_length=2048)]


def turns(items: Iterable[Item]) -> tuple[ChatMessageV1, ...]:
    """The messages that ``items`` are; calls belong to what the assistant said before them, and between them."""
    messages: list[ChatMessageV1] = []
    for item in items:
        last = messages[-1] if messages else None
        if isinstance(item, ReasoningItem):
            continue
        if isinstance(item, CallItem):
            said = messages.pop() if last is not None and last.role == "assistant" else _NOTHING_SAID
            messages.append(said.model_copy(update={"tool_calls": (*said.tool_calls, item.call())}))
        elif (message := item.message()).role == "assistant" and last is not None and last.tool_calls:
            # What is said after a call must not come between it and its result.
            messages[-1] = last.model_copy(update={"content": _joined(last, message)})
        else:
            messages.append(message)
    return tuple(messages)


_NOTHING_SAID = ChatMessageV1(role="assistant")


def _joined(one: ChatMessageV1, other: ChatMessageV1) -> str | tuple[ContentPartV1, ...]:
    if isinstance(one.content, str) and isinstance(other.content, str):
        return one.content + other.content
    return (*one.parts, *other.parts)


def _plain(parts: list[ContentPartV1]) -> str | tuple[ContentPartV1, ...]:
    if not parts:
        return ""
    first = parts[0]
    return first.text if len(parts) == 1 and isinstance(first, TextPartV1) else tuple(parts)
