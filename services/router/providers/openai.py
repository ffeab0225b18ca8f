"""OpenAI: https://api.openai.com/v1."""

from services.router.providers import completions
from services.router.providers.answers import bearer, judge_by
from services.router.providers.base import Provider, Verification
from services.router.providers.chat_completions import adapter
from services.router.providers.chat_failures import fail
from services.router.providers.chat_host import Host
from services.router.providers.embeddings import embedding
from shared.messages.vocabulary import Capability

# Not among them: ``n``, ``prediction`` (what is predicted wrongly is paid for beyond the limit), ``service_tier``,
# ``web_search_options``, ``audio`` and ``modalities`` (other prices).
_PASSES = frozenset({
    "logit_bias", "logprobs", "metadata", "moderation", "prompt_cache_key", "safety_identifier", "store",
    "top_logprobs", "user", "verbosity",
})  # fmt: skip
_HOST = Host(
    passes=_PASSES,
    # Reasoning models refuse ``max_tokens``; every chat model takes this name.
    limit_field="max_completion_tokens",
    asks_usage=True,
)

OPENAI = Provider(
    id="openai",
    name="OpenAI",
    base_url="https://api.openai.com/v1",
    verification=Verification("/models", bearer, judge_by(fail, shows="data")),
    adapter=adapter(_HOST, completion=completions.dialect(_HOST), embedding=embedding(_HOST, 128, packed=True)),
    capabilities=(Capability.CHAT, Capability.COMPLETION, Capability.EMBEDDING),
    planned_capabilities=(
        Capability.IMAGE_GENERATION,
        Capability.IMAGE_EDITING,
        Capability.SPEECH_TO_TEXT,
        Capability.TEXT_TO_SPEECH,
    ),
)
