"""Models of the providers of pictures, sound and film, as of 2026-11-23 (../facts/providers.md, section 2)."""

from collections.abc import Mapping

from services.router.domain.models.building import other
from shared.messages.catalogue import ModelV1
from shared.messages.vocabulary import Capability

MODELS: Mapping[str, tuple[ModelV1, ...]] = {
    "stability": (other("stable-diffusion-xl-1024-v1-0", Capability.IMAGE_GENERATION, Capability.IMAGE_EDITING),),
    "deepgram": (
        other("nova-3", Capability.SPEECH_TO_TEXT),
        other("aura-2-thalia-en", Capability.TEXT_TO_SPEECH),
    ),
    "elevenlabs": (
        other("eleven_multilingual_v2", Capability.TEXT_TO_SPEECH),
        other("scribe_v1", Capability.SPEECH_TO_TEXT),
    ),
    "kling": (other("kling-v2-1", Capability.VIDEO_GENERATION),),
    "runway": (other("gen4_turbo", Capability.VIDEO_GENERATION),),
    "pika": (other("pika-v2.2", Capability.VIDEO_GENERATION),),
}
