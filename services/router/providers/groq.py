"""Groq: https://api.groq.com/openai/v1."""

from functools import partial
from typing import Any

from services.router.domain.outcome import TOKENS_PER_MINUTE
from services.router.providers.answers import bearer, judge_by
from services.router.providers.base import ChatRequest, Provider, Unfit, Verification
from services.router.providers.chat_completions import adapter
from services.router.providers.chat_failures import fail
from services.router.providers.chat_host import EVERY_OPTION, PENALTIES, Host
from shared.messages.vocabulary import Capability


def shape(request: ChatRequest, _: dict[str, Any]) -> None:
    """Raises Unfit for an effort no model there has."""
    if request.options.reasoning_effort == "minimal":
        raise Unfit("reasoning_effort")


# It tells the usage of a stream unasked. Its models have no penalties, and it refuses ``logprobs`` and ``logit_bias``.
# Not passed: ``n``, ``service_tier``, ``compound_custom``, ``search_settings`` (other prices).
_HOST = Host(
    options=EVERY_OPTION - PENALTIES,
    passes=frozenset({"disable_tool_validation", "include_reasoning", "reasoning_format", "user"}),
    limit_field="max_completion_tokens",
    prefill=True,
    shape=shape,
    # More tokens at once than the key's tokens per minute: no waiting helps, fewer tokens or another target do.
    sayings={"request too large for model": TOKENS_PER_MINUTE, "spend limit": "blocked_api_access"},
)

GROQ = Provider(
    id="groq",
    name="Groq",
    base_url="https://api.groq.com/openai/v1",
    verification=Verification("/models", bearer, judge_by(partial(fail, host=_HOST), shows="data")),
    adapter=adapter(_HOST),
    capabilities=(Capability.CHAT,),
    planned_capabilities=(Capability.SPEECH_TO_TEXT, Capability.TEXT_TO_SPEECH),
)
