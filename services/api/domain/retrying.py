"""Whether a failed call is worth sending again: never where the money could be spent twice."""

from collections.abc import Mapping
from typing import Any

from shared.errors import Code, OmniError
from shared.messages.vocabulary import Outcome

# Nothing about these changes by asking again.
_FINAL = frozenset({
    Code.MISSING_KEY, Code.BUDGET_EXCEEDED, Code.UNSUPPORTED_SCOPE, Code.INVALID_REQUEST, Code.UNAUTHORIZED,
    Code.FORBIDDEN, Code.NOT_FOUND, Code.CONTENT_POLICY, Code.CONTEXT_LENGTH_EXCEEDED,
})  # fmt: skip
# Not called, or refused before anything was made.
_FREE = frozenset({
    Outcome.RATE_LIMITED, Outcome.QUOTA_EXHAUSTED, Outcome.INVALID_KEY, Outcome.INVALID_REQUEST,
    Outcome.CONTEXT_LENGTH_EXCEEDED, Outcome.KEY_REVOKED, Outcome.MISSING_KEY, Outcome.UNSUPPORTED_SCOPE,
    Outcome.UNSUPPORTED_OPTION, Outcome.BUDGET_EXCEEDED, Outcome.UNAVAILABLE,
})  # fmt: skip
_SLOW_BODY = 408
_UNSENT = frozenset({
    "connect_failed", "connect_timeout", "destination_not_allowed", "no_time_left", "not_started_in_time", "resting",
    "tls_failed",
})  # fmt: skip


def worth_retrying(error: OmniError) -> bool | None:
    """Whether to ask again; None where the status says it as well: a conflict that says when it is over."""
    if error.code in _FINAL:
        return False
    if error.code is Code.CONFLICT:
        return None if "retry_after_s" in error.extra else False
    if error.code is Code.INTERNAL or error.extra.get("incomplete") or error.extra.get("carried_out") == "unknown":
        return False
    attempts = error.extra.get("attempts")
    if isinstance(attempts, list):
        return all(map(_is_free, attempts))
    # Without a word of what was tried, an answer that went wrong may have been paid for. A slow body called nobody.
    return error.code not in (Code.PROVIDER_ERROR, Code.TIMEOUT) or error.status == _SLOW_BODY


def _is_free(attempt: Mapping[str, Any]) -> bool:
    # A provider that answers with an error of its own asks nothing for it, whatever the error is.
    refused = isinstance(attempt.get("status"), int) and attempt["status"] >= 300
    return refused or attempt.get("outcome") in _FREE or attempt.get("detail") in _UNSENT
