from datetime import UTC, datetime

from services.router.catalogue import _priced
from services.router.domain.catalogue import DEFAULT_ALIASES, MODELS, completed, settled, unlisted
from services.router.domain.pricing import MOST_IMAGE_TOKENS
from services.router.prices import price_of
from services.router.providers import PROVIDERS
from shared.messages.catalogue import ModelV1
from shared.messages.vocabulary import Capability, Feature

MOMENT = datetime(2026, 11, 23, tzinfo=UTC)
TEXT = {Capability.CHAT, Capability.COMPLETION, Capability.EMBEDDING}


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


def test_every_text_model_is_priced_and_bounded() -> None:
    print()
    for provider, models in MODELS.items():
        texts = [model for model in models if TEXT & set(model.capabilities)]
        priced = [(model, price) for model in texts if (price := price_of(provider, model, MOMENT))]
        own = sum(price.version.startswith("own ") for _, price in priced)
        if texts:
            print(
                f"{provider}: {len(priced)} priced ({own} by our own table), {len(texts) - len(priced)} without a price"
            )
        assert len(priced) == len(texts)
        for model, price in priced:
            assert model.context_window is not None
            if Capability.EMBEDDING in model.capabilities:
                continue
            assert price.output is not None
            assert model.features is not None
            assert model.default_max_tokens is not None
            assert model.max_output_tokens is not None
            assert model.default_max_tokens <= model.max_output_tokens <= model.context_window


def test_features_that_decide_what_is_sent_where() -> None:
    anthropic = {model.id: model.features or () for model in MODELS["anthropic"]}
    prefills = {name for name, features in anthropic.items() if Feature.PREFILL in features}
    assert prefills == {"claude-haiku-4-5", "claude-sonnet-4-5", "claude-opus-4-1", "claude-opus-4-5"}
    chats = [model for model in MODELS["mistral"] if Capability.CHAT in model.capabilities]
    assert all(Feature.PREFILL in (model.features or ()) for model in chats)
    others = [model for name, models in MODELS.items() if name not in ("anthropic", "mistral") for model in models]
    assert not [model.id for model in others if Feature.PREFILL in (model.features or ())]
    assert not [model.id for model in MODELS["zhipu"] if Feature.JSON_SCHEMA in (model.features or ())]
    seeing = [model for models in MODELS.values() for model in models if model.max_image_tokens]
    assert all(Feature.VISION in (model.features or ()) for model in seeing)
    assert max(model.max_image_tokens or 0 for model in seeing) <= MOST_IMAGE_TOKENS


def test_every_model_can_be_shown() -> None:
    for provider, models in MODELS.items():
        for model in models:
            shown = _priced(provider, model, MOMENT)
            assert ModelV1.model_validate_json(shown.model_dump_json()) == shown


def test_an_admins_row_stands_above_what_is_built_in() -> None:
    models = completed("openai", [ModelV1(id="gpt-4o", input_usd_per_mtok="7"), ModelV1(id="gpt-99")])
    built_in = next(model for model in MODELS["openai"] if model.id == "gpt-4o")
    assert models["gpt-4o"] == built_in.model_copy(update={"input_usd_per_mtok": "7"})
    assert models["gpt-99"] == ModelV1(id="gpt-99")
    assert unlisted("anthropic", "claude-99").max_image_tokens == 5_000
    assert unlisted("openai", "gpt-99").max_image_tokens is None


def test_a_price_says_since_which_version_it_stands() -> None:
    asked = ModelV1(id="embedding-3", capabilities=(), input_usd_per_mtok="1")
    first = settled("zhipu", asked, None, 7)
    assert (first.capabilities, first.price_version) == ((Capability.EMBEDDING,), "catalogue v7")
    assert settled("zhipu", asked.model_copy(update={"context_window": 9}), first, 8).price_version == "catalogue v7"
    assert (
        settled("zhipu", asked.model_copy(update={"input_usd_per_mtok": "2"}), first, 9).price_version == "catalogue v9"
    )
    assert settled("zhipu", ModelV1(id="embedding-3", price_version="mine"), first, 10).price_version is None
    assert settled("acme", ModelV1(id="m", capabilities=()), None, 1).capabilities == (Capability.CHAT,)


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
