"""``POST /ai-invoke``: the path of every call, so the body is read and checked once, by hand."""

import json
from functools import partial

import pydantic
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

from services.api.domain.access import Action
from services.api.domain.faults import invalid_body
from services.api.domain.vectors import vector_json
from services.api.http.call_headers import CALL_ID, answer_headers
from services.api.http.caller import Doorkeeper
from services.api.http.calls import Call, Question
from services.api.http.invoked import embedded_json, invoked_view
from services.api.http.listening import WhileListening
from services.api.http.sse import EventStream
from services.api.schemas_invoke import InvokeIn
from services.api.service import Edge
from shared.invoking import TIMEOUT_S
from shared.messages.vocabulary import Capability

_JSON = "application/json"


async def invoke(request: Request) -> ASGIApp:
    """Answer by the alias's chain. Body: ``InvokeIn``; answer: see ``services/api/http/invoked.py``."""
    edge: Edge = request.app.state.edge
    doorkeeper: Doorkeeper = request.app.state.doorkeeper
    caller = await doorkeeper.principal(request.headers.get("authorization"))
    given = await request.body()
    try:
        body = InvokeIn.model_validate_json(given)
    except pydantic.ValidationError as error:
        raise invalid_body(error.errors(include_input=False, include_url=False)) from None
    workspace_id = await edge.workspace(caller, Action.INVOKE, body.workspace_id)
    call = await Call.begin(request, caller, workspace_id, given, _question(body))
    if body.stream:
        headers = {CALL_ID: call.message.call_id, **call.once.headers}
        return EventStream(call.pieces, TIMEOUT_S, headers=headers)
    give = partial(_answer, call, body)
    return await give() if call.outlives_client else WhileListening(give, TIMEOUT_S)


async def _answer(call: Call, body: InvokeIn) -> Response:
    if call.message.embedding is None:
        answer = await call.whole()
        text = json.dumps(invoked_view(answer), ensure_ascii=False)
    else:
        as_base64 = body.options.encoding_format == "base64"
        answer, vectors = await call.embedded(partial(vector_json, as_base64=as_base64))
        text = embedded_json(answer, vectors)
    return Response(text, headers=answer_headers(answer) | call.once.headers, media_type=_JSON)


def _question(body: InvokeIn) -> Question:
    embedding = body.embedding()
    return Question(
        alias_name=body.alias_name,
        messages=body.conversation(),
        options=body.options.of_chat(),
        embedding=embedding,
        capability=body.capability if embedding is None else Capability.EMBEDDING,
        stream=body.stream,
    )
