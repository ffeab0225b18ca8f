"""What an attempt's end means: from a provider's status and code to an outcome, and from there to what follows.

One table for every provider. An adapter adds only what its provider says in a way of its own.
"""

from collections.abc import Mapping
from enum import StrEnum

from shared.messages.vocabulary import Billing, Outcome


class Step(StrEnum):
    """What the router does after an attempt that failed.

    ``NEXT_KEY``: this key will not work; another key, at this or another provider, may.
    """

    NEXT_TARGET = "next_target"
    NEXT_KEY = "next_key"
    STOP = "stop"


TOKENS_PER_MINUTE = "tokens_per_minute"
"""More tokens in one request than the key may use in a minute. Says nothing of the size of the model's window."""

CODES: Mapping[str, Outcome] = {
    "authentication_error": Outcome.INVALID_KEY,
    "invalid_api_key": Outcome.INVALID_KEY,
    "account_deactivated": Outcome.INVALID_KEY,
    "permission_error": Outcome.INVALID_KEY,
    "missing_scope": Outcome.INVALID_KEY,
    "organization_restricted": Outcome.INVALID_KEY,
    "API_KEY_INVALID": Outcome.INVALID_KEY,
    "API_KEY_SERVICE_BLOCKED": Outcome.INVALID_KEY,
    "UNAUTHENTICATED": Outcome.INVALID_KEY,
    "insufficient_quota": Outcome.QUOTA_EXHAUSTED,
    "billing_hard_limit_reached": Outcome.QUOTA_EXHAUSTED,
    "billing_not_active": Outcome.QUOTA_EXHAUSTED,
    "billing_error": Outcome.QUOTA_EXHAUSTED,
    "blocked_api_access": Outcome.QUOTA_EXHAUSTED,
    "exceeded_current_quota_error": Outcome.QUOTA_EXHAUSTED,
    "rate_limit_exceeded": Outcome.RATE_LIMITED,
    "rate_limit_error": Outcome.RATE_LIMITED,
    "rate_limited": Outcome.RATE_LIMITED,
    "engine_overloaded_error": Outcome.PROVIDER_ERROR,
    "service_tier_capacity_exceeded": Outcome.PROVIDER_ERROR,
    "overloaded_error": Outcome.PROVIDER_ERROR,
    "server_error": Outcome.PROVIDER_ERROR,
    "api_error": Outcome.PROVIDER_ERROR,
    "timeout_error": Outcome.TIMEOUT,
    "DEADLINE_EXCEEDED": Outcome.TIMEOUT,
    "context_length_exceeded": Outcome.CONTEXT_LENGTH_EXCEEDED,
    "exceed_context_size_error": Outcome.CONTEXT_LENGTH_EXCEEDED,
    "string_above_max_length": Outcome.CONTEXT_LENGTH_EXCEEDED,
    TOKENS_PER_MINUTE: Outcome.CONTEXT_LENGTH_EXCEEDED,
    "content_policy_violation": Outcome.CONTENT_POLICY,
    "content_filter": Outcome.CONTENT_POLICY,
    "moderation_blocked": Outcome.CONTENT_POLICY,
    "model_not_found": Outcome.INVALID_REQUEST,
    "tool_use_failed": Outcome.BAD_RESPONSE,
    "json_validate_failed": Outcome.BAD_RESPONSE,
    "output_parse_failed": Outcome.BAD_RESPONSE,
}
"""Codes that say more than the HTTP status they come with."""

STATUSES: Mapping[int, Outcome] = {
    401: Outcome.INVALID_KEY,
    402: Outcome.QUOTA_EXHAUSTED,
    403: Outcome.INVALID_KEY,
    408: Outcome.TIMEOUT,
    429: Outcome.RATE_LIMITED,
    498: Outcome.PROVIDER_ERROR,
    504: Outcome.TIMEOUT,
    524: Outcome.TIMEOUT,
    598: Outcome.TIMEOUT,
    599: Outcome.TIMEOUT,
}
"""Statuses whose meaning their hundred does not give."""

