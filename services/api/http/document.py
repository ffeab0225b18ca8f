"""The OpenAPI document: what FastAPI knows of its own routes, the paths of calls, how errors really look, examples.

Every status a route can answer is listed with the codes it may carry; there is no ``default``.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel

from services.api.dialects.anthropic_bodies import Conversation, MessagesBody
from services.api.dialects.anthropic_messages import AnthropicMessages
from services.api.dialects.dialect import Dialect
from services.api.dialects.openai_chat import ChatIn, OpenAIChat
from services.api.dialects.openai_completions import CompletionIn
from services.api.dialects.openai_embeddings import EmbeddingIn
from services.api.dialects.openai_response_bodies import ResponsesIn
from services.api.http.errors import MEDIA_TYPE, problem_document
from services.api.http.examples import Example, examples, shape
from services.api.http.failures import OPEN, failures_of
from services.api.schemas_invoke import InvokeIn
from shared.errors import Code, OmniError

Json = dict[str, Any]
_JSON, _STREAM = "application/json", "text/event-stream"
_EVENTS = (
    "With `stream`: events `delta` {text?, tool_calls?: [{index, id?, name?, arguments}]}, `continued` {provider, "
    "model, reason}, then one `done` (the object of a plain answer) or one `error` (the problem document)."
)
_ABOUT = (
    "The vault for workspaces' own provider keys, the router over providers, the budget keeper. Errors are RFC 9457 "
    "problem documents with a stable `code`; on `/v1` they have the shape and types of the API that is spoken there."
)
_PROBLEM: Json = {
    "type": "object",
    "description": "RFC 9457; what helps to act is added, such as errors, attempts, budget or resets_at.",
    "required": ["type", "title", "status", "code", "detail"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "code": {"type": "string", "enum": [code.value for code in Code]},
        "detail": {"type": "string"},
        "request_id": {"type": "string"},
    },
    "additionalProperties": True,
}
_HEADERS: Mapping[str, Json] = {
    "Idempotency-Key": {
        "description": "The same key and the same request: the same answer, and nothing is done twice, for 24 hours.",
        "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
    },
    "x-omnipost-workspace-id": {
        "description": "Which workspace; only a platform admin's token needs it.",
        "schema": {"type": "integer", "minimum": 1},
        "example": 1,
    },
}
_REQUEST_ID: Json = {"x-request-id": {"description": "The request's own, or a new one.", "schema": {"type": "string"}}}
# Path, body and one line for people.
_CALLS: Sequence[tuple[str, type[BaseModel], str]] = (
    ("/ai-invoke", InvokeIn, "Answer by the alias's chain"),
    ("/v1/chat/completions", ChatIn, "OpenAI's chat completions"),
    ("/v1/completions", CompletionIn, "OpenAI's completions"),
    ("/v1/embeddings", EmbeddingIn, "OpenAI's embeddings"),
    ("/v1/responses", ResponsesIn, "OpenAI's responses, stateless"),
    ("/v1/messages", MessagesBody, "Anthropic's messages"),
    ("/v1/messages/count_tokens", Conversation, "Anthropic's token counting"),
)
_MODELS = {"/v1/models": "What a compatible API's `model` may be", "/v1/models/{model_id}": "One of them"}
_UNSTREAMED = frozenset({"/v1/embeddings", "/v1/messages/count_tokens"})


def install(app: FastAPI) -> None:
    """Let ``app`` serve the whole document."""
    generate = app.openapi

    def complete() -> Json:
        if app.openapi_schema is None:
            app.openapi_schema = _complete(generate())
        return app.openapi_schema

    app.openapi = complete  # type: ignore[method-assign]


def _complete(document: Json) -> Json:
    document["info"]["description"] = _ABOUT
    components = document["components"]
    components["schemas"]["Problem"] = _PROBLEM
    for name in ("HTTPValidationError", "ValidationError"):  # FastAPI's own, which nobody here is answered with
        components["schemas"].pop(name, None)
    components["securitySchemes"] = {
        "token": {"type": "http", "scheme": "bearer"},
        "key": {"type": "apiKey", "in": "header", "name": "x-api-key"},
    }
    for path, body, summary in _CALLS:
        document["paths"][path] = {"post": _call(path, body, summary, components["schemas"])}
    for path, summary in _MODELS.items():
        document["paths"][path] = {"get": _models(path, summary)}
    known = examples()
    components["examples"] = {}
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            _finish(method, path, operation, known.get(f"{method.upper()} {path}", Example()), components["examples"])
    return document


def _call(path: str, body: type[BaseModel], summary: str, schemas: Json) -> Json:
    name = path.strip("/").replace("/", ".")
    # Dialects have parts of the same names, so each has its own.
    prefix = "" if path == "/ai-invoke" else f"{name}."
    schema = body.model_json_schema(ref_template=f"#/components/schemas/{prefix}{{model}}")
    schemas.update({f"{prefix}{part}": told for part, told in schema.pop("$defs", {}).items()})
    schemas[prefix + body.__name__] = schema
    content = {_JSON: {"schema": {"$ref": f"#/components/schemas/{prefix}{body.__name__}"}}}
    return {
        "tags": ["calls" if path == "/ai-invoke" else "compatible"],
        "summary": summary,
        "operationId": re.sub("[.-]", "_", name),
        "requestBody": {"required": True, "content": content},
        "responses": {"200": {"description": _EVENTS if path == "/ai-invoke" else "The answer"}},
    }


def _models(path: str, summary: str) -> Json:
    named = {"name": "model_id", "in": "path", "required": True, "schema": {"type": "string"}}
    return {
        "tags": ["compatible"],
        "summary": summary,
        "operationId": "get_v1_model" if "{" in path else "list_v1_models",
        "parameters": [named] if "{" in path else [],
        "responses": {"200": {"description": "Found"}},
    }


def _finish(method: str, path: str, operation: Json, example: Example, cases: Json) -> None:
    responses: Json = {status: about for status, about in operation["responses"].items() if status.startswith("2")}
    for about in responses.values():
        _answer(path, about, example)
    if path == "/readyz":
        responses["503"] = {"description": "Some part cannot do its work", "content": responses["200"]["content"]}
    if example.asks is not None:
        operation["requestBody"]["content"][_JSON]["example"] = example.asks
    dialect = _dialect(path)
    for status, errors in _told(failures_of(method, path, operation), dialect):
        responses[status] = _failure(status, errors, dialect, cases)
    for about in responses.values():
        about["headers"] = _REQUEST_ID | about.get("headers", {})
    operation["responses"] = responses
    operation["parameters"] = [*operation.get("parameters", ()), *_extra(method, path)]
    if path not in OPEN:
        operation["security"] = [{"token": []}, *([{"key": []}] if dialect else [])]


def _answer(path: str, about: Json, example: Example) -> None:
    if example.text is not None:
        kinds = ("application/x-ndjson", "text/csv", "application/vnd.apache.parquet")
        about["content"] = {kind: {"schema": {}} for kind in (kinds if path.endswith("export") else kinds[:1])}
        about["content"][kinds[1] if path.endswith("export") else kinds[0]]["example"] = example.text
    elif example.answers is not None:
        schema = shape(example.answers, deep=not path.startswith("/v1/"))
        about["content"] = {_JSON: {"schema": schema, "example": example.answers}}
        if path in {call for call, _, _ in _CALLS} - _UNSTREAMED:
            about["content"][_STREAM] = {"schema": {"type": "string"}}
    else:
        about.pop("content", None)


def _told(failures: Mapping[int, list[OmniError]], dialect: Dialect | None) -> Iterator[tuple[str, list[OmniError]]]:
    # No foreign dialect has our 422: what cannot be served as it is written is a 400.
    found: dict[str, list[OmniError]] = {}
    for status, errors in failures.items():
        found.setdefault("400" if dialect and status == 422 else str(status), []).extend(errors)
    yield from sorted(found.items())


def _failure(status: str, errors: list[OmniError], dialect: Dialect | None, cases: Json) -> Json:
    shown = {}
    for error in errors:
        name = f"{type(dialect).__name__ if dialect else 'Problem'}.{status}.{error.code}"
        body = dialect.problem(error) if dialect else problem_document(error) | {"request_id": "order-4711"}
        cases[name] = {"value": body}
        shown[error.code.value] = {"$ref": f"#/components/examples/{name}"}
    schema = {"type": "object"} if dialect else {"$ref": "#/components/schemas/Problem"}
    content = {_JSON if dialect else MEDIA_TYPE: {"schema": schema, "examples": shown}}
    return {"description": ", ".join(f"`{code}`" for code in shown), "content": content}


def _dialect(path: str) -> Dialect | None:
    if not path.startswith("/v1/"):
        return None
    return AnthropicMessages() if path.startswith(AnthropicMessages.path) else OpenAIChat()


def _extra(method: str, path: str) -> Iterator[Json]:
    names = ["Idempotency-Key"] if method == "post" and not path.endswith("/count_tokens") else []
    for name in [*names, *(["x-omnipost-workspace-id"] if path.startswith("/v1/") else [])]:
        yield {"name": name, "in": "header", "required": False, **_HEADERS[name]}
