"""The headers of a call's answer that say who gave it and what it cost, and of a failed one's whether to ask again."""

from urllib.parse import quote

from services.api.domain.retrying import worth_retrying
from shared.errors import OmniError
from shared.messages.router import InvokedV1
from shared.money import format_usd

CALL_ID = "x-omnipost-call-id"
# A model's name is whatever an admin has written: what cannot stand in a header is percent-encoded.
_SAFE = "/:@+,;=()[]~!$&'*"


def answer_headers(answer: InvokedV1) -> dict[str, str]:
    """Of a whole answer. The cost only where it is known, a fallback's reason only where there was one."""
    headers = {
        CALL_ID: answer.call_id,
        "x-omnipost-provider": answer.provider,
        "x-omnipost-model": quote(answer.model, safe=_SAFE),
        "x-omnipost-attempts": str(len(answer.attempts)),
        "x-omnipost-funds": answer.funds.value,
    }
    cost = format_usd(answer.cost_usd_micros)
    if cost is not None:
        headers["x-omnipost-cost-usd"] = cost
    if answer.fallback_reason is not None:
        headers["x-omnipost-fallback-reason"] = answer.fallback_reason.value
    return headers


def failure_headers(error: OmniError) -> dict[str, str]:
    """Of a failed request: ``Retry-After``, ``WWW-Authenticate``, whether to ask again, and which call it was."""
    headers = {}
    if error.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    if error.status in (429, 503) or "retry_after_s" in error.extra:
        headers["Retry-After"] = str(error.extra.get("retry_after_s", 1))
    worth = worth_retrying(error)
    if worth is not None:
        headers["x-should-retry"] = "true" if worth else "false"
    if isinstance(call_id := error.extra.get("call_id"), str):
        headers[CALL_ID] = call_id
    if isinstance(attempts := error.extra.get("attempts"), list):
        headers["x-omnipost-attempts"] = str(len(attempts))
    return headers
