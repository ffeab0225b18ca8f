"""OpenAI: https://api.openai.com/v1."""

from functools import partial

from services.router.providers import chat_completions
from services.router.providers.answers import bearer, decode_by, judge_by
from services.router.providers.base import Adapter, Dialect, Provider, Verification
from shared.messages.vocabulary import Capability

OPENAI = Provider(
    id="openai",
    name="OpenAI",
    base_url="https://api.openai.com/v1",
    verification=Verification("/models", bearer, judge_by(chat_completions.fail, shows="data")),
    adapter=Adapter(
        chat=Dialect(
            # Reasoning models refuse ``max_tokens``; every chat model takes this name.
            encode=partial(chat_completions.encode, limit_field="max_completion_tokens"),
            decode=decode_by(partial(chat_completions.read, lenient=False), chat_completions.fail),
            events=chat_completions.events,
            options=frozenset({"max_tokens", "temperature", "top_p", "stop", "seed"}),
        ),
        auth=bearer,
        fail=chat_completions.fail,
    ),
    capabilities=(Capability.CHAT,),
    planned_capabilities=(
        Capability.COMPLETION,
        Capability.EMBEDDING,
        Capability.IMAGE_GENERATION,
        Capability.IMAGE_EDITING,
        Capability.SPEECH_TO_TEXT,
        Capability.TEXT_TO_SPEECH,
    ),
)
