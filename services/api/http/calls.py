"""A call from the edge's side, the same for ``/ai-invoke`` and for every compatible route."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Self

from starlette.requests import Request

from services.api.domain.access import Principal
from services.api.http.admitting import admit, estimated_tokens, settle, settle_failed, settling
from services.api.http.idempotent import key_of, once_of
from services.api.once import Once, Pieces
from services.api.rates import Allowance
from services.api.service import Edge
from shared import failpoints
from shared.arriving import Arriving
from shared.errors import OmniError
from shared.messages.chat import ChatMessageV1, ChatOptionsV1, EmbeddingV1
from shared.messages.router import InvokedV1, InvokeV1
from shared.messages.vocabulary import Capability


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked, and of whom. ``alias_name``: an alias, or ``provider/model``."""

    alias_name: str
    messages: tuple[ChatMessageV1, ...]
    options: ChatOptionsV1
    embedding: EmbeddingV1 | None = None
    capability: Capability | None = None
    stream: bool = False


@dataclass(frozen=True, slots=True)
class Call:
    """A call that has been let in. It is made when its answer is asked for: ``whole``, ``embedded`` or ``pieces``.

    All of them raise OmniError as ``InvokeV1`` says.
    """

    request: Request
    message: InvokeV1
    once: Once
    allowance: Allowance

    @classmethod
    async def begin(
        cls,
        request: Request,
        caller: Principal,
        workspace_id: int,
        body: bytes,
        question: Question,
        authorization: str | None = None,
    ) -> Self:
        """Let a call in. ``body``: the request's; ``authorization``: what stands for that header.

        Raises OmniError ``rate_limited``, ``conflict``, ``invalid_request``, ``unavailable``: then no call was made.
        """
        once = await once_of(request, caller, workspace_id, body, authorization)
        message = InvokeV1(
            workspace_id=workspace_id,
            call_id=once.call_id,
            alias_name=question.alias_name,
            capability=question.capability,
            messages=question.messages,
            options=question.options,
            embedding=question.embedding,
            stream=question.stream or question.embedding is not None,
        )
        allowance = Allowance()
        if not once.replayed:
            estimate = estimated_tokens(message.messages, message.options, message.embedding)
            try:
                allowance = await admit(request, caller, workspace_id, estimate)
            except OmniError:
                await once.forgo()
                raise
        return cls(request, message, once, allowance)

    @property
    def outlives_client(self) -> bool:
        """Whether the answer is wanted although the client has left: it may ask again with its Idempotency-Key."""
        return key_of(self.request.headers) is not None

    async def whole(self) -> InvokedV1:
        """The answer of a conversation."""
        failpoints.passing("api.asks")
        answer = await self.once.whole(self._ask)
        failpoints.passing("api.answers")
        return answer

    async def embedded(self, write: Callable[[str], str]) -> tuple[InvokedV1, list[str]]:
        """The answer of an embedding, and its vectors as ``write`` makes them from base64 of 32-bit floats."""
        # Written as they arrive: all at once would hold up everybody else.
        vectors: list[str] = []
        async with self.pieces() as arriving:
            async for delta in arriving:
                vectors += [write(vector) for vector in delta.vectors]
            return arriving.final, vectors

    def pieces(self) -> AbstractAsyncContextManager[Pieces]:
        """The answer as it comes."""
        failpoints.passing("api.asks")
        return self.once.pieces(self._ask_pieces)

    async def _ask(self) -> InvokedV1:
        try:
            answer = await self._edge.bus.invoke(self.message)
        except OmniError as error:
            settle_failed(self.request, self.allowance, error)
            raise
        settle(self.request, self.allowance, answer.tokens)
        return answer

    @asynccontextmanager
    async def _ask_pieces(self) -> AsyncIterator[Pieces]:
        async with settling(self.request, self.allowance, self._arriving) as arriving:
            yield arriving

    def _arriving(self) -> AbstractAsyncContextManager[Arriving[InvokedV1]]:
        return self._edge.bus.invoke_in_parts(self.message)

    @property
    def _edge(self) -> Edge:
        edge: Edge = self.request.app.state.edge
        return edge
