"""What can go wrong, one class for each of the API's stable codes. No message holds a token, a key or a prompt."""

from collections.abc import Mapping
from typing import Any


class OmniPostError(Exception):
    """A request that did not work. ``str(error)`` is ``detail``: a sentence that says what to do.

    Attributes:
        code: the API's stable code, or one of this client's own (``not_configured``, ``unreachable``, ``answer_lost``).
        detail: a sentence for people.
        status: the HTTP status; None where there was no answer.
        request_id: what the server's logs know the request by.
        retry_after: seconds after which asking again may work; None: the server did not say.
        extra: the problem's other fields (``key_id``, ``budget``, ``resets_at``, ``attempts``, ``errors`` …).
    """

    code: str = "unknown"

    def __init__(
        self,
        detail: str,
        *,
        status: int | None = None,
        request_id: str | None = None,
        retry_after: float | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(detail)
        self.detail, self.status, self.request_id = detail, status, request_id
        self.retry_after, self.extra = retry_after, dict(extra or {})


class MissingKeyError(OmniPostError):
    """No key that can be used for this alias is stored in the workspace."""

    code = "missing_key"


class BudgetExceededError(OmniPostError):
    """A budget is used up or halted; ``extra`` has ``budget`` and ``resets_at``."""

    code = "budget_exceeded"


class UnsupportedScopeError(OmniPostError):
    """The key does not allow this; ``extra["scope"]`` says what."""

    code = "unsupported_scope"


class ProviderError(OmniPostError):
    """No provider of the alias has answered; ``extra["attempts"]`` has each."""

    code = "provider_error"


class CallTimeoutError(OmniPostError):
    """Every provider of the alias took too long."""

    code = "timeout"


class RateLimitedError(OmniPostError):
    """Too much was asked, of OmniPost or of every provider."""

    code = "rate_limited"


class ContentPolicyError(OmniPostError):
    """A provider refuses to answer this."""

    code = "content_policy"


class ContextLengthExceededError(OmniPostError):
    """The question is too long for the model."""

    code = "context_length_exceeded"


class InvalidRequestError(OmniPostError):
    """The request cannot be served as it is; ``extra["errors"]`` names fields and rules."""

    code = "invalid_request"


class UnauthorizedError(OmniPostError):
    """The token is not known, revoked or expired."""

    code = "unauthorized"


class ForbiddenError(OmniPostError):
    """The token's role may not do this."""

    code = "forbidden"


class NotFoundError(OmniPostError):
    """There is no such thing, or not for this token."""

    code = "not_found"


class ConflictError(OmniPostError):
    """It is there already, has changed, or the same request is still running."""

    code = "conflict"


class UnavailableError(OmniPostError):
    """A part of OmniPost is away; nothing was called."""

    code = "unavailable"


class InternalError(OmniPostError):
    """OmniPost's own fault."""

    code = "internal"


class NotConfiguredError(OmniPostError):
    """This client does not know where to ask, or as whom."""

    code = "not_configured"


class UnreachableError(OmniPostError):
    """No connection; nothing was sent."""

    code = "unreachable"


class AnswerLostError(OmniPostError):
    """The connection broke before the answer was complete: what was asked may have been done."""

    code = "answer_lost"


_KINDS: tuple[type[OmniPostError], ...] = (
    MissingKeyError,
    BudgetExceededError,
    UnsupportedScopeError,
    ProviderError,
    CallTimeoutError,
    RateLimitedError,
    ContentPolicyError,
    ContextLengthExceededError,
    InvalidRequestError,
    UnauthorizedError,
    ForbiddenError,
    NotFoundError,
    ConflictError,
    UnavailableError,
    InternalError,
)
_OF_CODE = {kind.code: kind for kind in _KINDS}
# What a proxy in front of OmniPost answers has no code of ours.
_OF_STATUS: Mapping[int, type[OmniPostError]] = {
    401: UnauthorizedError,
    403: ForbiddenError,
    404: NotFoundError,
    409: ConflictError,
    429: RateLimitedError,
    502: UnavailableError,
    503: UnavailableError,
    504: UnavailableError,
}
_ENVELOPE = frozenset({"type", "title", "status", "code", "detail", "request_id"})


def error_of(
    problem: object, *, status: int | None = None, request_id: str | None = None, retry_after: float | None = None
) -> OmniPostError:
    """The exception for an RFC 9457 problem document, or for anything else that came with an error status."""
    fields: dict[str, Any] = problem if isinstance(problem, dict) else {}
    kind = _OF_CODE.get(str(fields.get("code"))) or _OF_STATUS.get(status or 0) or OmniPostError
    if "code" not in fields:
        detail = f"The server answered {status}, but not as OmniPost does; check the URL, and what is in front of it."
    else:
        detail = str(fields.get("detail") or fields.get("title") or fields["code"])
    if status is None and isinstance(fields.get("status"), int):
        status = fields["status"]
    extra = {name: value for name, value in fields.items() if name not in _ENVELOPE}
    error = kind(detail, status=status, request_id=request_id, retry_after=retry_after, extra=extra)
    error.code = str(fields.get("code", error.code))
    return error
