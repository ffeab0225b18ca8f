"""``POST /ai-invoke``: the path of every call, so the body is read and checked once, by hand."""

import json
from typing import Any
from uuid import uuid4

import pydantic
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from services.api.domain.access import Action
from services.api.http.caller import Doorkeeper
from services.api.http.errors import invalid_body
from services.api.schemas_invoke import InvokeIn
from services.api.service import Edge
from shared.messages.router import InvokedV1, InvokeV1, TokensV1
from shared.money import format_usd

# Longer than any alias may take; a router that dies is noticed much earlier by its silence.
TIMEOUT_S = 660.0


async def invoke(request: Request) -> Response:
    """Answer by the alias's chain. Body: ``InvokeIn``; answer: see ``invoked_view``."""
    edge: Edge = request.app.state.edge
    doorkeeper: Doorkeeper = request.app.state.doorkeeper
    caller = await doorkeeper.principal(request.headers.get("authorization"))
    try:
        body = InvokeIn.model_validate_json(await request.body())
    except pydantic.ValidationError as error:
        raise invalid_body(error.errors(include_input=False, include_url=False)) from None
    workspace_id = await edge.workspace(caller, Action.INVOKE, body.workspace_id)
    message = InvokeV1(
        workspace_id=workspace_id,
        call_id=str(uuid4()),
        alias_name=body.alias_name,
        capability=body.capability,
        messages=body.conversation(),
        options=body.options,
    )
    answer = await edge.bus.request(message, InvokedV1, timeout=TIMEOUT_S)
    return Response(json.dumps(invoked_view(answer), ensure_ascii=False), media_type="application/json")


def invoked_view(answer: InvokedV1) -> dict[str, Any]:
    """A complete answer as the contract has it."""
    reason = answer.fallback_reason
    return {
        "call_id": answer.call_id,
        "alias_name": answer.alias_name,
        "capability": answer.capability.value,
        "provider": answer.provider,
        "model": answer.model,
        "output": {"text": answer.text},
        "finish_reason": answer.finish_reason,
        "usage": usage_view(answer.tokens),
        "cost_usd": format_usd(answer.cost_usd_micros),
        "fallback": {"used": reason is not None, "reason": reason.value if reason else None},
        "attempts": [attempt.public() for attempt in answer.attempts],
        "warnings": [warning.model_dump() for warning in answer.warnings],
        "latency_ms": answer.latency_ms,
    }


def usage_view(tokens: TokensV1) -> dict[str, int | None]:
    """Tokens with their total; null is unknown."""
    known = tokens.input_tokens is not None and tokens.output_tokens is not None
    total = (tokens.input_tokens or 0) + (tokens.output_tokens or 0) if known else None
    return {**tokens.model_dump(), "total_tokens": total}


def document(app: FastAPI) -> None:
    """Put the route into the OpenAPI document, which FastAPI makes of its own routes only."""
    generate = app.openapi

    def complete() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = generate()
            body = InvokeIn.model_json_schema(ref_template="#/components/schemas/{model}")
            schema.setdefault("components", {}).setdefault("schemas", {}).update(body.pop("$defs", {}), InvokeIn=body)
            reference = {"$ref": "#/components/schemas/InvokeIn"}
            schema["paths"]["/ai-invoke"] = {
                "post": {
                    "tags": ["invoke"],
                    "summary": "Answer by the alias's chain",
                    "requestBody": {"required": True, "content": {"application/json": {"schema": reference}}},
                    "responses": {"200": {"description": "The answer, who gave it, what it cost, what was tried"}},
                }
            }
        return app.openapi_schema or {}

    app.openapi = complete  # type: ignore[method-assign]