PLAIN_CODES: frozenset[str] = frozenset({
    "empty_array", "invalid_function_call", "invalid_request_error", "invalid_request_message_order", "invalid_type",
    "invalid_value", "missing_required_parameter", "model_decommissioned",
    "not_found_error", "request_too_large", "unknown_parameter", "unsupported_model", "unsupported_parameter",
    "unsupported_value", "INVALID_ARGUMENT", "FAILED_PRECONDITION", "NOT_FOUND", "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED", "INTERNAL", "UNAVAILABLE",
})  # fmt: skip
"""Codes that add nothing to the status but are worth showing."""

_POLICY: Mapping[Outcome, Step] = {
    Outcome.TIMEOUT: Step.NEXT_TARGET,
    Outcome.CONNECTION_ERROR: Step.NEXT_TARGET,
    Outcome.RATE_LIMITED: Step.NEXT_KEY,
    Outcome.PROVIDER_ERROR: Step.NEXT_TARGET,
    Outcome.BAD_RESPONSE: Step.NEXT_TARGET,
    Outcome.INVALID_REQUEST: Step.NEXT_TARGET,
    Outcome.CONTEXT_LENGTH_EXCEEDED: Step.NEXT_TARGET,
    Outcome.UNKNOWN: Step.NEXT_TARGET,
    Outcome.QUOTA_EXHAUSTED: Step.NEXT_KEY,
    Outcome.INVALID_KEY: Step.NEXT_KEY,
    Outcome.MISSING_KEY: Step.NEXT_KEY,
    Outcome.KEY_REVOKED: Step.NEXT_KEY,
    Outcome.UNSUPPORTED_SCOPE: Step.NEXT_KEY,
    Outcome.BUDGET_EXCEEDED: Step.NEXT_KEY,
    Outcome.UNSUPPORTED_OPTION: Step.NEXT_TARGET,
    Outcome.UNAVAILABLE: Step.NEXT_TARGET,
    Outcome.CONTENT_POLICY: Step.STOP,
    Outcome.CANCELLED: Step.STOP,
    Outcome.SUCCESS: Step.STOP,
}


def outcome_of(status: int, code: str | None = None) -> Outcome:
    """The outcome of an HTTP answer that is no success: by ``code`` when the table knows it, else by ``status``.

    A redirect is never followed, so it is a bad response like any other status outside 400-599.
    """
    if code is not None and code in CODES:
        return CODES[code]
    if status in STATUSES:
        return STATUSES[status]
    if 400 <= status < 500:
        return Outcome.INVALID_REQUEST
    return Outcome.PROVIDER_ERROR if 500 <= status < 600 else Outcome.BAD_RESPONSE


def detail_of(status: int, code: str | None = None) -> str:
    """A short reason that is safe to show: a code this module lists, or the status.

    A provider's other words are never repeated, for they may contain what was sent to it.
    """
    if status == 404 and (code is None or code in {"model_not_found", "not_found_error", "NOT_FOUND"}):
        return "unknown_model"
    if code == "model_not_found":
        return "unknown_model"
    return code if code is not None and (code in CODES or code in PLAIN_CODES) else f"http_{status}"


def policy(outcome: Outcome) -> Step:
    """What follows an attempt with ``outcome`` (``STOP`` for a success: there is nothing left to do)."""
    return _POLICY[outcome]


def billing(outcome: Outcome, sent: bool, answered: bool) -> Billing:  # noqa: FBT001 - the two facts billing rests on
    """What the ledger does with the reservation of an attempt.

    Args:
        outcome: how the attempt ended.
        sent: a byte of the request may have reached the provider.
        answered: the provider answered with an error of its own (a status of 300 or more). A refusal inside a
            200 is not that: it was generated and is paid for.
    """
    if outcome is Outcome.SUCCESS:
        return Billing.COST
    return Billing.NOTHING if answered or not sent else Billing.UNKNOWN
