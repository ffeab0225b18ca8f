"""The inverse of an adapter's ``encode``: a recorded request in our own terms, built from the wire formats alone."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from services.router.providers.base import ChatRequest, EmbedRequest
from shared.messages.chat import ChatMessageV1, ChatOptionsV1, EmbeddingV1
from shared.messages.router import InvokeV1

_ABOUT_ALL = "messages"
INJECTED = 1024
"""The limit of generated tokens of a request that was recorded without one; the router always sets one."""


@dataclass
class Spoken:
    """A request in our words, not yet checked by our contracts; every list holds plain JSON.

    ``foreign``: fields of the provider's own, for ``provider_options``. ``unsaid``: what our contract has no words for.
    """

    model: str
    messages: list[dict[str, Any]] = field(default_factory=list)
    options: dict[str, Any] = field(default_factory=dict)
    foreign: dict[str, Any] = field(default_factory=dict)
    unsaid: list[str] = field(default_factory=list)
    stream: bool = False
    continues: bool = False


@dataclass
class Texts:
    """Texts to embed in our words, not yet checked."""

    model: str
    inputs: list[Any]
    dimensions: Any = None
    unsaid: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Said:
    """The request, or the names of what our contracts refuse in it."""

    request: ChatRequest | EmbedRequest | None
    refused: tuple[str, ...] = ()


def checked(spoken: Spoken, provider: str) -> Said:
    """``spoken`` through the contracts of the bus, as if it had come from the edge."""
    options = {"max_tokens": INJECTED} | spoken.options
    if spoken.foreign:
        options["provider_options"] = {provider: spoken.foreign}
    refused = [*spoken.unsaid, *_refusals(spoken, options)]
    if refused:
        return Said(None, tuple(dict.fromkeys(refused)))
    messages = tuple(ChatMessageV1.model_validate(message) for message in spoken.messages)
    made = ChatOptionsV1.model_validate(options)
    return Said(ChatRequest(spoken.model, messages, made, stream=spoken.stream, continues=spoken.continues))


def checked_texts(texts: Texts) -> Said:
    """``texts`` through the contracts of the bus."""
    try:
        made = EmbeddingV1.model_validate({"inputs": texts.inputs, "dimensions": texts.dimensions})
    except ValidationError as error:
        return Said(None, (*texts.unsaid, *_names(error)))
    if texts.unsaid:
        return Said(None, tuple(texts.unsaid))
    return Said(EmbedRequest(texts.model, made.inputs, made.dimensions))


def _refusals(spoken: Spoken, options: dict[str, Any]) -> Iterable[str]:
    asked = {"messages": spoken.messages, "options": options, "stream": spoken.stream}
    try:
        InvokeV1.model_validate({**InvokeV1.example, **asked})
    except ValidationError as error:
        return _names(error)
    return ()


def _names(error: ValidationError) -> list[str]:
    """The fields that were refused, without numbers of items and names of types."""
    names = []
    for item in error.errors(include_input=False, include_url=False, include_context=False):
        path = [part for part in item["loc"] if isinstance(part, str) and not part[:1].isupper()]
        names.append(".".join(part for part in path if "[" not in part and part != "str") or _ABOUT_ALL)
    return list(dict.fromkeys(names))
