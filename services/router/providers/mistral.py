"""Mistral: https://api.mistral.ai/v1."""

import hashlib
import re
from functools import partial
from typing import Any

from services.router.providers.answers import bearer, judge_by
from services.router.providers.base import ChatRequest, Provider, Unfit, Verification
from services.router.providers.chat_completions import adapter
from services.router.providers.chat_failures import fail
from services.router.providers.chat_host import Host
from services.router.providers.embeddings import embedding
from shared.messages.vocabulary import Capability

_NINE = re.compile(r"[A-Za-z0-9]{9}")
_HOTTEST = 1.5
_EFFORTS = {None, "none", "high"}


def nine(id_: str) -> str:
    """``id_`` as Mistral takes it: nine letters and digits. Another one is digested, the same way every time."""
    return id_ if _NINE.fullmatch(id_) else hashlib.sha256(id_.encode(errors="replace")).hexdigest()[:9]


def shape(request: ChatRequest, body: dict[str, Any]) -> None:
    """The body in Mistral's words.

    Raises:
        Unfit: an option has a value that Mistral does not have.
    """
    options = request.options
    if options.temperature is not None and options.temperature > _HOTTEST:
        raise Unfit("temperature_above_1.5")
    if options.seed is not None:
        if options.seed < 0:
            raise Unfit("seed_below_0")
        body["random_seed"] = body.pop("seed")
    if options.reasoning_effort not in _EFFORTS:
        raise Unfit("reasoning_effort")
    if options.tool_choice == "required":
        body["tool_choice"] = "any"
    for tool in body.get("tools", ()):
        tool["function"].setdefault("parameters", {"type": "object", "properties": {}})
    if request.continues:
        body["messages"][-1]["prefix"] = True


# It tells the usage of a stream unasked, and refuses fields it does not know: no ``stream_options``.
# Not passed: ``n``, ``guardrails``, ``prediction`` (their prices are not known).
_HOST = Host(
    passes=frozenset({"metadata", "prompt_cache_key", "prompt_mode", "safe_prompt"}),
    prefill=True,
    call_id=nine,
    shape=shape,
    # 1300 is a plain rate limit here, and a policy at Zhipu.
    codes={"1300": "rate_limited", "3505": "service_tier_capacity_exceeded", "invalid_model": "model_not_found"},
    sayings={
        "service tier capacity exceeded": "service_tier_capacity_exceeded",
        "too large for model": "context_length_exceeded",
    },
)

MISTRAL = Provider(
    id="mistral",
    name="Mistral",
    base_url="https://api.mistral.ai/v1",
    verification=Verification("/models", bearer, judge_by(partial(fail, host=_HOST), shows="data")),
    adapter=adapter(_HOST, embedding=embedding(_HOST, 64, dimensions="output_dimension")),
    capabilities=(Capability.CHAT, Capability.EMBEDDING),
    planned_capabilities=(Capability.SPEECH_TO_TEXT, Capability.TEXT_TO_SPEECH),
)
