"""What a fresh installation knows: models of the built-in providers, and the aliases a new workspace gets.

Prices are left out where the price table knows the model (see ``services/router/prices.py``).
"""

from collections.abc import Mapping
from dataclasses import dataclass

from shared.messages.catalogue import ModelV1, TargetV1
from shared.messages.vocabulary import Capability

DEFAULT_MAX_TOKENS = 1024
REASONING_MAX_TOKENS = 8192
"""Reasoning counts as output: a smaller limit is used up before the first word."""


@dataclass(frozen=True)
class DefaultAlias:
    """An alias every new workspace starts with."""

    alias_name: str
    display_name: str
    capability: Capability
    chain: tuple[TargetV1, ...]


def _chat(id_: str, context_window: int, max_output_tokens: int, *, reasoning: bool = False) -> ModelV1:
    return ModelV1(
        id=id_,
        capabilities=(Capability.CHAT,),
        context_window=context_window,
        max_output_tokens=max_output_tokens,
        default_max_tokens=min(REASONING_MAX_TOKENS if reasoning else DEFAULT_MAX_TOKENS, max_output_tokens),
    )


def _other(id_: str, *capabilities: Capability) -> ModelV1:
    return ModelV1(id=id_, capabilities=capabilities)


MODELS: Mapping[str, tuple[ModelV1, ...]] = {
    "openai": (
        _chat("gpt-4", 8_192, 8_192),
        _chat("gpt-4-turbo", 128_000, 4_096),
        _chat("gpt-4o", 128_000, 16_384),
        _chat("gpt-4o-mini", 128_000, 16_384),
        _chat("gpt-4.1", 1_047_576, 32_768),
        _chat("gpt-4.1-mini", 1_047_576, 32_768),
        _chat("gpt-4.1-nano", 1_047_576, 32_768),
        _chat("gpt-5", 400_000, 128_000, reasoning=True),
        _chat("gpt-5-mini", 400_000, 128_000, reasoning=True),
        _chat("gpt-5-nano", 400_000, 128_000, reasoning=True),
        _other("dall-e-3", Capability.IMAGE_GENERATION),
        _other("gpt-image-1", Capability.IMAGE_GENERATION, Capability.IMAGE_EDITING),
        _other("whisper-1", Capability.SPEECH_TO_TEXT),
        _other("gpt-4o-mini-tts", Capability.TEXT_TO_SPEECH),
        _other("text-embedding-3-small", Capability.EMBEDDING),
    ),
    "anthropic": (
        _chat("claude-haiku-4-5", 200_000, 64_000),
        _chat("claude-sonnet-4-5", 200_000, 64_000),
        _chat("claude-opus-4-5", 200_000, 64_000),
        _chat("claude-opus-4-1", 200_000, 32_000),
    ),
    "google": (
        _chat("gemini-2.5-flash", 1_048_576, 65_536, reasoning=True),
        _chat("gemini-2.5-flash-lite", 1_048_576, 65_536),
        _chat("gemini-2.5-pro", 1_048_576, 65_536, reasoning=True),
        _other("gemini-embedding-001", Capability.EMBEDDING),
        _other("veo-3.1-generate-preview", Capability.VIDEO_GENERATION),
    ),
    "mistral": (
        _chat("mistral-small-latest", 131_072, 131_072),
        _chat("mistral-large-latest", 131_072, 131_072),
        _other("mistral-embed", Capability.EMBEDDING),
    ),
    "groq": (
        _chat("llama-3.1-8b-instant", 131_072, 131_072),
        _chat("llama-3.3-70b-versatile", 131_072, 32_768),
    ),
    "zhipu": (
        _chat("glm-4-plus", 128_000, 4_095),
        _other("embedding-3", Capability.EMBEDDING),
        _other("cogview-4-250304", Capability.IMAGE_GENERATION),
        _other("cogvideox-3", Capability.VIDEO_GENERATION),
    ),
    "stability": (_other("stable-diffusion-xl-1024-v1-0", Capability.IMAGE_GENERATION, Capability.IMAGE_EDITING),),
    "deepgram": (
        _other("nova-3", Capability.SPEECH_TO_TEXT),
        _other("aura-2-thalia-en", Capability.TEXT_TO_SPEECH),
    ),
    "elevenlabs": (
        _other("eleven_multilingual_v2", Capability.TEXT_TO_SPEECH),
        _other("scribe_v1", Capability.SPEECH_TO_TEXT),
    ),
    "kling": (_other("kling-v2-1", Capability.VIDEO_GENERATION),),
    "runway": (_other("gen4_turbo", Capability.VIDEO_GENERATION),),
    "pika": (_other("pika-v2.2", Capability.VIDEO_GENERATION),),
}
"""Models by provider id. A provider that is missing has none of its own (aggregators resell others' models)."""


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
