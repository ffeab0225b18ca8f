"""What a fresh installation knows: models of the built-in providers, and the aliases a new workspace gets.

The models stand in ``domain/models/``, one file a provider. Prices: ``services/router/prices.py``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from services.router.domain.models import anthropic, google, groq, media, mistral, openai, openrouter, replicate, zhipu
from services.router.domain.models.building import DEFAULT_MAX_TOKENS
from shared.messages.catalogue import ModelV1, TargetV1
from shared.messages.vocabulary import Capability

__all__ = ["DEFAULT_ALIASES", "DEFAULT_MAX_TOKENS", "MODELS", "DefaultAlias", "completed", "settled", "unlisted"]


@dataclass(frozen=True)
class DefaultAlias:
    """An alias every new workspace starts with."""

    alias_name: str
    display_name: str
    capability: Capability
    chain: tuple[TargetV1, ...]


MODELS: Mapping[str, tuple[ModelV1, ...]] = {
    "openai": openai.MODELS,
    "anthropic": anthropic.MODELS,
    "google": google.MODELS,
    "mistral": mistral.MODELS,
    "groq": groq.MODELS,
    "zhipu": zhipu.MODELS,
    "openrouter": openrouter.MODELS,
    "replicate": replicate.MODELS,
    **media.MODELS,
}
"""Models by provider id."""

_PICTURES: Mapping[str, int] = {"anthropic": 5_000, "google": 6_192, "mistral": 4_160, "groq": 16_384, "zhipu": 16_384}


def unlisted(provider_id: str, model_id: str) -> ModelV1:
    """A model nobody has described: everything is tried, and a picture counts what it does at most at that provider.

    Where that differs by much from model to model it is left open (see ``pricing.MOST_IMAGE_TOKENS``).
    """
    return ModelV1(id=model_id, max_image_tokens=_PICTURES.get(provider_id))


def completed(provider_id: str, rows: Sequence[ModelV1]) -> Mapping[str, ModelV1]:
    """A provider's models by id: the built-in ones, and above them whatever an admin's ``rows`` say."""
    known = {model.id: model for model in MODELS.get(provider_id, ())}
    for row in rows:
        said = {name: getattr(row, name) for name in row.model_fields_set}
        known[row.id] = known[row.id].model_copy(update=said) if row.id in known else row
    return known


def settled(provider_id: str, asked: ModelV1, written: ModelV1 | None, version: int) -> ModelV1:
    """A model as an admin's row shall hold it from ``version`` of the catalogue on; ``written``: as it holds it now.

    Without capabilities it keeps those it has. Its price says since which version it stands; a price that stays as it
    was keeps the version it had.
    """
    built_in = next((model for model in MODELS.get(provider_id, ()) if model.id == asked.id), None)
    known = written or built_in or ModelV1(id=asked.id)
    stays = written is not None and _prices(written) == _prices(asked)
    priced = any(price is not None for price in _prices(asked))
    since = written.price_version if written is not None and stays else f"catalogue v{version}"
    capabilities = asked.capabilities or known.capabilities
    return asked.model_copy(update={"capabilities": capabilities, "price_version": since if priced else None})


def _prices(model: ModelV1) -> tuple[str | None, ...]:
    return (
        model.input_usd_per_mtok,
        model.output_usd_per_mtok,
        model.cache_read_usd_per_mtok,
        model.cache_write_usd_per_mtok,
    )


def _chain(*targets: tuple[str, str]) -> tuple[TargetV1, ...]:
    return tuple(TargetV1(provider=provider, model=model) for provider, model in targets)


DEFAULT_ALIASES: tuple[DefaultAlias, ...] = (
    DefaultAlias(
        "default-writer",
        "Default Writer",
        Capability.CHAT,
        _chain(("openai", "gpt-4"), ("anthropic", "claude-sonnet-4-5"), ("zhipu", "glm-4-plus")),
    ),
    DefaultAlias(
        "fast-drafts",
        "Fast Drafts",
        Capability.CHAT,
        _chain(("openai", "gpt-4o-mini"), ("google", "gemini-2.5-flash")),
    ),
    DefaultAlias(
        "code-assist",
        "Code Assist",
        Capability.CHAT,
        _chain(("openai", "gpt-4"), ("groq", "llama-3.1-8b-instant")),
    ),
    DefaultAlias(
        "image-hero",
        "Image Hero",
        Capability.IMAGE_GENERATION,
        _chain(("openai", "dall-e-3"), ("stability", "stable-diffusion-xl-1024-v1-0")),
    ),
    DefaultAlias(
        "stt-transcribe",
        "Speech to Text",
        Capability.SPEECH_TO_TEXT,
        _chain(("deepgram", "nova-3"), ("openai", "whisper-1")),
    ),
    DefaultAlias(
        "tts-voice",
        "Text to Speech",
        Capability.TEXT_TO_SPEECH,
        _chain(("elevenlabs", "eleven_multilingual_v2")),
    ),
    DefaultAlias(
        "video-synth",
        "Video Synth",
        Capability.VIDEO_GENERATION,
        _chain(("google", "veo-3.1-generate-preview"), ("kling", "kling-v2-1"), ("runway", "gen4_turbo")),
    ),
)
