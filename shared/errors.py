"""Failures a caller may act on: one exception, stable codes, the specification's sentences.

``OmniError`` crosses every hop as a *problem* (code, detail, extra) and becomes RFC 9457
``application/problem+json`` at the edge. ``extra`` must never hold a secret or a prompt.
"""

import re
from collections.abc import Iterable, Mapping
from enum import StrEnum
from itertools import islice
from typing import Any

import pydantic


class Code(StrEnum):
    """Stable error codes; ``STATUS`` gives the HTTP status of each."""

    MISSING_KEY = "missing_key"
    BUDGET_EXCEEDED = "budget_exceeded"
    PROVIDER_ERROR = "provider_error"
    UNSUPPORTED_SCOPE = "unsupported_scope"
    INVALID_REQUEST = "invalid_request"
    UNAUTHORIZED = "unauthorized"
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not_found"
    CONFLICT = "conflict"
    RATE_LIMITED = "rate_limited"
    TIMEOUT = "timeout"
    UNAVAILABLE = "unavailable"
    CONTENT_POLICY = "content_policy"
    CONTEXT_LENGTH_EXCEEDED = "context_length_exceeded"
    INTERNAL = "internal"


STATUS: Mapping[Code, int] = {
    Code.MISSING_KEY: 402,
    Code.BUDGET_EXCEEDED: 402,
    Code.PROVIDER_ERROR: 502,
    Code.UNSUPPORTED_SCOPE: 403,
    Code.INVALID_REQUEST: 422,
    Code.UNAUTHORIZED: 401,
    Code.FORBIDDEN: 403,
    Code.NOT_FOUND: 404,
    Code.CONFLICT: 409,
    Code.RATE_LIMITED: 429,
    Code.TIMEOUT: 504,
    Code.UNAVAILABLE: 503,
    Code.CONTENT_POLICY: 400,
    Code.CONTEXT_LENGTH_EXCEEDED: 400,
    Code.INTERNAL: 500,
}

# The specification's sentences, to the letter.
ADD_A_KEY = "Add a key for this alias in Settings → AI Keys."
BUDGET_REACHED = "Budget reached. Increase cap or switch to platform credits."
ROUTED_TO_FALLBACK = "This provider is unavailable; routed to fallback."

_PLAINER = {
    "json_invalid": "This is not valid JSON.",
    "extra_forbidden": "There is no such field; leave it out.",
    "missing": "This field is missing.",
    # pydantic's own text repeats what was sent.
    "union_tag_invalid": "There is no such 'type' here.",
}
_FIELD = re.compile(r"[a-z_]{1,32}")


def scope_refused(modality: str) -> str:
    """The specification's sentence for a key whose scopes lack ``modality``."""
    return f"This key doesn't allow {modality}. Enable '{modality}' scope or pick another alias."


def restriction_refused(restriction: str, value: str | None) -> str:
    """The sentence for a key that is restricted (to ``model`` or ``region``) and does not allow ``value``."""
    named = f"the {restriction} {value}" if value else f"an unknown {restriction}"
    return f"This key doesn't allow {named}. Add it to the key's {restriction}s or pick another alias."


class OmniError(Exception):
    """A failure with a stable code, a sentence for people and fields that help to act.

    ``status`` overrides the code's HTTP status (a body that is too large is 413 with ``invalid_request``).
    """

    def __init__(
        self, code: Code, detail: str, *, status: int | None = None, extra: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail
        self.status = status or STATUS[code]
        self.extra = dict(extra or {})


class Problem(pydantic.BaseModel):
    """How an ``OmniError`` travels over NATS."""

    model_config = pydantic.ConfigDict(frozen=True, hide_input_in_errors=True)

    code: Code
    detail: str
    status: int
    extra: dict[str, Any] = {}

    @classmethod
    def of(cls, error: OmniError) -> "Problem":
        """The problem that carries ``error``."""
        return cls(code=error.code, detail=error.detail, status=error.status, extra=error.extra)

    def error(self) -> OmniError:
        """The exception this problem stands for."""
        return OmniError(self.code, self.detail, status=self.status, extra=self.extra)


def invalid(detail: str, **extra: object) -> OmniError:
    """A request that cannot be served as it is written (422)."""
    return OmniError(Code.INVALID_REQUEST, detail, extra=extra)


def not_found(what: str, **extra: object) -> OmniError:
    """Something that does not exist, or not for this caller (404)."""
    return OmniError(Code.NOT_FOUND, f"There is no such {what} in this workspace.", extra=extra)


def unavailable(detail: str, **extra: object) -> OmniError:
    """A part of the system cannot answer now; nothing was done (503)."""
    return OmniError(Code.UNAVAILABLE, detail, extra=extra)


def faults_of(errors: Iterable[Mapping[str, Any]]) -> list[dict[str, str]]:
    """Where and why a body failed validation (pydantic's ``errors()``), without ever repeating a value of it."""
    return [
        {"field": ".".join(_place(part) for part in error["loc"] if part != "body"), "problem": _reason(error)}
        for error in islice(errors, 20)
    ]


def _place(part: object) -> str:
    # A caller chooses the names of unknown fields: only what looks like an option's name is repeated.
    return str(part) if isinstance(part, int) or _FIELD.fullmatch(str(part)) else "?"


def _reason(error: Mapping[str, Any]) -> str:
    # The texts are pydantic's, naming the expected type, or our own validators'; neither holds the value.
    if error["type"] in _PLAINER:
        return _PLAINER[error["type"]]
    return str(error["msg"]).removeprefix("Value error, ")
