"""``POST /ai-invoke``: the path of every call, so the body is read and checked once, by hand."""

import json
from uuid import uuid4

import pydantic
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

from services.api.domain.access import Action
from services.api.http.caller import Doorkeeper
from services.api.http.errors import invalid_body
from services.api.http.invoked import embedded_json, invoked_view, vector_json
from services.api.http.sse import EventStream
from services.api.schemas_invoke import InvokeIn
from services.api.service import Edge
from shared import failpoints
from shared.bus import Bus
from shared.messages.router import InvokedV1, InvokeV1
from shared.messages.vocabulary import Capability

# Longer than any alias may take; a router that dies is noticed much earlier by its silence.
TIMEOUT_S = 660.0
_JSON = "application/json"


async def invoke(request: Request) -> ASGIApp:
    """Answer by the alias's chain. Body: ``InvokeIn``; answer: see ``services/api/http/invoked.py``."""
    edge: Edge = request.app.state.edge
    doorkeeper: Doorkeeper = request.app.state.doorkeeper
    caller = await doorkeeper.principal(request.headers.get("authorization"))
    try:
        body = InvokeIn.model_validate_json(await request.body())
    except pydantic.ValidationError as error:
        raise invalid_body(error.errors(include_input=False, include_url=False)) from None
    workspace_id = await edge.workspace(caller, Action.INVOKE, body.workspace_id)
    message = _message(body, workspace_id)
    if message.embedding is not None:
        as_base64 = body.options.encoding_format == "base64"
        return Response(await _embedded(edge.bus, message, as_base64=as_base64), media_type=_JSON)
    failpoints.passing("api.asks")
    if message.stream:
        return EventStream(lambda: edge.bus.stream(message, InvokedV1, timeout=TIMEOUT_S), TIMEOUT_S)
    answer = await edge.bus.request(message, InvokedV1, timeout=TIMEOUT_S)
    failpoints.passing("api.answers")
    return Response(json.dumps(invoked_view(answer), ensure_ascii=False), media_type=_JSON)


def _message(body: InvokeIn, workspace_id: int) -> InvokeV1:
    embedding = body.embedding()
    return InvokeV1(
        workspace_id=workspace_id,
        call_id=str(uuid4()),
        alias_name=body.alias_name,
        capability=body.capability if embedding is None else Capability.EMBEDDING,
        messages=body.conversation(),
        options=body.options.of_chat(),
        embedding=embedding,
        stream=body.stream or embedding is not None,
    )


async def _embedded(bus: Bus, message: InvokeV1, *, as_base64: bool) -> str:
    # Written as they arrive: all at once would hold up everybody else.
    vectors: list[str] = []
    async with bus.stream(message, InvokedV1, timeout=TIMEOUT_S) as arriving:
        async for delta in arriving:
            vectors += [vector_json(vector, as_base64=as_base64) for vector in delta.vectors]
        return embedded_json(arriving.final, vectors)
