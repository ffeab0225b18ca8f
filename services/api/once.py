"""A call is made at most once however often it is asked for, and answered each time with what it was answered first."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from datetime import timedelta
from typing import Protocol, Self
from uuid import uuid4

from services.api.domain.access import Principal
from services.api.domain.idempotency import Wish
from services.api.idempotency import Claim, Idempotency, Orphaned, not_kept, under_way
from shared.bus import Bus
from shared.clock import Clock
from shared.errors import Code, OmniError, Problem
from shared.messages.base import Part
from shared.messages.chat import DeltaV1, ToolCallDeltaV1
from shared.messages.contents import ContentPolicyV1, GetContentPolicyV1
from shared.messages.router import InvokedV1
from shared.messages.usage import CallsV1, QueryCallsV1

# Until then a call that nobody has heard of may still be made, or be settled: no alias may take longer than 10 minutes,
# and what was held for a dead router's call is settled soon after.
SETTLED_AFTER = timedelta(minutes=15)
# Problems that come of the question itself: the provider was asked, and would answer the same again.
KEPT_PROBLEMS = frozenset({Code.CONTENT_POLICY, Code.CONTEXT_LENGTH_EXCEEDED})
_UNCERTAIN = frozenset({Code.UNAVAILABLE, Code.TIMEOUT, Code.INTERNAL, Code.PROVIDER_ERROR})


class Pieces(Protocol):
    """An answer in parts, as ``shared.arriving.Arriving`` gives it."""

    @property
    def final(self) -> InvokedV1:
        """The whole answer, once all parts were read."""
        ...

    def __aiter__(self) -> Self: ...
    def __anext__(self) -> Awaitable[DeltaV1]: ...


AskWhole = Callable[[], Awaitable[InvokedV1]]
AskPieces = Callable[[], AbstractAsyncContextManager[Pieces]]


class Kept(Part):
    """What is kept of a call: the answer with its vectors, or the problem it ended with."""

    answer: InvokedV1 | None = None
    vectors: tuple[str, ...] = ()
    problem: Problem | None = None

    def result(self) -> InvokedV1:
        """The answer. Raises OmniError: the problem."""
        if self.answer is None:
            raise self.problem.error() if self.problem else OmniError(Code.INTERNAL, "There is no answer.")
        return self.answer


class Once:
    """One call under one ``call_id``. Without a ``claim`` it is simply made."""

    def __init__(self, bus: Bus, claim: Claim | None = None) -> None:
        self._bus, self._claim = bus, claim
        self.call_id = str(uuid4() if claim is None else claim.effect_id)
        self._kept = None if claim is None or claim.kept is None else Kept.model_validate_json(claim.kept)

    @property
    def replayed(self) -> bool:
        """Whether the call was made before, and nothing is asked any more."""
        return self._kept is not None

    @property
    def headers(self) -> dict[str, str]:
        """What the response says about it."""
        return {"idempotent-replayed": "true"} if self.replayed else {}

    async def check(self) -> None:
        """Raises OmniError ``conflict`` where an answer was kept that may not be given any more."""
        if self._claim is None or self._kept is None:
            return
        if await self._forbidden(self._claim.workspace_id) == "zero_retention":
            # It should have been destroyed when zero retention began; something was away then.
            with suppress(OmniError):
                await self._claim.drop("zero_retention")
            raise not_kept(self._claim.effect_id, "zero_retention")

    async def forgo(self) -> None:
        """It is not made after all: whoever asks next begins anew. Never fails."""
        if self._claim is not None and not self.replayed:
            with suppress(OmniError):
                await self._claim.forget()

    async def whole(self, ask: AskWhole) -> InvokedV1:
        """The answer: the kept one, or what ``ask`` gives. Raises OmniError as ``ask`` does."""
        if self._kept is not None:
            return self._kept.result()
        if self._claim is None:
            return await ask()
        async with self._made(self._claim):
            answer = await ask()
        await self._keep(self._claim, Kept(answer=answer))
        return answer

    @asynccontextmanager
    async def pieces(self, ask: AskPieces) -> AsyncIterator[Pieces]:
        """The answer in parts: the kept one, or what ``ask`` gives; kept when the block has read it to its end."""
        if self._kept is not None:
            yield _Replayed(self._kept)
        elif self._claim is None:
            async with ask() as arriving:
                yield arriving
        else:
            async with self._made(self._claim), ask() as arriving:
                noted = _Noted(arriving)
                yield noted
                answer = noted.final
            await self._keep(self._claim, Kept(answer=answer, vectors=tuple(noted.vectors)))

    @asynccontextmanager
    async def _made(self, claim: Claim) -> AsyncIterator[None]:
        async with claim.held():
            await claim.asks()
            try:
                yield
            except OmniError as error:
                await self._failed(claim, error)
                raise
            except BaseException:
                await claim.let_go()
                raise

    async def _failed(self, claim: Claim, error: OmniError) -> None:
        if error.code in KEPT_PROBLEMS:
            await self._keep(claim, Kept(problem=Problem.of(error)))
        elif error.code in _UNCERTAIN and "call_id" not in error.extra:
            # Not the router's word: nobody knows what has become of the call.
            await claim.let_go()
        else:
            with suppress(OmniError):
                await claim.forget()

    async def _keep(self, claim: Claim, kept: Kept) -> None:
        # The call was made and must be answered, whatever becomes of its repetitions.
        with suppress(OmniError):
            reason = await self._forbidden(claim.workspace_id)
            if reason is not None:
                await claim.drop(reason)
            elif await claim.keep(kept.model_dump_json().encode()) and await self._forbidden(claim.workspace_id):
                # Zero retention has begun meanwhile: what it destroys may have been destroyed before this was written.
                await claim.drop("zero_retention")

    async def _forbidden(self, workspace_id: int | None) -> str | None:
        if workspace_id is None:
            return "unavailable"
        try:
            policy = await self._bus.request(GetContentPolicyV1(workspace_id=workspace_id), ContentPolicyV1)
        except OmniError:
            return "unavailable"
        return "zero_retention" if policy.zero_retention else None


class _Noted:
    """Pieces on their way to somebody else; ``vectors``: those that have passed."""

    def __init__(self, arriving: Pieces) -> None:
        self._arriving = arriving
        self.vectors: list[str] = []

    @property
    def final(self) -> InvokedV1:
        return self._arriving.final

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> DeltaV1:
        delta = await anext(self._arriving)
        self.vectors += delta.vectors
        return delta


class _Replayed:
    """A kept answer in parts."""

    def __init__(self, kept: Kept) -> None:
        self._kept, self._parts = kept, _parts(kept)

    @property
    def final(self) -> InvokedV1:
        return self._kept.result()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> DeltaV1:
        self._kept.result()
        try:
            return next(self._parts)
        except StopIteration:
            raise StopAsyncIteration from None


def _parts(kept: Kept) -> Iterator[DeltaV1]:
    answer = kept.result()
    if answer.text:
        yield DeltaV1(text=answer.text)
    for index, call in enumerate(answer.tool_calls):
        part = ToolCallDeltaV1(index=index, id=call.id, name=call.name, arguments=call.arguments)
        yield DeltaV1(tool_calls=(part,))
    for vector in kept.vectors:
        yield DeltaV1(vectors=(vector,))


class Calls:
    """Begins calls. Raises OmniError as ``Idempotency.begin`` does."""

    def __init__(self, idempotency: Idempotency, bus: Bus, clock: Clock) -> None:
        self._idempotency, self._bus, self._clock = idempotency, bus, clock

    async def begin(self, wish: Wish | None, caller: Principal, workspace_id: int) -> Once:
        """A call about ``workspace_id``; without a ``wish`` it has no Idempotency-Key, and is simply made."""
        if wish is None:
            return Once(self._bus)
        once = Once(self._bus, await self._idempotency.begin(wish, caller, workspace_id, self._orphaned))
        await once.check()
        return once

    async def _orphaned(self, left: Orphaned) -> None:
        if left.asked_at is None or left.workspace_id is None:
            return
        query = QueryCallsV1(workspace_id=left.workspace_id, call_id=str(left.effect_id), limit=1)
        rows = (await self._bus.request(query, CallsV1, repeatable=True)).items
        if rows:
            raise not_kept(left.effect_id, "lost", outcome=rows[0].outcome.value)
        if self._clock.now() < left.asked_at + SETTLED_AFTER:
            raise under_way(left.effect_id, 5)
