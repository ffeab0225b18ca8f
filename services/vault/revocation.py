"""Making keys unusable at once: blocked at metering, the routers told, and waited for until nothing is under way.

``docs/decisions/0009-revocation.md`` has the argument.
"""

import asyncio
from collections.abc import Collection
from dataclasses import dataclass
from uuid import UUID

from shared import logs
from shared.bus import Bus
from shared.clock import Clock
from shared.errors import OmniError, unavailable
from shared.messages.metering import BlockedV1, BlockKeyV1
from shared.messages.vault import KeyChangedV1
from shared.messages.vocabulary import START_WITHIN_S

# Longer than metering waits for its own locks, so that a block which is committed is heard of.
BLOCK_TIMEOUT_S = 6.0
QUIET_S = START_WITHIN_S
"""No router begins to send later than this after it asked for its reservation, so then the key is quiet anyhow."""

AT_ONCE = 16
REMIND_EVERY_S = 0.5
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.01, 0.1


@dataclass(frozen=True)
class Block:
    """Keys of one workspace for which no reservation is granted any more; ``held``: those with some still open.

    ``until``: the moment (monotonic seconds) from which on none of them can be in use.
    """

    workspace_id: int
    held: frozenset[UUID]
    until: float


class Revocation:
    """Used by everything that ends keys: block, then destroy and commit, then ``quiet``, then answer."""

    def __init__(self, bus: Bus, clock: Clock) -> None:
        self._bus, self._clock = bus, clock
        self._log = logs.get()

    async def block(self, workspace_id: int, key_ids: Collection[UUID]) -> Block:
        """No reservation for these keys is granted once this returns. Idempotent.

        Raises OmniError ``unavailable`` when metering has not confirmed it for every one.
        """
        held = await self._held(workspace_id, key_ids, BLOCK_TIMEOUT_S)
        return Block(workspace_id, held, self._clock.monotonic() + QUIET_S)

    async def quiet(self, block: Block) -> None:
        """Return once nothing runs, and nothing can start, with the keys of ``block``: at most ``QUIET_S`` after it.

        Reminds the routers meanwhile: an announcement may be lost.
        """
        held, pause, remind_at = block.held, FIRST_PAUSE_S, self._clock.monotonic() + REMIND_EVERY_S
        while held and (left := block.until - self._clock.monotonic()) > 0:
            await asyncio.sleep(min(pause, left))
            pause = min(2 * pause, LONGEST_PAUSE_S)
            if self._clock.monotonic() >= remind_at:
                remind_at += REMIND_EVERY_S
                for key_id in held:
                    await self.announce(block.workspace_id, key_id, revoked=True)
            held = await self._still_held(block, held)
        if held:
            self._log.warning("revoked keys were not quiet in time", workspace_id=block.workspace_id, count=len(held))

    async def announce(self, workspace_id: int, key_id: UUID, *, revoked: bool) -> None:
        """Tell the routers that a key has changed. Call it after the commit; it may be lost, and never fails."""
        try:
            await self._bus.announce(
                KeyChangedV1(workspace_id=workspace_id, key_id=str(key_id), revoked=revoked),
            )
        except OmniError as error:
            # The database is the truth and has committed: this must not look like a failed change.
            self._log.warning("a changed key was not announced", key_id=str(key_id), code=error.code)

    async def _still_held(self, block: Block, held: frozenset[UUID]) -> frozenset[UUID]:
        left = max(0.05, block.until - self._clock.monotonic())
        try:
            return await self._held(block.workspace_id, held, left)
        except OmniError:
            return held

    async def _held(self, workspace_id: int, key_ids: Collection[UUID], timeout_s: float) -> frozenset[UUID]:
        found: set[UUID] = set()
        ordered = sorted(key_ids)
        for start in range(0, len(ordered), AT_ONCE):
            some = ordered[start : start + AT_ONCE]
            counts = await asyncio.gather(*(self._ask(workspace_id, key_id, timeout_s) for key_id in some))
            found |= {key_id for key_id, count in zip(some, counts, strict=True) if count}
        return frozenset(found)

    async def _ask(self, workspace_id: int, key_id: UUID, timeout_s: float) -> int:
        try:
            block = BlockKeyV1(workspace_id=workspace_id, key_id=str(key_id))
            return (await self._bus.request(block, BlockedV1, timeout=timeout_s)).held
        except OmniError as error:
            self._log.warning("metering did not block a key", key_id=str(key_id), code=error.code)
            detail = "It is not certain that this key is out of use; repeat the request to complete its revocation."
            raise unavailable(detail, key_id=str(key_id)) from None
