"""What is asked for with an Idempotency-Key is done once (``docs/decisions/0020-idempotency.md``).

The first request claims a row and holds it by a lease that it renews while it lives. A repetition finds the answer, or
that the first one still runs, or that it was left: then ``Orphaned`` says whether it may be done again.
"""

import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from uuid import UUID, uuid4

from services.api.domain.access import Principal
from services.api.domain.idempotency import NONCE_BYTES, Marks, Wish, marks
from services.api.idempotent_rows import Found, IdempotentRows, Slot
from shared.beat import Beat
from shared.clock import Clock
from shared.db import EVERY_WORKSPACE
from shared.errors import Code, OmniError, invalid
from shared.sealing import CannotOpen

# How long a request is remembered.
KEEP = timedelta(hours=24)
LEASE = timedelta(seconds=12)
RENEW_EVERY_S = 4.0
# What is larger is answered, and not kept.
LARGEST_ANSWER = 4 * 1024 * 1024
HEADER = "Idempotency-Key"

_NOT_KEPT = {
    "zero_retention": "this workspace keeps no answers",
    "too_large": "its answer was too large to be kept",
    "unavailable": "its answer could not be kept",
    "lost": "its answer was lost",
}


class Claim:
    """A request that is ours to carry out, or that has been: then ``kept`` is its answer.

    ``effect_id``: the id of what it makes, the same whoever carries it out.
    """

    def __init__(self, rows: IdempotentRows, clock: Clock, slot: Slot, found: Found, of: Marks) -> None:
        self._rows, self._clock, self._slot, self._marks = rows, clock, slot, of
        self.effect_id, self.workspace_id = found.effect_id, slot.workspace_id
        self.kept: bytes | None = None if found.answer is None else _opened(of, found)

    @asynccontextmanager
    async def held(self) -> AsyncIterator[None]:
        """Held while the block lasts, however long that is."""
        beat = Beat(RENEW_EVERY_S, self._renew)
        try:
            yield
        finally:
            beat.cancel()

    async def asks(self) -> None:
        """What follows may not be done twice. Raises OmniError ``conflict`` when somebody else holds it by now."""
        if not await self._rows.asks(self._slot, self._clock.now()):
            raise _running(self.effect_id)

    async def keep(self, answer: bytes) -> bool:
        """It has ended with ``answer``. False: somebody else holds it by now, and will end it."""
        if len(answer) > LARGEST_ANSWER:
            return await self.drop("too_large")
        sealed = self._marks.sealed(answer, secrets.token_bytes(NONCE_BYTES))
        return await self._rows.end(self._slot, sealed, None)

    async def drop(self, reason: str) -> bool:
        """It has ended, and its answer is not kept; a ``reason`` of ``_NOT_KEPT``."""
        return await self._rows.end(self._slot, None, reason)

    async def forget(self) -> None:
        """Nothing was done: whoever asks next begins anew."""
        await self._rows.forget(self._slot)

    async def let_go(self) -> None:
        """Nobody knows what was done; whoever asks next has to find out. Never fails."""
        with suppress(OmniError):
            await self._rows.extend(self._slot, self._clock.now())

    async def _renew(self) -> None:
        with suppress(OmniError):
            await self._rows.extend(self._slot, self._clock.now() + LEASE)


class Orphaned:
    """A request whose process has died or lost touch, as ``begin`` hands it to whoever decides what follows."""

    def __init__(self, found: Found, slot: Slot) -> None:
        self.effect_id, self.workspace_id = found.effect_id, slot.workspace_id
        self.asked_at, self.created_at = found.asked_at, found.created_at


Decide = Callable[[Orphaned], Awaitable[None]]


class Idempotency:
    """Raises OmniError ``unavailable`` when the database is away: then nothing is done."""

    def __init__(self, rows: IdempotentRows, clock: Clock, pepper: bytes) -> None:
        self._rows, self._clock, self._pepper = rows, clock, pepper

    async def begin(self, wish: Wish, caller: Principal, workspace_id: int | None, orphaned: Decide) -> Claim:
        """Claim ``wish``, or find how it has ended. ``orphaned`` raises unless what was left may be done again.

        Raises OmniError: ``conflict`` while it runs, or when it has ended and its answer is not kept;
        ``invalid_request`` when the key was used for another request.
        """
        of, now = marks(wish, self._pepper), self._clock.now()
        scope = EVERY_WORKSPACE if caller.workspace_id is None else caller.workspace_id
        slot = Slot(of.name, scope, workspace_id, uuid4())
        found = await self._rows.claim(slot, of.fingerprint, uuid4(), now + LEASE, now, now - KEEP)
        if found.fingerprint != of.fingerprint:
            raise invalid(f"This {HEADER} was used for another request; send a new one.", field=HEADER)
        if found.reason is not None:
            raise not_kept(found.effect_id, found.reason)
        if found.answer is None and found.holder != slot.holder:
            await self._take_over(slot, found, orphaned)
        return Claim(self._rows, self._clock, slot, found, of)

    async def _take_over(self, slot: Slot, found: Found, orphaned: Decide) -> None:
        now = self._clock.now()
        if found.lease_until is None or found.lease_until >= now:
            raise _running(found.effect_id)
        await orphaned(Orphaned(found, slot))
        if not await self._rows.take_over(slot, found.holder, now + LEASE, now):
            raise _running(found.effect_id)

    async def purge(self) -> None:
        """Forget what is older than ``KEEP``."""
        now = self._clock.now()
        await self._rows.purge(now - KEEP, now)

    async def drop_answers(self, workspace_id: int) -> None:
        """Destroy every answer that is kept of a workspace."""
        await self._rows.drop_answers(workspace_id, "zero_retention")


def not_kept(effect_id: UUID, reason: str, **extra: object) -> OmniError:
    """The problem of a repetition whose answer is not there."""
    why = _NOT_KEPT.get(reason, _NOT_KEPT["lost"])
    detail = (
        f"A request with this {HEADER} was carried out, but {why}. Look up what came of it by 'call_id'; "
        "to ask again, send a new key."
    )
    return OmniError(Code.CONFLICT, detail, extra={"call_id": str(effect_id), "reason": reason, **extra})


def under_way(effect_id: UUID, retry_after_s: int) -> OmniError:
    """The problem of a repetition that comes too early."""
    detail = f"A request with this {HEADER} is still running; ask again later, with the same key."
    extra = {"call_id": str(effect_id), "reason": "running", "retry_after_s": retry_after_s}
    return OmniError(Code.CONFLICT, detail, extra=extra)


def _running(effect_id: UUID) -> OmniError:
    return under_way(effect_id, 1)


def _opened(of: Marks, found: Found) -> bytes:
    try:
        return of.opened(found.answer or b"")
    except CannotOpen:
        raise not_kept(found.effect_id, "lost") from None
