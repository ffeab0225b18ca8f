"""OpenAI's ``/v1/completions``: a text to go on with."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, StrictBool, model_validator

from services.api.dialects.dialect import Asked
from services.api.dialects.openai_answers import TextWriter, answer_head, finish_reason, text_choice, whole_answer
from services.api.dialects.openai_chat import ChatStyle
from services.api.dialects.openai_errors import problem
from services.api.dialects.openai_fields import Model, One, Stop, StreamOptions, Unhonoured
from services.api.schemas_invoke import OptionsIn
from shared.errors import OmniError
from shared.messages.chat import ChatMessageV1
from shared.messages.router import InvokedV1


def _one_text(value: object) -> object:
    if isinstance(value, list):
        if len(value) == 1 and isinstance(value[0], str):
            return value[0]
        raise ValueError("give one text; lists of texts and of token numbers are not taken")
    return value


class CompletionIn(Unhonoured, OptionsIn):
    """The body. ``provider_options`` is ours: by provider id, fields of its own request."""

    model: Model
    prompt: Annotated[str, BeforeValidator(_one_text), Field(min_length=1)]
    stream: StrictBool = False
    stream_options: StreamOptions = StreamOptions()
    best_of: One = 1
    echo: Literal[False] = False
    suffix: Literal[""] = ""
    stop: Stop | None = None

    @model_validator(mode="after")
    def _a_text(self) -> "CompletionIn":
        if wrong := self.model_fields_set & _OF_OTHERS:
            raise ValueError(f"'{min(wrong)}' is no option of a completion")
        return self

    def asked(self) -> Asked:
        """As the router takes it."""
        style = ChatStyle(include_usage=self.stream_options.include_usage)
        messages = (ChatMessageV1(role="user", content=self.prompt),)
        return Asked(self.model, messages, self.of_chat(), stream=self.stream, style=style)


_OF_OTHERS = frozenset({
    "dimensions", "encoding_format", "parallel_tool_calls", "reasoning_effort", "response_format", "tool_choice",
    "tools",
})  # fmt: skip


class OpenAICompletions:
    """The dialect."""

    path = "/v1/completions"

    def read(self, body: bytes) -> Asked:
        """See ``Dialect.read``."""
        return CompletionIn.parsed(body).asked()

    def whole(self, asked: Asked, answer: InvokedV1, vectors: Sequence[str], created: int) -> str:
        """See ``Dialect.whole``."""
        del asked, vectors
        choice = text_choice(answer.text, finish_reason(answer))
        return whole_answer("cmpl", "text_completion", answer, choice, created)

    def writer(self, asked: Asked, call_id: str, created: int) -> TextWriter:
        """See ``Dialect.writer``."""
        style = asked.style if isinstance(asked.style, ChatStyle) else ChatStyle()
        head = answer_head("cmpl", call_id, "text_completion", created, asked.model)
        return TextWriter(head, include_usage=style.include_usage)

    def problem(self, error: OmniError) -> dict[str, Any]:
        """See ``Dialect.problem``."""
        return problem(error)
