"""Asks again until a provider that works on it has an answer, and tells it to stop when nobody wants it any more."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Protocol, TypeVar

from services.router.providers.base import ChatAnswer, EmbedAnswer, Failure, HttpAnswer, HttpRequest, Pending
from services.router.sending import Streamed

# An adapter that names no time must not make us ask as fast as the provider answers.
SHORTEST_PAUSE_S = 0.1
AFTER_TROUBLE_S = 0.5
MOST_TROUBLES = 3
"""Questions in a row that may fail: what was asked for is being worked on, and paid for, all the same."""

Answer = TypeVar("Answer", bound=ChatAnswer | EmbedAnswer)
Raw = HttpAnswer | Streamed | Failure


class Ask(Protocol):
    """Sends one request of an exchange."""

    def __call__(self, request: HttpRequest, *, streams: bool, elsewhere: str | None) -> Awaitable[Raw]:
        """What came back. ``elsewhere``: the whole address, which is not given the key."""


async def followed(
    request: HttpRequest,
    ask: Ask,
    decode: Callable[[HttpAnswer], Answer | Failure | Pending],
    give_up: Callable[[HttpRequest], None],
    *,
    streams: bool,
) -> Answer | Failure | Streamed:
    """Send ``request``, and whatever the answers say is to be sent next.

    Args:
        request: the first one.
        ask: sends one request.
        decode: the adapter's reading of an answer.
        give_up: sends the request that stops the provider's work, without waiting for it.
        streams: the answer to the first request may be a stream.
    """
    ended = False
    pending: Pending | None = None
    try:
        answer = await ask(request, streams=streams, elsewhere=None)
        troubles = 0
        while not isinstance(answer, Streamed):
            read = answer if isinstance(answer, Failure) else decode(answer)
            troubles = troubles + 1 if _is_trouble(answer) else 0
            if isinstance(read, Pending):
                pending = read if streams else _whole(read)
            elif pending is None or pending.streams or not 0 < troubles <= MOST_TROUBLES:
                ended = not _is_trouble(answer)
                return read
            await asyncio.sleep(_pause(pending, troubled=troubles > 0))
            answer = await ask(pending.request, streams=pending.streams, elsewhere=pending.elsewhere)
        ended = answer.clean
        return answer
    finally:
        if pending is not None and pending.cancel is not None and not ended:
            give_up(pending.cancel)


def _whole(pending: Pending) -> Pending:
    # Nobody listens to a stream, whatever the provider thinks it was asked for.
    if not pending.streams or pending.poll is None:
        return pending
    return replace(pending, request=pending.poll, streams=False, elsewhere=None)


def _is_trouble(answer: HttpAnswer | Failure) -> bool:
    return isinstance(answer, Failure) or answer.status == 429 or answer.status >= 500


def _pause(pending: Pending, *, troubled: bool) -> float:
    if pending.streams:
        return pending.after_s
    return max(pending.after_s, AFTER_TROUBLE_S if troubled else SHORTEST_PAUSE_S)
