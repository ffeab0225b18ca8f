"""Rows of data keys: made, held, rewrapped, destroyed; and the workspaces that take none any more."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, Column, DateTime, LargeBinary, Text, Uuid, bindparam
from sqlalchemy.dialects.postgresql import ARRAY, insert
from sqlmodel import Field, SQLModel, col, func, select, text, update
from sqlmodel.ext.asyncio.session import AsyncSession

from services.vault.store import Dek, DekRow, dek_of
from shared.errors import not_found

# Walks the index from one KEK to the next: as many steps as there are KEKs, however many data keys.
_KEK_IDS = text(
    """
    WITH RECURSIVE found AS (
        SELECT min(kek_id) AS kek_id FROM workspace_deks WHERE wrapped IS NOT NULL
        UNION ALL
        SELECT (SELECT min(d.kek_id) FROM workspace_deks d WHERE d.wrapped IS NOT NULL AND d.kek_id > found.kek_id)
        FROM found WHERE found.kek_id IS NOT NULL
    )
    SELECT kek_id FROM found WHERE kek_id IS NOT NULL
    """
)
_REWRAP = text(
    """
    UPDATE workspace_deks d SET kek_id = :kek_id, wrapped = rewrapped.wrapped
    FROM unnest(:ids, :olds, :wraps) AS rewrapped (id, old, wrapped)
    WHERE d.id = rewrapped.id AND d.kek_id = rewrapped.old AND d.wrapped IS NOT NULL
    """
).bindparams(
    bindparam("ids", type_=ARRAY(Uuid)),
    bindparam("olds", type_=ARRAY(Text)),
    bindparam("wraps", type_=ARRAY(LargeBinary)),
)
_STORED: Any = col(DekRow.wrapped).is_not(None)


class ShreddedRow(SQLModel, table=True):
    """A workspace that takes no key any more. ``destroyed_at``: when the last of its data keys was destroyed."""

    __tablename__ = "shredded_workspaces"

    workspace_id: int = Field(primary_key=True, sa_type=BigInteger)
    shredded_at: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False))
    destroyed_at: datetime | None = Field(sa_column=Column(DateTime(timezone=True), nullable=True))


async def active(session: AsyncSession, workspace_id: int) -> Dek | None:
    """The data key that new secrets of a workspace are encrypted with."""
    statement = select(DekRow).where(DekRow.workspace_id == workspace_id, col(DekRow.active).is_(True))
    row = (await session.exec(statement)).first()
    return dek_of(row) if row else None


async def add(session: AsyncSession, dek: Dek, now: datetime) -> None:
    """Make ``dek`` the active one of its workspace, unless somebody else was faster.

    Raises OmniError ``not_found`` when the workspace has been shredded.
    """
    place = dek.place
    row = {"id": place.dek_id, "workspace_id": place.workspace_id, "kek_id": place.kek_id}
    statement = (
        insert(DekRow)
        .values(**row, wrapped=dek.wrapped, active=True, created_at=now)
        .on_conflict_do_nothing(index_elements=["workspace_id"], index_where=text("active"))
    )
    await session.exec(statement)
    await refuse_shredded(session, place.workspace_id)


async def hold(session: AsyncSession, dek: Dek) -> bool:
    """Keep ``dek`` the active one until the transaction ends; False when it is not any more: encrypt anew.

    Call it before a key's row is locked: everybody locks data keys, then keys, then the audit's head.
    Raises OmniError ``not_found`` when the workspace has been shredded.
    """
    mine = select(DekRow.id).where(DekRow.id == dek.place.dek_id, col(DekRow.active).is_(True))
    held = (await session.exec(mine.with_for_update(read=True))).first() is not None
    # Looked up after the lock, so that a workspace that was shredded while we waited for it is seen.
    await refuse_shredded(session, dek.place.workspace_id)
    return held


async def mark_shredded(session: AsyncSession, workspace_id: int, now: datetime) -> None:
    """From this commit on the workspace takes no key."""
    mine = {"workspace_id": workspace_id, "shredded_at": now}
    await session.exec(insert(ShreddedRow).values(**mine).on_conflict_do_nothing())


async def mark_destroyed(session: AsyncSession, workspace_id: int, now: datetime) -> bool:
    """Note that nothing of a shredded workspace can be opened any more; False when that was noted before."""
    mine = (col(ShreddedRow.workspace_id) == workspace_id, col(ShreddedRow.destroyed_at).is_(None))
    return (await session.exec(update(ShreddedRow).where(*mine).values(destroyed_at=now))).rowcount == 1


async def refuse_shredded(session: AsyncSession, workspace_id: int) -> None:
    """Raises OmniError ``not_found`` when the workspace takes no key any more."""
    statement = select(ShreddedRow.workspace_id).where(ShreddedRow.workspace_id == workspace_id)
    if (await session.exec(statement)).first() is not None:
        raise not_found("workspace", workspace_id=workspace_id)


async def lock(session: AsyncSession, workspace_id: int) -> list[Dek]:
    """Every data key of a workspace that is not destroyed; nothing is encrypted with it until the transaction ends."""
    statement = select(DekRow).where(DekRow.workspace_id == workspace_id, _STORED).order_by(col(DekRow.id))
    return [dek_of(row) for row in await session.exec(statement.with_for_update())]


async def destroy(session: AsyncSession, workspace_id: int, now: datetime) -> None:
    """Destroy every data key of a workspace; what was encrypted with them is lost. The rows stay as tombstones."""
    statement = update(DekRow).where(col(DekRow.workspace_id) == workspace_id, _STORED)
    await session.exec(statement.values(wrapped=None, active=False, destroyed_at=now))


# -- rotation ------------------------------------------------------------------------------------------------


async def kek_ids(session: AsyncSession) -> set[str]:
    """Every KEK that wraps something."""
    return set((await session.execute(_KEK_IDS)).scalars())


async def count(session: AsyncSession, kek_ids: Collection[str]) -> int:
    """How many data keys are under one of these KEKs."""
    statement = select(func.count()).select_from(DekRow).where(_STORED, col(DekRow.kek_id).in_(kek_ids))
    return (await session.exec(statement)).one()


async def page(session: AsyncSession, kek_id: str, start: UUID, limit: int, without: Collection[UUID]) -> list[Dek]:
    """Data keys under ``kek_id`` from the id ``start`` on, but for ``without``."""
    statement = select(DekRow).where(DekRow.kek_id == kek_id, _STORED, DekRow.id >= start)
    if without:
        statement = statement.where(col(DekRow.id).not_in(without))
    return [dek_of(row) for row in await session.exec(statement.order_by(col(DekRow.id)).limit(limit))]


async def rewrap(session: AsyncSession, kek_id: str, rewrapped: Sequence[tuple[Dek, bytes]]) -> int:
    """Store the new form, under ``kek_id``, of each data key that is still under its old KEK; how many there were."""
    values = {
        "kek_id": kek_id,
        "ids": [dek.place.dek_id for dek, _ in rewrapped],
        "olds": [dek.place.kek_id for dek, _ in rewrapped],
        "wraps": [wrapped for _, wrapped in rewrapped],
    }
    done = await (await session.connection()).execute(_REWRAP, values)
    return done.rowcount
