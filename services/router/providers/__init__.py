"""Every provider we know, by id. To add one that speaks a known dialect, add a row."""

from collections.abc import Mapping

from services.router.providers.anthropic import ANTHROPIC
from services.router.providers.base import Adapter, Provider
from services.router.providers.google import GOOGLE
from services.router.providers.openai import OPENAI
from services.router.providers.openai_compatible import OPENAI_COMPATIBLE
from shared.messages.vocabulary import Capability

__all__ = ["OPENAI_COMPATIBLE", "PROVIDERS", "adapter_of"]

_CHAT, _EMBEDDING = Capability.CHAT, Capability.EMBEDDING
_IMAGE, _EDIT = Capability.IMAGE_GENERATION, Capability.IMAGE_EDITING
_LISTEN, _SPEAK = Capability.SPEECH_TO_TEXT, Capability.TEXT_TO_SPEECH
_VIDEO, _VIDEO_EDIT = Capability.VIDEO_GENERATION, Capability.VIDEO_EDITING


def _planned(id_: str, name: str, base_url: str, *planned: Capability, aggregator: bool = False) -> Provider:
    return Provider(id_, name, base_url, planned_capabilities=planned, aggregator=aggregator)


PROVIDERS: Mapping[str, Provider] = {
    provider.id: provider
    for provider in (
        OPENAI,
        ANTHROPIC,
        GOOGLE,
        _planned("mistral", "Mistral", "https://api.mistral.ai/v1", _CHAT, _EMBEDDING, _LISTEN, _SPEAK),
        _planned("groq", "Groq", "https://api.groq.com/openai/v1", _CHAT, _LISTEN, _SPEAK),
        _planned("zhipu", "Zhipu", "https://open.bigmodel.cn/api/paas/v4", _CHAT, _EMBEDDING, _IMAGE, _VIDEO),
        _planned("openrouter", "OpenRouter", "https://openrouter.ai/api/v1", _CHAT, _EMBEDDING, aggregator=True),
        _planned("replicate", "Replicate", "https://api.replicate.com/v1", _IMAGE, _VIDEO, aggregator=True),
        _planned("stability", "Stability AI", "https://api.stability.ai", _IMAGE, _EDIT),
        _planned("deepgram", "Deepgram", "https://api.deepgram.com", _LISTEN, _SPEAK),
        _planned("elevenlabs", "ElevenLabs", "https://api.elevenlabs.io", _LISTEN, _SPEAK),
        _planned("kling", "Kling", "https://api-singapore.klingai.com", _VIDEO),
        _planned("runway", "Runway", "https://api.dev.runwayml.com", _VIDEO, _VIDEO_EDIT),
        _planned("pika", "Pika", "https://queue.fal.run", _VIDEO),
    )
}


def adapter_of(provider_id: str) -> Adapter | None:
    """The adapter of a built-in provider (None when planned), or the compatible one for any other id."""
    provider = PROVIDERS.get(provider_id)
    return provider.adapter if provider is not None else OPENAI_COMPATIBLE
