"""What we know of a call beyond a foreign dialect's own words: the extra member ``omnipost`` of an answer."""

from typing import Any

from shared.messages.router import InvokedV1
from shared.money import format_usd


def receipt(answer: InvokedV1) -> dict[str, Any]:
    """Who answered, what it cost (USD as a decimal string, null unknown), what was tried, what to know besides."""
    reason = answer.fallback_reason
    return {
        "call_id": answer.call_id,
        "alias_name": answer.alias_name,
        "provider": answer.provider,
        "model": answer.model,
        "cost_usd": format_usd(answer.cost_usd_micros),
        "funds": answer.funds.value,
        "attempts": len(answer.attempts),
        "fallback_reason": reason.value if reason else None,
        "continued": [target.model_dump() for target in answer.continued],
        "warnings": [warning.model_dump() for warning in answer.warnings],
        "latency_ms": answer.latency_ms,
    }


def model_of(answer: InvokedV1) -> str:
    """Who answered, as a ``model`` that reaches it again."""
    return f"{answer.provider}/{answer.model}"
