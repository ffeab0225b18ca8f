"""What sets one host of the chat-completions dialect apart from OpenAI, who began it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from services.router.providers.base import ChatRequest
from services.router.providers.tool_calls import plain

JSON = {"content-type": "application/json"}

SAMPLING = frozenset({"max_tokens", "temperature", "top_p", "stop", "seed"})
PENALTIES = frozenset({"frequency_penalty", "presence_penalty"})
TOOLS = frozenset({"tools", "tool_choice", "parallel_tool_calls"})
EVERY_OPTION = SAMPLING | PENALTIES | TOOLS | {"response_format", "reasoning_effort"}


def _as_it_is(_: ChatRequest, __: dict[str, Any]) -> None:
    return None


@dataclass(frozen=True)
class Host:
    """One host. Every function is pure.

    Attributes:
        options: fields of ``ChatOptionsV1`` it understands.
        passes: its own fields that are sent on. None may multiply or re-price what is generated: the budget is
            reserved for one answer of at most ``max_tokens`` at the catalogue's price.
        limit_field: what it calls the limit of generated tokens.
        asks_usage: it tells the usage of a stream only when asked.
        joins_text: the content of a message without pictures must be one string.
        prefill: it goes on with an assistant message that stands last.
        lenient: an answer may leave out why it ended.
        call_id: the id of a tool call as this host takes it.
        shape: changes a request's body to what else is different. Raises ``Unfit``.
        codes: its codes of errors -> those of the common table (``domain/outcome.py``).
        sayings: words in its error messages, in lower case -> a code of the common table.
        cost: its own figure of the cost in the text of an answer, in micro-dollars.
    """

    options: frozenset[str] = EVERY_OPTION
    passes: frozenset[str] = frozenset()
    limit_field: str = "max_tokens"
    asks_usage: bool = False
    joins_text: bool = False
    prefill: bool = False
    lenient: bool = False
    call_id: Callable[[str], str] = plain
    shape: Callable[[ChatRequest, dict[str, Any]], None] = _as_it_is
    codes: Mapping[str, str] = field(default_factory=dict)
    sayings: Mapping[str, str] = field(default_factory=dict)
    cost: Callable[[str | bytes], int | None] | None = None
