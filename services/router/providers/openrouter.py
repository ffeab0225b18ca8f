"""OpenRouter: https://openrouter.ai/api/v1, which passes a request on to other providers."""

from decimal import Decimal
from functools import partial
from typing import Any

from services.router.providers.answers import bearer, judge_by
from services.router.providers.base import ChatRequest, Provider, Verification
from services.router.providers.chat_completions import adapter
from services.router.providers.chat_failures import fail
from services.router.providers.chat_host import Host
from services.router.providers.chat_usage import openrouter_cost
from services.router.providers.embeddings import embedding
from shared.messages.vocabulary import Capability

# Not passed: ``models``, ``route``, ``preset`` (they change the target), ``plugins``, ``service_tier``, ``modalities``,
# ``image_config``, ``cache_control`` (other prices), ``prediction``, ``n``.
_PASSES = frozenset({
    "logit_bias", "logprobs", "metadata", "min_p", "prompt_cache_key", "provider", "reasoning", "repetition_penalty",
    "session_id", "top_a", "top_k", "top_logprobs", "trace", "usage", "user", "verbosity",
})  # fmt: skip


def _within_price(request: ChatRequest, body: dict[str, Any]) -> None:
    # It may route to a dearer host of the same model, and what it then says it costs is what is owed.
    if request.ceiling is None:
        return
    asked = body.get("provider")
    wishes = asked if isinstance(asked, dict) else {}
    theirs = wishes.get("max_price")
    limits = dict(theirs) if isinstance(theirs, dict) else {}
    for unit, most in (("prompt", request.ceiling.prompt), ("completion", request.ceiling.completion)):
        limits[unit] = format(min(most, _price(limits.get(unit), most)).normalize(), "f")
    body["provider"] = wishes | {"max_price": limits}


def _price(told: object, otherwise: Decimal) -> Decimal:
    try:
        price = Decimal(str(told))
    except ArithmeticError:
        return otherwise
    return price if price.is_finite() and price >= 0 else otherwise


_HOST = Host(
    passes=_PASSES,
    limit_field="max_completion_tokens",
    # It tells the usage of a stream unasked today; it did not always.
    asks_usage=True,
    # For models whose own provider goes on with an answer.
    prefill=True,
    # Its codes are the statuses again, and 403 is three things.
    sayings={
        "was flagged": "moderation_blocked",
        "key limit exceeded": "insufficient_quota",
        "-models-per-day": "insufficient_quota",
    },
    cost=openrouter_cost,
    shape=_within_price,
)

OPENROUTER = Provider(
    id="openrouter",
    name="OpenRouter",
    base_url="https://openrouter.ai/api/v1",
    # The list of models is public there.
    verification=Verification("/key", bearer, judge_by(partial(fail, host=_HOST), shows="data")),
    adapter=adapter(_HOST, embedding=embedding(_HOST, 64, packed=True)),
    capabilities=(Capability.CHAT, Capability.EMBEDDING),
    aggregator=True,
)
