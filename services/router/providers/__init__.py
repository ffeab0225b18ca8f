"""Every provider we know, by id. To add one that speaks a known dialect, add a row."""

from collections.abc import Mapping

from services.router.providers import verifications as check
from services.router.providers.anthropic import ANTHROPIC
from services.router.providers.base import Adapter, Provider, Verification
from services.router.providers.google import GOOGLE
from services.router.providers.groq import GROQ
from services.router.providers.mistral import MISTRAL
from services.router.providers.openai import OPENAI
from services.router.providers.openai_compatible import MODELS, OPENAI_COMPATIBLE
from services.router.providers.openrouter import OPENROUTER
from services.router.providers.replicate import REPLICATE
from services.router.providers.zhipu import ZHIPU
from shared.messages.vocabulary import Capability

__all__ = ["OPENAI_COMPATIBLE", "PROVIDERS", "adapter_of", "verification_of"]

_IMAGE, _EDIT = Capability.IMAGE_GENERATION, Capability.IMAGE_EDITING
_LISTEN, _SPEAK = Capability.SPEECH_TO_TEXT, Capability.TEXT_TO_SPEECH
_VIDEO, _VIDEO_EDIT = Capability.VIDEO_GENERATION, Capability.VIDEO_EDITING


def _planned(
    id_: str,
    name: str,
    base_url: str,
    verification: Verification,
    *planned: Capability,
    aggregator: bool = False,
    region: str | None = None,
) -> Provider:
    return Provider(
        id_, name, base_url, verification, planned_capabilities=planned, aggregator=aggregator, region=region
    )


# A region stands only where the address itself says it. The vendors call the other addresses global, or do not say.
PROVIDERS: Mapping[str, Provider] = {
    provider.id: provider
    for provider in (
        OPENAI,
        ANTHROPIC,
        GOOGLE,
        MISTRAL,
        GROQ,
        ZHIPU,
        OPENROUTER,
        REPLICATE,
        _planned("stability", "Stability AI", "https://api.stability.ai", check.STABILITY, _IMAGE, _EDIT),
        _planned("deepgram", "Deepgram", "https://api.deepgram.com", check.DEEPGRAM, _LISTEN, _SPEAK),
        _planned("elevenlabs", "ElevenLabs", "https://api.elevenlabs.io", check.ELEVENLABS, _LISTEN, _SPEAK),
        _planned("kling", "Kling", "https://api-singapore.klingai.com", check.KLING, _VIDEO, region="sg"),
        _planned("runway", "Runway", "https://api.dev.runwayml.com", check.RUNWAY, _VIDEO, _VIDEO_EDIT),
        _planned("pika", "Pika", "https://queue.fal.run", check.PIKA, _VIDEO),
    )
}


def adapter_of(provider_id: str) -> Adapter | None:
    """The adapter of a built-in provider (None when planned), or the compatible one for any other id."""
    provider = PROVIDERS.get(provider_id)
    return provider.adapter if provider is not None else OPENAI_COMPATIBLE


def verification_of(provider_id: str) -> Verification:
    """How a key of the provider is checked: as its row says, or as of any OpenAI-compatible host."""
    provider = PROVIDERS.get(provider_id)
    return provider.verification if provider is not None else MODELS
