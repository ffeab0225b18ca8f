"""Questions to ``/v1/responses``: the body, and what it means to us. Nothing is kept, so nothing can be referred to."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field, StrictBool, StrictInt, model_validator

from services.api.dialects.foreign import Foreign
from services.api.dialects.openai_fields import HARMLESS, Model
from services.api.dialects.openai_response_items import Input, turns
from services.api.dialects.refusing import counted, instead
from services.api.schemas_invoke import PlainFormat, ToolName
from services.api.schemas_json import JsonSchema
from shared.messages.chat import (
    ChatMessageV1,
    ChatOptionsV1,
    NamedToolV1,
    ReasoningEffort,
    ResponseFormatV1,
    ToolChoice,
    ToolV1,
)

_SEND_ALL = "nothing is kept here; send the whole conversation as 'input'"
_THEIRS = frozenset({
    "apply_patch", "code_interpreter", "computer", "computer_use_preview", "custom", "file_search", "image_generation",
    "local_shell", "mcp", "namespace", "programmatic_tool_calling", "shell", "tool_search", "web_search",
    "web_search_2025_08_26", "web_search_preview", "web_search_preview_2025_03_11",
})  # fmt: skip


def _unkept(value: bool) -> bool:  # noqa: FBT001 - a validator
    if value:
        raise ValueError("nothing is kept here; leave it out, or false")
    return value


def _own(value: object) -> None:
    kind = value.get("type") if isinstance(value, dict) else None
    if isinstance(kind, str) and kind in _THEIRS:
        raise ValueError(f"'{kind}' is a tool of one provider; send tools of the type 'function'")


class FunctionIn(Foreign):
    """A function the model may ask for."""

    type: Literal["function"]
    name: ToolName
    description: str | None = Field(default=None, repr=False)
    parameters: JsonSchema | None = Field(default=None, repr=False)
    strict: StrictBool | None = None
    defer_loading: Literal[False] | None = None

    @model_validator(mode="before")
    @classmethod
    def _is_own(cls, data: Any) -> Any:  # noqa: ANN401 - any JSON
        _own(data)
        return data

    def tool(self) -> ToolV1:
        """As the router takes it."""
        return ToolV1(name=self.name, description=self.description, parameters=self.parameters, strict=self.strict)

    def shown(self) -> dict[str, Any]:
        """As the answer repeats it."""
        told = self.tool().model_dump()
        return {"type": "function", **told}


class NamedFunctionIn(Foreign):
    """This very function must be called."""

    type: Literal["function"]
    name: ToolName

    @model_validator(mode="before")
    @classmethod
    def _is_own(cls, data: Any) -> Any:  # noqa: ANN401 - any JSON
        _own(data)
        return data


class SchemaFormatIn(Foreign):
    """JSON that fits a schema."""

    type: Literal["json_schema"]
    name: str = Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")
    description: str | None = None
    schema_: JsonSchema = Field(alias="schema", repr=False)
    strict: StrictBool | None = None

    def format(self) -> ResponseFormatV1:
        """As the router takes it."""
        return ResponseFormatV1.model_validate(vars(self))


class TextFormIn(Foreign):
    """In which form to answer."""

    format: Annotated[PlainFormat | SchemaFormatIn, Field(discriminator="type")] = PlainFormat(type="text")
    verbosity: Literal["medium"] = "medium"


class ReasoningIn(Foreign):
    """How hard to think. Thoughts, and summaries of them, are never shown."""

    ignored: ClassVar[frozenset[str]] = frozenset({"summary", "generate_summary", "context"})

    effort: ReasoningEffort | None = None


class ResponsesIn(Foreign):
    """The body of ``POST /v1/responses``."""

    # ``max_tool_calls`` is about tools that run at OpenAI. Reasoning is not shown, encrypted or not.
    ignored: ClassVar[frozenset[str]] = HARMLESS - {"metadata"} | {"stream_options", "max_tool_calls"}

    model: Model
    input: Input
    instructions: str | None = Field(default=None, repr=False)
    tools: tuple[FunctionIn, ...] = Field(default=(), max_length=128)
    tool_choice: ToolChoice | NamedFunctionIn | None = None
    parallel_tool_calls: StrictBool | None = None
    text: TextFormIn = TextFormIn()
    reasoning: ReasoningIn = ReasoningIn()
    max_output_tokens: StrictInt | None = Field(default=None, ge=1, le=1_000_000)
    temperature: float | None = Field(default=None, ge=0, le=2, strict=True)
    top_p: float | None = Field(default=None, gt=0, le=1, strict=True)
    stream: StrictBool = False
    metadata: dict[str, str] | None = Field(default=None, max_length=16, repr=False)
    store: Annotated[StrictBool, AfterValidator(_unkept)] = False
    background: Literal[False] = False
    truncation: Literal["disabled"] = "disabled"
    service_tier: Literal["auto", "default"] = "auto"
    top_logprobs: Annotated[StrictInt, Field(ge=0, le=0)] = 0
    include: tuple[Literal["reasoning.encrypted_content"], ...] = ()
    previous_response_id: Annotated[None, instead(_SEND_ALL)] = None
    conversation: Annotated[None, instead(_SEND_ALL)] = None
    context_management: Annotated[None, instead(_SEND_ALL)] = None
    prompt: Annotated[None, instead("send the prompt itself as 'instructions' and 'input'")] = None
    moderation: Annotated[None, instead("ask for it by a call of its own")] = None

    @model_validator(mode="after")
    def _tools_to_choose(self) -> "ResponsesIn":
        if self.tool_choice not in (None, "none", "auto") and not self.tools:
            raise ValueError("'tool_choice' comes with 'tools'")
        return self

    def messages(self) -> tuple[ChatMessageV1, ...]:
        """As the router takes them, the instructions first. Raises OmniError ``invalid_request``."""
        first = (ChatMessageV1(role="system", content=self.instructions),) if self.instructions else ()
        return counted((*first, *turns(self.input)), "input")

    def options(self) -> ChatOptionsV1:
        """As the router takes them."""
        choice = self.tool_choice if self.tools else None
        wanted = self.text.format.format()
        return ChatOptionsV1(
            max_tokens=self.max_output_tokens,
            temperature=self.temperature,
            top_p=self.top_p,
            tools=tuple(tool.tool() for tool in self.tools) or None,
            tool_choice=NamedToolV1(name=choice.name) if isinstance(choice, NamedFunctionIn) else choice,
            parallel_tool_calls=self.parallel_tool_calls if self.tools else None,
            response_format=None if wanted.type == "text" else wanted,
            reasoning_effort=self.reasoning.effort,
        )

    def shown(self) -> dict[str, Any]:
        """What the answer repeats of the question."""
        choice = self.tool_choice
        return {
            "instructions": self.instructions,
            "max_output_tokens": self.max_output_tokens,
            "metadata": self.metadata or {},
            "parallel_tool_calls": self.parallel_tool_calls is not False,
            "previous_response_id": None,
            "reasoning": {"effort": self.reasoning.effort, "summary": None},
            "store": False,
            "temperature": self.temperature,
            "text": {"format": self.text.format.model_dump(by_alias=True, exclude_none=True)},
            "tool_choice": choice.model_dump() if isinstance(choice, NamedFunctionIn) else choice or "auto",
            "tools": [tool.shown() for tool in self.tools],
            "top_p": self.top_p,
            "truncation": "disabled",
        }
