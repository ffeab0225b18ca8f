"""How a model of the catalogue is written down."""

from shared.messages.catalogue import ModelV1
from shared.messages.vocabulary import Capability, Feature

DEFAULT_MAX_TOKENS = 1024
REASONING_MAX_TOKENS = 8192
"""Reasoning counts as output: a smaller limit is used up before the first word."""

TOOLS, VISION, REASONING, PREFILL = Feature.TOOLS, Feature.VISION, Feature.REASONING, Feature.PREFILL
OBJECT, SCHEMA = Feature.JSON_OBJECT, Feature.JSON_SCHEMA


def chat(
    id_: str, window: int, most_output: int, *features: Feature, thinks: bool = False, picture: int | None = None
) -> ModelV1:
    """A chat model.

    Args:
        id_: as the provider calls it.
        window: tokens in and out together.
        most_output: tokens it generates at most.
        features: what it can do besides text.
        thinks: it reasons without being asked, so that its default limit must be larger.
        picture: tokens a picture counts at most; None where nobody says.
    """
    return ModelV1(
        id=id_,
        capabilities=(Capability.CHAT,),
        features=tuple(sorted(features)),
        max_image_tokens=picture,
        context_window=window,
        max_output_tokens=most_output,
        default_max_tokens=min(REASONING_MAX_TOKENS if thinks else DEFAULT_MAX_TOKENS, most_output),
    )


def completion(id_: str, window: int, most_output: int) -> ModelV1:
    """A model that only goes on with a prompt."""
    return ModelV1(
        id=id_,
        capabilities=(Capability.COMPLETION,),
        features=(),
        context_window=window,
        max_output_tokens=most_output,
        default_max_tokens=min(DEFAULT_MAX_TOKENS, most_output),
    )


def embedding(id_: str, window: int) -> ModelV1:
    """A model that embeds texts of at most ``window`` tokens each."""
    return ModelV1(id=id_, capabilities=(Capability.EMBEDDING,), context_window=window)


def other(id_: str, *capabilities: Capability) -> ModelV1:
    """A model of pictures, sound or film."""
    return ModelV1(id=id_, capabilities=capabilities)
