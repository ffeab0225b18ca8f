"""``/v1/messages/count_tokens``: how many tokens a conversation has at most, before it is sent."""

import json

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from services.api.dialects.anthropic_messages import AnthropicMessages, to_count
from services.api.domain.access import Action
from services.api.http.compatible import failed, model_named, principal_of, workspace_of
from services.api.service import Edge
from shared.errors import OmniError
from shared.messages.counting import CountedV1, CountTokensV1

_ANTHROPIC = AnthropicMessages()
EXPECTED = "x-omnipost-expected-input-tokens"
"""The header with a guess by size; ``input_tokens`` itself is a bound that no tokenizer passes."""


async def count_tokens(request: Request) -> Response:
    """Count without calling anybody."""
    try:
        caller = await principal_of(request)
        asked = to_count(await request.body())
        workspace_id = await workspace_of(request, caller, Action.READ_ALIASES)
        edge: Edge = request.app.state.edge
        message = CountTokensV1(
            workspace_id=workspace_id, model=model_named(asked), messages=asked.messages, options=asked.options
        )
        counted = await edge.bus.request(message, CountedV1, repeatable=True)
    except OmniError as error:
        return failed(_ANTHROPIC, error)
    body = json.dumps({"input_tokens": counted.at_most})
    return Response(body, headers={EXPECTED: str(counted.expected)}, media_type="application/json")


routes = [Route(f"{_ANTHROPIC.path}/count_tokens", count_tokens, methods=["POST"])]
