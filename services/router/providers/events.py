"""What a streamed answer says, piece by piece, in no provider's words; and the answer they add up to.

An adapter's ``events`` turns one server-sent event into these values and remembers nothing; ``Assembly`` adds them up.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from shared.messages.router import TokensV1
from shared.messages.vocabulary import Outcome


@dataclass(frozen=True)
class Text:
    """The next piece of the answer."""

    text: str = field(repr=False)


@dataclass(frozen=True)
class Thinking:
    """The model is reasoning: a sign of life that is not delivered."""


@dataclass(frozen=True)
class ToolPiece:
    """A piece of a tool call. ``index``: the provider's own number of the call; None: a whole call by itself."""

    index: int | None
    id: str | None = None
    name: str | None = None
    arguments: str = field(default="", repr=False)


@dataclass(frozen=True)
class Told:
    """Usage so far; a count that is None says nothing new. ``cost_usd_micros``: the provider's own figure."""

    tokens: TokensV1
    cost_usd_micros: int | None = None


@dataclass(frozen=True)
class Named:
    """Who answers."""

    model: str | None = None
    id: str | None = None


@dataclass(frozen=True)
class Ended:
    """Why the generation ended: ``stop``, ``length`` or ``tool_calls``; ``unknown`` where a provider never says.

    ``firm`` False: the provider says so in every piece, so that only the regular end of the stream confirms it.
    """

    reason: str
    firm: bool = True


@dataclass(frozen=True)
class Refused:
    """The model or a filter declined (``Outcome.CONTENT_POLICY``), or the context was used up."""

    detail: str
    outcome: Outcome = Outcome.CONTENT_POLICY


@dataclass(frozen=True)
class Broken:
    """The stream reports a failure, or cannot be understood. ``status``: the one named inside, if any.

    ``tokens``: the usage the report itself tells, which is the final one.
    """

    outcome: Outcome
    detail: str
    status: int | None = None
    retry_after_s: float | None = None
    tokens: TokensV1 = field(default_factory=TokensV1)


@dataclass(frozen=True)
class Done:
    """The provider's own mark of the end (``[DONE]``, ``message_stop``)."""


Event = Text | Thinking | ToolPiece | Told | Named | Ended | Refused | Broken | Done


def merged(old: TokensV1, new: TokensV1) -> TokensV1:
    """Usage with what ``new`` knows better."""
    known: Mapping[str, int] = {name: value for name, value in new if value is not None}
    return old.model_copy(update=dict(known))
