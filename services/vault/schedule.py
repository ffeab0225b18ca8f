"""Asking providers again, now and then, whether they still accept the keys: by their free call, through the router."""

import asyncio
import contextlib
from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

from sqlalchemy import text

from services.vault.store import Store
from shared import logs
from shared.bus import Bus
from shared.clock import Clock
from shared.db import EVERY_WORKSPACE
from shared.errors import OmniError
from shared.messages.router import VerdictV1, VerifyKeyV1
from shared.messages.vocabulary import KeyStatus

BATCH = 20
LOOK_EVERY_S = 30.0
VERIFY_TIMEOUT_S = 20.0
AGAIN_AFTER = timedelta(hours=1)
"""When a provider or the router could not be asked."""

# What has no time yet gets one counted from what is known of the key, so that a fresh key is not asked about twice.
_PLAN = text(
    """
    UPDATE ai_provider_keys
    SET next_check_at = coalesce(last_verified_at, created_at) + :every * (0.9 + 0.2 * random())
    WHERE id IN (
        SELECT id FROM ai_provider_keys WHERE next_check_at IS NULL AND status <> 'revoked'
        LIMIT 1000 FOR UPDATE SKIP LOCKED
    )
    """
)
# Claimed by moving the time on: a replica that dies over a key has not lost it, and no two ask about the same one.
_CLAIM = text(
    """
    UPDATE ai_provider_keys SET next_check_at = :now + :every * (0.9 + 0.2 * random())
    WHERE id IN (
        SELECT id FROM ai_provider_keys WHERE next_check_at <= :now AND status <> 'revoked'
        ORDER BY next_check_at LIMIT :batch FOR UPDATE SKIP LOCKED
    )
    RETURNING workspace_id, id
    """
)
_PUT_OFF = text("UPDATE ai_provider_keys SET next_check_at = :at WHERE id = :id")


class Schedule:
    """Verifies every living key once in ``every`` (± 10 %), whatever number of replicas does the same."""

    def __init__(self, store: Store, bus: Bus, clock: Clock, every: timedelta) -> None:
        """``every`` zero: never."""
        self._store, self._bus, self._clock, self._every = store, bus, clock, every
        self._log = logs.get()
        self._task: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Look for due keys from now on."""
        if self._every:
            self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Ask no more."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def turn(self) -> int:
        """Verify up to ``BATCH`` due keys, one after another; how many were due. Raises OmniError ``unavailable``."""
        due = await self._claim()
        for workspace_id, key_id in due:
            if not await self._verified(workspace_id, key_id):
                await self._put_off(key_id)
        return len(due)

    async def _run(self) -> None:
        while True:
            due = 0
            try:
                due = await self.turn()
            except OmniError as error:
                self._log.warning("keys were not verified", code=error.code)
            except Exception as error:  # noqa: BLE001 - the schedule must outlive whatever goes wrong in one turn
                self._log.error("keys were not verified", exc=error)
            if due < BATCH:
                await asyncio.sleep(LOOK_EVERY_S)

    async def _claim(self) -> Sequence[tuple[int, UUID]]:
        values = {"now": self._clock.now(), "every": self._every, "batch": BATCH}
        async with self._store.transaction(EVERY_WORKSPACE) as rows:
            connection = await rows.session.connection()
            await connection.execute(_PLAN, {"every": self._every})
            return [(row.workspace_id, row.id) for row in await connection.execute(_CLAIM, values)]

    async def _verified(self, workspace_id: int, key_id: UUID) -> bool:
        # The verdict reaches the vault as every verdict does: the router records it.
        try:
            request = VerifyKeyV1(workspace_id=workspace_id, key_id=str(key_id))
            verdict = await self._bus.request(request, VerdictV1, timeout=VERIFY_TIMEOUT_S)
        except OmniError as error:
            self._log.warning("a key was not verified", key_id=str(key_id), code=error.code)
            return False
        return verdict.status is not KeyStatus.UNVERIFIED

    async def _put_off(self, key_id: UUID) -> None:
        soon = self._clock.now() + min(AGAIN_AFTER, self._every)
        async with self._store.transaction(EVERY_WORKSPACE) as rows:
            await (await rows.session.connection()).execute(_PUT_OFF, {"at": soon, "id": key_id})
