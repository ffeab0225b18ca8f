"""Somebody else's API: the same calls in other words. What is particular to one is in ``services/api/dialects/``."""

import json
import re
from functools import partial

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from services.api.dialects.anthropic_messages import AnthropicMessages
from services.api.dialects.dialect import Asked, Dialect
from services.api.dialects.openai_chat import OpenAIChat
from services.api.dialects.openai_completions import OpenAICompletions
from services.api.dialects.openai_embeddings import EmbeddingStyle, OpenAIEmbeddings
from services.api.dialects.openai_responses import OpenAIResponses
from services.api.domain.access import Action, Principal
from services.api.domain.synonyms import canonical
from services.api.http.call_headers import CALL_ID, answer_headers, failure_headers
from services.api.http.caller import Doorkeeper
from services.api.http.calls import Call, Question
from services.api.http.errors import problem_response
from services.api.http.listening import WhileListening
from services.api.http.serving import authorization_of, served
from services.api.http.sse import EventStream
from services.api.service import Edge
from shared.clock import Clock
from shared.errors import OmniError, invalid
from shared.invoking import TIMEOUT_S

WORKSPACE = "x-omnipost-workspace-id"
"""The header by which a platform admin says which workspace a request is about."""
DIALECTS: tuple[Dialect, ...] = (
    OpenAIChat(),
    OpenAICompletions(),
    OpenAIEmbeddings(),
    OpenAIResponses(),
    AnthropicMessages(),
)
_JSON = "application/json"
_NUMBER = re.compile(r"[1-9][0-9]{0,15}")


def routes(clock: Clock) -> list[Route]:
    """The routes of every dialect."""
    return [Route(dialect.path, Compatible(dialect, clock), methods=["POST"]) for dialect in DIALECTS]


def _authorization(request: Request) -> str | None:
    return authorization_of(dict(request.scope["headers"]))


async def principal_of(request: Request) -> Principal:
    """Who is calling. Raises OmniError ``unauthorized``."""
    doorkeeper: Doorkeeper = request.app.state.doorkeeper
    return await doorkeeper.principal(_authorization(request))


async def workspace_of(request: Request, caller: Principal, action: Action) -> int:
    """The workspace a request is about, once ``caller`` may do ``action`` there. Raises OmniError."""
    edge: Edge = request.app.state.edge
    named = request.headers.get(WORKSPACE)
    if named is not None and not _NUMBER.fullmatch(named):
        raise invalid(f"{WORKSPACE} is the number of a workspace.", field=WORKSPACE)
    if named is None and caller.workspace_id is None:
        raise invalid(f"Say which workspace: send its number as the header {WORKSPACE}.", field=WORKSPACE)
    return await edge.workspace(caller, action, None if named is None else int(named))


class Compatible:
    """A dialect's route. Every failure is told in the dialect's own words."""

    def __init__(self, dialect: Dialect, clock: Clock) -> None:
        self._dialect, self._clock = dialect, clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        answer = partial(self._answer, Request(scope, receive))
        await served(scope, receive, send, answer, partial(failed, self._dialect))

    async def _answer(self, request: Request) -> ASGIApp:
        caller = await principal_of(request)
        body = await request.body()
        asked = self._dialect.read(body)
        workspace_id = await workspace_of(request, caller, Action.INVOKE)
        call = await Call.begin(request, caller, workspace_id, body, _question(asked), _authorization(request))
        created = int(self._clock.now().timestamp())
        if asked.stream:
            writer = self._dialect.writer(asked, call.message.call_id, created)
            headers = {CALL_ID: call.message.call_id, **call.once.headers}
            return EventStream(call.pieces, TIMEOUT_S, writer, headers)
        give = partial(self._whole, call, asked, created)
        return await give() if call.outlives_client else WhileListening(give, TIMEOUT_S)

    async def _whole(self, call: Call, asked: Asked, created: int) -> Response:
        vectors: list[str] = []
        if isinstance(asked.style, EmbeddingStyle):
            answer, vectors = await call.embedded(asked.style.written)
        else:
            answer = await call.whole()
        text = self._dialect.whole(asked, answer, vectors, created)
        return Response(text, headers=answer_headers(answer) | call.once.headers, media_type=_JSON)


def failed(dialect: Dialect, error: OmniError) -> Response:
    """A failure in a dialect's words. None of them has our 422: what cannot be served as it is written is a 400."""
    status = 400 if error.status == 422 else error.status
    body = json.dumps(dialect.problem(error), ensure_ascii=False)
    return Response(body, status, failure_headers(error), _JSON)


def model_named(asked: Asked) -> str:
    """An alias's name, or ``provider/model`` with the catalogue's name of the provider."""
    provider, slash, model = asked.model.partition("/")
    return f"{canonical(provider)}/{model}" if slash else asked.model


def refused(path: str, error: OmniError) -> Response:
    """A failure before any route is reached, in the words of the one that ``path`` leads to."""
    spoken = DIALECTS[0] if path.startswith("/v1/") else None
    dialect = next((dialect for dialect in DIALECTS if path.startswith(dialect.path)), spoken)
    return problem_response(error) if dialect is None else failed(dialect, error)


def _question(asked: Asked) -> Question:
    return Question(model_named(asked), asked.messages, asked.options, asked.embedding, stream=asked.stream)
