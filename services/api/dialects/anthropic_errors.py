"""Failures in Anthropic's words."""

import json
from collections.abc import Mapping
from typing import Any

from shared import logs
from shared.errors import Code, OmniError

_TYPES: Mapping[Code, str] = {
    Code.MISSING_KEY: "billing_error",
    Code.BUDGET_EXCEEDED: "billing_error",
    Code.PROVIDER_ERROR: "api_error",
    Code.UNSUPPORTED_SCOPE: "permission_error",
    Code.INVALID_REQUEST: "invalid_request_error",
    Code.UNAUTHORIZED: "authentication_error",
    Code.FORBIDDEN: "permission_error",
    Code.NOT_FOUND: "not_found_error",
    Code.CONFLICT: "invalid_request_error",
    Code.RATE_LIMITED: "rate_limit_error",
    Code.TIMEOUT: "timeout_error",
    Code.UNAVAILABLE: "overloaded_error",
    Code.CONTENT_POLICY: "invalid_request_error",
    Code.CONTEXT_LENGTH_EXCEEDED: "invalid_request_error",
    Code.INTERNAL: "api_error",
}


def problem(error: OmniError) -> dict[str, Any]:
    """``error`` as Anthropic would tell it; ``omnipost`` in it has our own code and whatever helps to act.

    ``request_id``: the request that is being served, None outside of one.
    """
    extra = {name: value for name, value in error.extra.items() if value is not None}
    kind = "request_too_large" if error.status == 413 else _TYPES[error.code]
    return {
        "type": "error",
        "error": {"type": kind, "message": error.detail, "omnipost": {"code": error.code.value, **extra}},
        "request_id": logs.request_id(),
    }


def failed_event(error: OmniError) -> bytes:
    """``error`` as the last event of a stream."""
    return f"event: error\ndata: {json.dumps(problem(error), ensure_ascii=False)}\n\n".encode()
