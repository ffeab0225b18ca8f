"""Questions in Anthropic's dialect: the bodies of ``/v1/messages`` and of its counting, and what they mean to us."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, StrictBool, StrictInt, model_validator

from services.api.dialects.anthropic_blocks import Texts, Turn
from services.api.dialects.foreign import Foreign
from services.api.dialects.openai_fields import Model
from services.api.dialects.refusing import counted, instead, top_k
from services.api.schemas_invoke import ToolName
from services.api.schemas_json import JsonSchema
from shared.messages.chat import ChatMessageV1, ChatOptionsV1, NamedToolV1, ResponseFormatV1, ToolV1

_CHOICES: dict[str, Literal["auto", "required", "none"]] = {"auto": "auto", "any": "required", "none": "none"}
# Tools that run at Anthropic, or that its models were trained with; their types go on with a date.
_THEIRS = ("bash", "code_execution", "computer", "mcp_toolset", "memory", "text_editor", "tool_search", "web_fetch",
           "web_search")  # fmt: skip


class Tool(Foreign):
    """A tool of the caller's own."""

    # How it is remembered, and how the pieces of a call are cut.
    ignored: ClassVar[frozenset[str]] = frozenset({"cache_control", "eager_input_streaming"})

    type: Literal["custom"] = "custom"
    name: ToolName
    description: str | None = Field(default=None, repr=False)
    input_schema: JsonSchema = Field(repr=False)
    strict: StrictBool | None = None
    allowed_callers: tuple[Literal["direct"], ...] | None = None
    defer_loading: Literal[False] | None = None

    @model_validator(mode="before")
    @classmethod
    def _own(cls, data: Any) -> Any:  # noqa: ANN401 - any JSON
        kind = data.get("type") if isinstance(data, dict) else None
        theirs = next((name for name in _THEIRS if isinstance(kind, str) and kind.startswith(name)), None)
        if theirs is not None:
            raise ValueError(f"'{theirs}' is a tool of one provider; send tools of your own, with an 'input_schema'")
        return data

    def tool(self) -> ToolV1:
        """As the router takes it."""
        return ToolV1(name=self.name, description=self.description, parameters=self.input_schema, strict=self.strict)


class Choice(Foreign):
    """Whether tools must be called."""

    type: Literal["auto", "any", "tool", "none"]
    name: ToolName | None = None
    disable_parallel_tool_use: StrictBool | None = None

    @model_validator(mode="after")
    def _named(self) -> "Choice":
        if (self.type == "tool") != (self.name is not None):
            raise ValueError("'name' belongs to the type 'tool', and only there")
        return self

    def options(self) -> dict[str, Any]:
        """As the router's options have it."""
        choice = _CHOICES[self.type] if self.name is None else NamedToolV1(name=self.name)
        parallel = self.disable_parallel_tool_use
        return {"tool_choice": choice, "parallel_tool_calls": None if parallel is None else not parallel}


class Format(Foreign):
    """JSON that fits a schema."""

    type: Literal["json_schema"]
    schema_: JsonSchema = Field(alias="schema", repr=False)


class OutputConfig(Foreign):
    """How much effort, and in which form. ``effort``: what every provider that knows efforts has a word for."""

    effort: Literal["low", "medium", "high"] | None = None
    format: Format | None = None


class Thinking(Foreign):
    """Whether the model thinks first; its thoughts are never shown."""

    type: Literal["enabled", "adaptive", "disabled"]
    budget_tokens: Annotated[StrictInt, Field(ge=1024)] | None = None
    display: Literal["summarized", "omitted"] | None = None

    @model_validator(mode="after")
    def _budgeted(self) -> "Thinking":
        if (self.type == "enabled") != (self.budget_tokens is not None):
            raise ValueError("'budget_tokens' belongs to the type 'enabled', and only there")
        return self


class CacheControl(Foreign):
    """Have the provider remember the conversation up to its end."""

    type: Literal["ephemeral"]
    ttl: Literal["5m", "1h"] | None = None


class Conversation(Foreign):
    """The body of ``/v1/messages/count_tokens``, and the part of that of ``/v1/messages`` that is read by a model."""

    # Sent by SDKs and programs unasked, and nothing of the answer depends on it.
    ignored: ClassVar[frozenset[str]] = frozenset({"metadata", "service_tier"})

    model: Model
    messages: tuple[Turn, ...] = Field(min_length=1, max_length=2048)
    system: Texts = ()
    tools: tuple[Tool, ...] = Field(default=(), max_length=128)
    tool_choice: Choice | None = None
    output_config: OutputConfig | None = None
    thinking: Thinking | None = None
    cache_control: CacheControl | None = None
    container: Annotated[None, instead("there are no containers")] = None
    context_management: Annotated[None, instead("send only the messages that should be read")] = None
    inference_geo: Annotated[None, instead("restrict the key to regions")] = None
    mcp_servers: Annotated[None, instead("call the server yourself and send its tools as your own")] = None
    speed: Annotated[None, instead("choose an alias that prefers speed")] = None

    @model_validator(mode="after")
    def _tools_to_choose(self) -> "Conversation":
        if self.tool_choice is not None and not self.tools:
            raise ValueError("'tool_choice' comes with 'tools'")
        return self

    def turns(self) -> tuple[ChatMessageV1, ...]:
        """The messages as the router takes them, the system's first. Raises OmniError ``invalid_request``."""
        system = "\n\n".join(block.text for block in self.system)
        first = (ChatMessageV1(role="system", content=system),) if system else ()
        said = (message for turn in self.messages for message in turn.messages())
        return counted((*first, *said), "messages")

    def options(self) -> dict[str, Any]:
        """The options as the router takes them."""
        config = self.output_config or OutputConfig()
        wanted = config.format
        return {
            "tools": tuple(tool.tool() for tool in self.tools) or None,
            **(self.tool_choice.options() if self.tool_choice is not None else {}),
            "reasoning_effort": config.effort,
            "response_format": wanted and ResponseFormatV1(type="json_schema", schema_=wanted.schema_),
            "provider_options": self._own(),
        }

    def _own(self) -> dict[str, dict[str, Any]] | None:
        mine = {"thinking": self.thinking, "cache_control": self.cache_control}
        told = {name: value.model_dump(exclude_none=True) for name, value in mine.items() if value is not None}
        return {"anthropic": told} if told else None


class MessagesBody(Conversation):
    """The body of ``POST /v1/messages``."""

    max_tokens: StrictInt = Field(ge=1, le=1_000_000)
    stop_sequences: tuple[Annotated[str, Field(min_length=1)], ...] = Field(default=(), max_length=4)
    temperature: float | None = Field(default=None, ge=0, le=1, strict=True)
    top_p: float | None = Field(default=None, gt=0, le=1, strict=True)
    top_k: StrictInt | None = Field(default=None, ge=0)
    stream: StrictBool = False

    def chat_options(self) -> ChatOptionsV1:
        """The options as the router takes them."""
        given = self.options()
        if self.top_k is not None:
            own = given["provider_options"] or {}
            given["provider_options"] = {
                provider: fields | own.get(provider, {}) for provider, fields in top_k(self.top_k).items()
            }
        return ChatOptionsV1(
            **given,
            max_tokens=self.max_tokens,
            stop=self.stop_sequences or None,
            temperature=self.temperature,
            top_p=self.top_p,
        )
