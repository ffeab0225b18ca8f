"""Fields of OpenAI's requests that more than one of its routes has, and what becomes of those we do not pass on."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, StrictBool, StrictInt

from services.api.dialects.foreign import Foreign

# Labels and hints for OpenAI's own accounts and caches. They change nothing in an answer.
HARMLESS = frozenset({
    "metadata", "prediction", "prompt_cache_key", "prompt_cache_options", "prompt_cache_retention",
    "safety_identifier", "user",
})  # fmt: skip


def _listed(value: object) -> object:
    return (value,) if isinstance(value, str) else value


Model = Annotated[str, Field(min_length=1, max_length=300, pattern=r"^[^\x00-\x1f\x7f]+$")]
Stop = Annotated[tuple[str, ...], BeforeValidator(_listed), Field(min_length=1, max_length=4)]
One = Annotated[StrictInt, Field(ge=1, le=1)]


class StreamOptions(Foreign):
    """How a stream ends. ``include_obfuscation``: padding of OpenAI's own network, which nobody misses."""

    ignored = frozenset({"include_obfuscation"})

    include_usage: StrictBool = False


class Unhonoured(Foreign):
    """What may be asked for only as it is anyway: one answer, not stored, at the usual tier, without probabilities."""

    ignored = HARMLESS

    n: One = 1
    store: Literal[False] = False
    service_tier: Literal["auto", "default"] = "auto"
    logprobs: Literal[False] = False
    top_logprobs: Annotated[StrictInt, Field(ge=0, le=0)] = 0
    logit_bias: Annotated[dict[str, float], Field(max_length=0)] = Field(default={})
