"""What a request asks of a target beyond an answer: options, features, fields meant for one provider alone."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from services.router.domain.catalogue import DEFAULT_MAX_TOKENS
from services.router.domain.offer import Way
from shared.messages.catalogue import ModelV1
from shared.messages.chat import ChatMessageV1, ChatOptionsV1, EmbeddingV1
from shared.messages.vocabulary import Feature

# A field's name is shown as the reason; whatever else somebody writes there is not repeated.
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,39}")
_OF_FORMAT = {"json_object": Feature.JSON_OBJECT, "json_schema": Feature.JSON_SCHEMA}


@dataclass(frozen=True)
class Wish:
    """What is asked for.

    Attributes:
        options: names of our options that were given.
        features: what the model must be able to do.
        own_fields: by provider id, the fields of its own request it is to be sent.
    """

    options: frozenset[str] = frozenset()
    features: frozenset[Feature] = frozenset()
    own_fields: Mapping[str, frozenset[str]] = field(default_factory=dict)


def wish_of(messages: Sequence[ChatMessageV1], options: ChatOptionsV1, embedding: EmbeddingV1 | None = None) -> Wish:
    """What a request with these parts asks for."""
    given = {name for name, value in vars(options).items() if value is not None and name != "provider_options"}
    if embedding is not None and embedding.dimensions is not None:
        given.add("dimensions")
    own_fields = {name: frozenset(fields) for name, fields in (options.provider_options or {}).items()}
    return Wish(frozenset(given), frozenset(_features(messages, options)), own_fields)


def _features(messages: Sequence[ChatMessageV1], options: ChatOptionsV1) -> set[Feature]:
    needed = set()
    if options.tools is not None or any(message.tool_calls or message.role == "tool" for message in messages):
        needed.add(Feature.TOOLS)
    if any(message.images for message in messages):
        needed.add(Feature.VISION)
    if options.response_format is not None and options.response_format.type in _OF_FORMAT:
        needed.add(_OF_FORMAT[options.response_format.type])
    if options.reasoning_effort is not None:
        needed.add(Feature.REASONING)
    return needed


def lacking(wish: Wish, provider: str, way: Way, model: ModelV1 | None) -> str | None:
    """The name of the first thing that was asked for and that this target does not have; None when it has all.

    ``model`` None, or features nobody knows: it is tried.
    """
    if missing := wish.options - way.options:
        return min(missing)
    if foreign := wish.own_fields.get(provider, frozenset()) - way.passes:
        name = min(foreign)
        return f"provider_options.{name}" if _NAME.fullmatch(name) else "provider_options"
    if model is not None and model.features is not None and (absent := wish.features - set(model.features)):
        return min(absent).value
    return None


def options_for(options: ChatOptionsV1, provider: str, model: ModelV1) -> ChatOptionsV1:
    """The options as ``model`` is given them: always with a limit, and without what is meant for other providers."""
    changes: dict[str, object] = {}
    if options.max_tokens is None:
        most = model.max_output_tokens or DEFAULT_MAX_TOKENS
        changes["max_tokens"] = model.default_max_tokens or min(DEFAULT_MAX_TOKENS, most)
    if options.provider_options is not None:
        mine = options.provider_options.get(provider)
        changes["provider_options"] = {provider: mine} if mine else None
    return options.model_copy(update=changes) if changes else options
