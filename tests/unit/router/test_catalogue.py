from datetime import UTC, datetime

from services.router.domain.catalogue import DEFAULT_ALIASES, MODELS
from services.router.prices import price_of
from services.router.providers import PROVIDERS
from shared.messages.vocabulary import Capability

MOMENT = datetime(2026, 11, 23, tzinfo=UTC)


def test_default_aliases_are_those_of_the_specification() -> None:
    assert {
        alias.alias_name: [f"{item.provider}/{item.model}" for item in alias.chain] for alias in DEFAULT_ALIASES
    } == {
        "default-writer": ["openai/gpt-4", "anthropic/claude-sonnet-4-5", "zhipu/glm-4-plus"],
        "fast-drafts": ["openai/gpt-4o-mini", "google/gemini-2.5-flash"],
        "code-assist": ["openai/gpt-4", "groq/llama-3.1-8b-instant"],
        "image-hero": ["openai/dall-e-3", "stability/stable-diffusion-xl-1024-v1-0"],
        "stt-transcribe": ["deepgram/nova-3", "openai/whisper-1"],
        "tts-voice": ["elevenlabs/eleven_multilingual_v2"],
        "video-synth": ["google/veo-3.1-generate-preview", "kling/kling-v2-1", "runway/gen4_turbo"],
    }


def test_every_target_of_a_default_alias_is_in_the_catalogue_with_its_capability() -> None:
    for alias in DEFAULT_ALIASES:
        for target in alias.chain:
            model = next(item for item in MODELS[target.provider] if item.id == target.model)
            provider = PROVIDERS[target.provider]
            assert alias.capability in model.capabilities
            assert alias.capability in (*provider.capabilities, *provider.planned_capabilities)


def test_every_chat_model_is_priced_and_bounded() -> None:
    chats = [
        (name, model) for name, models in MODELS.items() for model in models if Capability.CHAT in model.capabilities
    ]
    for provider, model in chats:
        price = price_of(provider, model, MOMENT)
        assert price is not None, (provider, model.id)
        assert price.output is not None
        assert model.default_max_tokens is not None
        assert model.max_output_tokens is not None
        assert model.default_max_tokens <= model.max_output_tokens


def test_ids_are_known_and_unique() -> None:
    assert set(MODELS) <= set(PROVIDERS)
    for models in MODELS.values():
        assert len({model.id for model in models}) == len(models)


def test_every_provider_does_or_will_do_something() -> None:
    assert set(PROVIDERS) == {
        "openai", "anthropic", "google", "mistral", "groq", "zhipu", "openrouter", "replicate", "stability",
        "deepgram", "elevenlabs", "kling", "runway", "pika",
    }  # fmt: skip
    for provider in PROVIDERS.values():
        assert (provider.adapter is not None) == bool(provider.capabilities)
        assert provider.capabilities or provider.planned_capabilities
        assert not set(provider.capabilities) & set(provider.planned_capabilities)
    assert {item.id for item in PROVIDERS.values() if item.aggregator} == {"openrouter", "replicate"}
