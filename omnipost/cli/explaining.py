"""What an error means to somebody at a terminal: an exit code, and what to do next. Pure."""

from collections.abc import Mapping
from typing import Any

from omnipost.cli.drawing import instant, seconds
from omnipost.errors import OmniPostError

REFUSED, UNAVAILABLE, FAILED, USAGE, UNEXPECTED = 3, 4, 5, 2, 1
_EXITS: Mapping[str, int] = {
    "usage": USAGE,
    "not_configured": USAGE,
    "missing_key": REFUSED,
    "budget_exceeded": REFUSED,
    "unsupported_scope": REFUSED,
    "invalid_request": REFUSED,
    "unauthorized": REFUSED,
    "forbidden": REFUSED,
    "not_found": REFUSED,
    "conflict": REFUSED,
    "content_policy": REFUSED,
    "context_length_exceeded": REFUSED,
    "rate_limited": UNAVAILABLE,
    "unavailable": UNAVAILABLE,
    "unreachable": UNAVAILABLE,
    "answer_lost": UNAVAILABLE,
    "provider_error": FAILED,
    "timeout": FAILED,
}
_NEXT: Mapping[str, str] = {
    "missing_key": "Store one: omnipost keys add PROVIDER; what the alias needs: omnipost aliases explain ALIAS.",
    "budget_exceeded": "See omnipost usage for budgets, and omnipost aliases explain ALIAS for what would still work.",
    "unsupported_scope": "See omnipost keys list for scopes, and omnipost aliases explain ALIAS for what would work.",
    "unauthorized": "Check OMNIPOST_TOKEN or --token-file; an owner makes another with omnipost tokens add.",
    "forbidden": "Ask somebody whose role may do this, or for a token with another role.",
    "not_found": "Check the name with the list command, and --workspace.",
    "unreachable": "Start the local stack with make run, or check --url.",
    "provider_error": "See omnipost calls tail for what was tried.",
    "timeout": "See omnipost calls tail for what was tried.",
    "answer_lost": "See omnipost calls tail for what was done before you ask again.",
}


def exit_code(error: OmniPostError) -> int:
    """2 wrong usage, 3 refused, 4 unavailable now, 5 the providers failed, 1 anything else."""
    return _EXITS.get(error.code, UNEXPECTED)


def problem(error: OmniPostError) -> dict[str, Any]:
    """The error as ``--json`` shows it."""
    known = {"code": error.code, "detail": error.detail, "status": error.status}
    return {**known, "request_id": error.request_id, "retry_after": error.retry_after, **error.extra}


def lines(error: OmniPostError) -> list[str]:
    """The error as people read it: what happened, what was tried, what to do."""
    said = [f"{error.code}: {error.detail}"]
    said += [f"  {fault.get('field')}: {fault.get('problem')}" for fault in _rows(error, "errors")]
    said += map(_tried, _rows(error, "attempts"))
    if resets_at := error.extra.get("resets_at"):
        said.append(f"The budget begins anew at {instant(resets_at)} UTC.")
    if error.retry_after is not None and error.code in ("rate_limited", "unavailable"):
        said.append(f"Try again in {error.retry_after:g} s.")
    if hint := _NEXT.get(error.code):
        said.append(hint)
    if error.request_id and exit_code(error) in (UNEXPECTED, UNAVAILABLE):
        said.append(f"Request {error.request_id}.")
    return said


def _tried(attempt: Mapping[str, Any]) -> str:
    ms = attempt.get("latency_ms")
    target = f"  {attempt.get('provider')}/{attempt.get('model')}: {attempt.get('outcome')}"
    return f"{target} in {seconds(ms)}" if ms else target


def _rows(error: OmniPostError, name: str) -> list[dict[str, Any]]:
    found = error.extra.get(name)
    return [row for row in found if isinstance(row, dict)] if isinstance(found, list) else []
