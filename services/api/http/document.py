"""The OpenAPI document: what FastAPI knows of its own routes, the path of every call, and how errors really look."""

from typing import Any

from fastapi import FastAPI

from services.api.http.errors import MEDIA_TYPE
from services.api.schemas_invoke import InvokeIn

_JSON = "application/json"
_OPEN = ("/healthz", "/readyz")
_EVENTS = (
    "With `stream`: events `delta` {text?, tool_calls?: [{index, id?, name?, arguments}]}, `continued` {provider, "
    "model, reason}, then one `done` (the object of a plain answer) or one `error` (the problem document)."
)
_ANSWER = "The answer, who gave it, what it cost, what was tried"
_PROBLEM = {
    "type": "object",
    "description": "RFC 9457; what helps to act is added, such as errors, attempts, budget or resets_at.",
    "required": ["type", "title", "status", "code", "detail"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "code": {"type": "string"},
        "detail": {"type": "string"},
    },
    "additionalProperties": True,
}


def install(app: FastAPI) -> None:
    """Let ``app`` serve the whole document."""
    generate = app.openapi

    def complete() -> dict[str, Any]:
        if app.openapi_schema is None:
            _complete(generate())
        return app.openapi_schema or {}

    app.openapi = complete  # type: ignore[method-assign]


def _complete(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    body = InvokeIn.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas.update(body.pop("$defs", {}), InvokeIn=body, Problem=_PROBLEM)
    for name in ("HTTPValidationError", "ValidationError"):  # FastAPI's own, which nobody here is answered with
        schemas.pop(name, None)
    document["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    document["paths"]["/ai-invoke"] = {"post": _invoke()}
    for path, operations in document["paths"].items():
        for operation in operations.values():
            operation["responses"].pop("422", None)
            problem = {"schema": {"$ref": "#/components/schemas/Problem"}}
            operation["responses"]["default"] = {"description": "What went wrong", "content": {MEDIA_TYPE: problem}}
            if path not in _OPEN:
                operation["security"] = [{"token": []}]


def _invoke() -> dict[str, Any]:
    answers = {_JSON: {"schema": {"type": "object"}}, "text/event-stream": {"schema": {"type": "string"}}}
    return {
        "tags": ["invoke"],
        "summary": "Answer by the alias's chain",
        "requestBody": {
            "required": True,
            "content": {_JSON: {"schema": {"$ref": "#/components/schemas/InvokeIn"}}},
        },
        "responses": {"200": {"description": f"{_ANSWER}. {_EVENTS}", "content": answers}},
    }
