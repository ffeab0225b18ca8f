"""Usage and cost as hosts of the chat-completions dialect tell them."""

import json
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from typing import Any

from services.router.providers.base import UNTOLD, at, count_at
from shared.messages.router import TokensV1

_MOST_USD = 1_000_000


def tokens_in(body: dict[str, Any]) -> TokensV1:
    """Usage of the answer; what it does not tell is None. Groq's streams once told it in a place of their own."""
    usage = at(body, "usage") or at(body, "x_groq", "usage")
    if not isinstance(usage, dict):
        return UNTOLD
    return TokensV1(
        input_tokens=count_at(usage, "prompt_tokens"),
        output_tokens=count_at(usage, "completion_tokens"),
        cache_read_tokens=count_at(usage, "prompt_tokens_details", "cached_tokens"),
        cache_write_tokens=count_at(usage, "prompt_tokens_details", "cache_write_tokens"),
        reasoning_tokens=count_at(usage, "completion_tokens_details", "reasoning_tokens"),
    )


def openrouter_cost(text: str | bytes) -> int | None:
    """OpenRouter's own figure in the JSON ``text``, in micro-dollars rounded half up; None when it gives none.

    With the caller's own key at the provider behind it (``is_byok``), ``cost`` is OpenRouter's fee alone.
    """
    # The digits as they were sent: a binary float would lose some before the rounding.
    usage = at(json.loads(text, parse_float=_exact), "usage")
    cost = _dollars(at(usage, "cost"))
    if at(usage, "is_byok") is True:
        upstream = _dollars(at(usage, "cost_details", "upstream_inference_cost"))
        cost = None if cost is None or upstream is None else cost + upstream
    return None if cost is None else int((cost * 1_000_000).to_integral_value(ROUND_HALF_UP))


def _exact(digits: str) -> Decimal | None:
    try:
        return Decimal(digits)
    except InvalidOperation:  # an exponent beyond all bounds
        return None


def _dollars(value: object) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        return None
    return Decimal(value) if 0 <= value <= _MOST_USD else None
