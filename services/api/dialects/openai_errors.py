"""Errors in OpenAI's shape. The status says most: it is what SDKs choose the class of their exception by."""

from collections.abc import Mapping
from typing import Any

from shared.errors import Code, OmniError

_BAD = "invalid_request_error"
_SERVER = "server_error"
_TYPES: Mapping[Code, str] = {
    Code.MISSING_KEY: _BAD,
    Code.BUDGET_EXCEEDED: "insufficient_quota",
    Code.PROVIDER_ERROR: _SERVER,
    Code.UNSUPPORTED_SCOPE: "permission_error",
    Code.INVALID_REQUEST: _BAD,
    Code.UNAUTHORIZED: "authentication_error",
    Code.FORBIDDEN: "permission_error",
    Code.NOT_FOUND: _BAD,
    Code.CONFLICT: _BAD,
    Code.RATE_LIMITED: "rate_limit_error",
    Code.TIMEOUT: _SERVER,
    Code.UNAVAILABLE: _SERVER,
    Code.CONTENT_POLICY: _BAD,
    Code.CONTEXT_LENGTH_EXCEEDED: _BAD,
    Code.INTERNAL: _SERVER,
}
# Where OpenAI has a word of its own that programs look for; all else keeps ours, which is stable as well.
_CODES: Mapping[Code, str] = {
    Code.UNAUTHORIZED: "invalid_api_key",
    Code.NOT_FOUND: "model_not_found",
    Code.RATE_LIMITED: "rate_limit_exceeded",
    Code.CONTENT_POLICY: "content_policy_violation",
}


def problem(error: OmniError) -> dict[str, Any]:
    """The body. ``error.omnipost`` is our own problem: its code, and whatever helps to act."""
    ours = {"code": error.code.value, **{name: value for name, value in error.extra.items() if value is not None}}
    return {
        "error": {
            "message": error.detail,
            "type": _TYPES[error.code],
            "param": _param(error),
            "code": _code(error),
            "omnipost": ours,
        }
    }


def _code(error: OmniError) -> str:
    # A platform admin may have named a workspace that does not exist: that is about no model.
    return error.code.value if "workspace_id" in error.extra else _CODES.get(error.code, error.code.value)


def _param(error: OmniError) -> str | None:
    faults = error.extra.get("errors")
    if isinstance(faults, list) and faults:
        return str(faults[0].get("field")) or None
    named = error.extra.get("field") or error.extra.get("option")
    if named is None and error.code is Code.NOT_FOUND and "workspace_id" not in error.extra:
        return "model"
    return None if named is None else str(named)
