"""Which errors a route can answer with, by status; told by its method, its path and what it takes. Pure."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from shared.errors import ADD_A_KEY, BUDGET_REACHED, ROUTED_TO_FALLBACK, STATUS, Code, OmniError, scope_refused

_PLACEHOLDER = re.compile(r"\{\w+\}")
OPEN = frozenset({"/healthz", "/readyz", "/openapi.json"})
TOO_LARGE, TOO_SLOW = 413, 408
_EVERYWHERE = (Code.UNAUTHORIZED, Code.FORBIDDEN, Code.RATE_LIMITED, Code.INTERNAL, Code.UNAVAILABLE)
_OF_CALLS = (
    Code.MISSING_KEY, Code.BUDGET_EXCEEDED, Code.UNSUPPORTED_SCOPE, Code.NOT_FOUND, Code.CONTENT_POLICY,
    Code.CONTEXT_LENGTH_EXCEEDED, Code.PROVIDER_ERROR, Code.TIMEOUT,
)  # fmt: skip
_WORKSPACE = "workspace_id"
_SAYS: Mapping[Code, str] = {
    Code.MISSING_KEY: ADD_A_KEY,
    Code.BUDGET_EXCEEDED: BUDGET_REACHED,
    Code.PROVIDER_ERROR: ROUTED_TO_FALLBACK,
    Code.UNSUPPORTED_SCOPE: scope_refused("image"),
    Code.INVALID_REQUEST: "'label': String should have at least 1 character",
    Code.UNAUTHORIZED: "Send a valid access token as 'Authorization: Bearer <token>'.",
    Code.FORBIDDEN: "A viewer may not write keys; ask an owner of the workspace.",
    Code.NOT_FOUND: "There is no such key in this workspace.",
    Code.CONFLICT: "A request with this Idempotency-Key is still running; ask again later, with the same key.",
    Code.RATE_LIMITED: "Too many requests; try again in 1 s.",
    Code.TIMEOUT: "No provider answered in time.",
    Code.UNAVAILABLE: "A part of the system is not running; try again shortly.",
    Code.CONTENT_POLICY: "The provider refuses to answer this.",
    Code.CONTEXT_LENGTH_EXCEEDED: "The request is too long for this model.",
    Code.INTERNAL: "Something went wrong on our side; the call log says whether a call was made.",
}


def is_call(path: str) -> bool:
    """Whether a provider is asked."""
    return path == "/ai-invoke" or (path.startswith("/v1/") and not path.endswith("/count_tokens"))


def methods_of(document: Mapping[str, Any], path: str) -> list[str]:
    """What may be done at ``path``, as the OpenAPI document has it."""
    found: set[str] = set()
    for template, operations in document["paths"].items():
        pattern = _PLACEHOLDER.sub(lambda name: ".+" if name.group() == "{model_id}" else "[^/]+", template)
        if re.fullmatch(pattern, path):
            found |= {method.upper() for method in operations}
    return sorted(found)


def failures_of(method: str, path: str, operation: Mapping[str, Any]) -> dict[int, list[OmniError]]:
    """The errors of an operation of the document, by status in our own terms, as examples."""
    if path in OPEN:
        return {}
    found: dict[int, list[OmniError]] = {}
    for error in _errors(method, path, operation):
        found.setdefault(error.status, []).append(error)
    return dict(sorted(found.items()))


def _errors(method: str, path: str, operation: Mapping[str, Any]) -> Iterator[OmniError]:
    yield from map(_example, _EVERYWHERE)
    posts, takes = method == "post", bool(operation.get("requestBody"))
    if is_call(path) and posts:
        yield from map(_example, _OF_CALLS)
    elif _looks_up(path, operation):
        yield _example(Code.NOT_FOUND)
    if path.endswith("/verify"):
        yield _example(Code.MISSING_KEY)  # it has been revoked
    if posts or takes or operation.get("parameters") or path.startswith("/v1/"):
        yield _example(Code.INVALID_REQUEST)
    if posts or method == "put":
        yield _example(Code.CONFLICT)
    if method != "get":
        yield OmniError(Code.INVALID_REQUEST, "The body is larger than 4 MiB.", status=TOO_LARGE)
        yield OmniError(Code.TIMEOUT, "The body came too slowly.", status=TOO_SLOW)


def _looks_up(path: str, operation: Mapping[str, Any]) -> bool:
    named = {parameter["name"] for parameter in operation.get("parameters", ())}
    return "{" in path or _WORKSPACE in named or bool(operation.get("requestBody")) or path.startswith("/v1/")


def _example(code: Code) -> OmniError:
    return OmniError(code, _SAYS[code], status=STATUS[code])
