"""The table of requests with an Idempotency-Key: each is claimed once, by one holder, for as long as that lives."""

from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from sqlmodel import text

from shared.db import EVERY_WORKSPACE, Database, Scope

_FORGET_OLD = text(
    "DELETE FROM idempotent_requests WHERE name = :name AND created_at < :before "
    "AND (lease_until IS NULL OR lease_until < :now)"
)
_CLAIM = text(
    """
    INSERT INTO idempotent_requests (name, workspace_id, fingerprint, effect_id, holder, lease_until, created_at)
    VALUES (:name, :workspace_id, :fingerprint, :effect_id, :holder, :lease_until, :now)
    ON CONFLICT (name) DO NOTHING
    """
)
_READ = text(
    "SELECT fingerprint, effect_id, holder, lease_until, asked_at, reason, answer, created_at "
    "FROM idempotent_requests WHERE name = :name"
)
_TAKE_OVER = text(
    "UPDATE idempotent_requests SET holder = :holder, lease_until = :lease_until, asked_at = NULL "
    "WHERE name = :name AND holder = :former AND lease_until < :now"
)
_EXTEND = text(
    "UPDATE idempotent_requests SET lease_until = :lease_until "
    "WHERE name = :name AND holder = :holder AND lease_until IS NOT NULL"
)
_ASKS = text("UPDATE idempotent_requests SET asked_at = :now WHERE name = :name AND holder = :holder")
_END = text(
    "UPDATE idempotent_requests SET lease_until = NULL, answer = :answer, reason = :reason "
    "WHERE name = :name AND holder = :holder"
)
_FORGET = text("DELETE FROM idempotent_requests WHERE name = :name AND holder = :holder")
_PURGE = text(
    "DELETE FROM idempotent_requests WHERE created_at < :before AND (lease_until IS NULL OR lease_until < :now)"
)
_DROP_ANSWERS = text(
    "UPDATE idempotent_requests SET answer = NULL, reason = :reason "
    "WHERE workspace_id = :workspace_id AND answer IS NOT NULL"
)


@dataclass(frozen=True)
class Slot:
    """Which row: seen from ``scope``. ``workspace_id`` None: about no workspace."""

    name: bytes
    scope: Scope
    workspace_id: int | None
    holder: UUID


@dataclass(frozen=True)
class Found:
    """A row as it was found. ``lease_until`` None: it has ended, with an ``answer`` or a ``reason``."""

    fingerprint: bytes
    effect_id: UUID
    holder: UUID
    lease_until: datetime | None
    asked_at: datetime | None
    reason: str | None
    answer: bytes | None = field(repr=False)
    created_at: datetime


class IdempotentRows:
    """Raises OmniError ``unavailable`` when the database is away."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def claim(
        self, slot: Slot, fingerprint: bytes, effect_id: UUID, lease_until: datetime, now: datetime, before: datetime
    ) -> Found:
        """The row of this name; held by ``slot.holder`` when there was none, or only one made ``before`` then."""
        about = {"name": slot.name, "now": now}
        fresh = about | {"workspace_id": slot.workspace_id, "fingerprint": fingerprint, "effect_id": effect_id}
        async with self._database.session(slot.scope) as session:
            connection = await session.connection()
            await connection.execute(_FORGET_OLD, about | {"before": before})
            await connection.execute(_CLAIM, fresh | {"holder": slot.holder, "lease_until": lease_until})
            return Found(**(await connection.execute(_READ, {"name": slot.name})).mappings().one())

    async def take_over(self, slot: Slot, former: UUID, lease_until: datetime, now: datetime) -> bool:
        """Hold what ``former`` has left; False when somebody was faster."""
        return await self._write(_TAKE_OVER, slot, former=former, lease_until=lease_until, now=now)

    async def extend(self, slot: Slot, lease_until: datetime) -> bool:
        """Go on holding it; False when it is no longer ours."""
        return await self._write(_EXTEND, slot, lease_until=lease_until)

    async def asks(self, slot: Slot, now: datetime) -> bool:
        """From now on what was asked for may have been done."""
        return await self._write(_ASKS, slot, now=now)

    async def end(self, slot: Slot, answer: bytes | None, reason: str | None) -> bool:
        """It has ended: with ``answer``, or without one for a ``reason``. False when it is no longer ours."""
        return await self._write(_END, slot, answer=answer, reason=reason)

    async def forget(self, slot: Slot) -> bool:
        """Nothing was done: whoever asks next begins anew."""
        return await self._write(_FORGET, slot)

    async def purge(self, before: datetime, now: datetime) -> None:
        """Forget requests that were made before then."""
        async with self._database.session(EVERY_WORKSPACE) as session:
            await (await session.connection()).execute(_PURGE, {"before": before, "now": now})

    async def drop_answers(self, workspace_id: int, reason: str) -> None:
        """Destroy every answer that is kept of a workspace."""
        about = {"workspace_id": workspace_id, "reason": reason}
        async with self._database.session(workspace_id) as session:
            await (await session.connection()).execute(_DROP_ANSWERS, about)

    async def _write(self, statement: object, slot: Slot, **values: object) -> bool:
        about = {"name": slot.name, **values}
        about.setdefault("holder", slot.holder)
        async with self._database.session(slot.scope) as session:
            result = await (await session.connection()).execute(statement, about)  # type: ignore[call-overload]
        return bool(result.rowcount)
