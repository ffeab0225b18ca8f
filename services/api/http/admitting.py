"""What every route that calls a model does first and last: ask the rate limits, and tell them what it took."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from starlette.requests import Request

from services.api.domain.access import Principal
from services.api.rates import Allowance, RateLimitedError, RateLimits
from services.api.service import Edge
from shared.arriving import Arriving
from shared.errors import OmniError
from shared.messages.chat import ChatMessageV1, ChatOptionsV1, EmbeddingV1
from shared.messages.router import InvokedV1, TokensV1

# Of an answer without a limit of its own, what the catalogue allows most models; of a picture, what most count.
ASSUMED_OUTPUT = 1024
TOKENS_OF_IMAGE = 1000
CHARACTERS_OF_TOKEN = 4
# In a request's scope, for its answer's headers.
STANDINGS, RETRY_AFTER_MS = "omnipost.standings", "omnipost.retry_after_ms"

Ask = Callable[[], AbstractAsyncContextManager[Arriving[InvokedV1]]]


def estimated_tokens(
    messages: Sequence[ChatMessageV1], options: ChatOptionsV1, embedding: EmbeddingV1 | None = None
) -> int:
    """What a call is counted for until it is known what it took: its text, its pictures, all the output it may have."""
    if embedding is not None:
        return sum(map(len, embedding.inputs)) // CHARACTERS_OF_TOKEN + 1
    text = sum(len(message.text) for message in messages)
    images = sum(len(message.images) for message in messages)
    return text // CHARACTERS_OF_TOKEN + images * TOKENS_OF_IMAGE + (options.max_tokens or ASSUMED_OUTPUT)


async def admit(request: Request, caller: Principal, workspace_id: int, estimate: int) -> Allowance:
    """Let a call of about ``estimate`` tokens in, below the limits of its token and its workspace.

    Where they stand goes into the answer's headers (``services/api/http/gate.py``), whatever the answer is.
    Raises OmniError ``rate_limited``.
    """
    edge: Edge = request.app.state.edge
    limits: RateLimits = request.app.state.rates
    workspace = (workspace_id, await edge.rates_of(workspace_id))
    try:
        allowance = limits.admit((caller.token_id, caller.rates), workspace, estimate)
    except RateLimitedError as refused:
        request.scope[STANDINGS], request.scope[RETRY_AFTER_MS] = refused.standings, refused.retry_after_ms
        raise
    request.scope[STANDINGS] = allowance.standings
    return allowance


def settle(request: Request, allowance: Allowance, tokens: TokensV1 | None) -> None:
    """The call took ``tokens``; None: it failed, and took none. What is unknown stays estimated."""
    limits: RateLimits = request.app.state.rates
    if tokens is None:
        limits.settle(allowance, 0)
    elif tokens.input_tokens is not None and tokens.output_tokens is not None:
        limits.settle(allowance, tokens.input_tokens + tokens.output_tokens)


def settle_failed(request: Request, allowance: Allowance, error: OmniError) -> None:
    """The call has failed: it took no tokens, unless something of its answer may have been made."""
    if not error.extra.get("incomplete") and error.extra.get("carried_out") != "unknown":
        settle(request, allowance, None)


@asynccontextmanager
async def settling(request: Request, allowance: Allowance, ask: Ask) -> AsyncIterator[Arriving[InvokedV1]]:
    """A streamed answer that settles ``allowance`` at its end. Of one that is left, the estimate stays."""
    try:
        async with ask() as arriving:
            yield arriving
            settle(request, allowance, arriving.final.tokens)
    except OmniError as error:
        settle_failed(request, allowance, error)
        raise
