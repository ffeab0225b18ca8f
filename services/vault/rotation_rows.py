"""Rows of KEK rotations, and the KEKs that are refused since one has finished."""

from collections.abc import Collection
from datetime import datetime
from uuid import UUID, uuid4

from sqlalchemy import Column, DateTime, Text
from sqlalchemy.dialects.postgresql import ARRAY, insert
from sqlmodel import Field, SQLModel, col, select, text, update
from sqlmodel.ext.asyncio.session import AsyncSession

# Lets readers through, and keeps out whoever adds or rewraps a data key, until the transaction ends.
_STOP_DEK_WRITERS = text("LOCK TABLE workspace_deks IN SHARE ROW EXCLUSIVE MODE")
# What adding a data key takes anyway, taken first: what is read next is newer than a rotation that was finishing.
_WAIT_FOR_THE_END = text("LOCK TABLE workspace_deks IN ROW EXCLUSIVE MODE")


class RotationRow(SQLModel, table=True):
    """A rotation. ``old_kek_ids``: the KEKs it moves data keys away from, refused once it is done."""

    __tablename__ = "kek_rotations"

    id: UUID = Field(primary_key=True)
    to_kek_id: str
    old_kek_ids: list[str] = Field(sa_column=Column(ARRAY(Text), nullable=False))
    total: int
    state: str
    started_at: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False))
    finished_at: datetime | None = Field(sa_column=Column(DateTime(timezone=True), nullable=True))
    trouble: str | None = None


class RetiredRow(SQLModel, table=True):
    """A KEK that is refused for good."""

    __tablename__ = "retired_keks"

    kek_id: str = Field(primary_key=True)
    retired_at: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False))


async def last(session: AsyncSession) -> RotationRow | None:
    """The newest rotation."""
    statement = select(RotationRow).order_by(col(RotationRow.started_at).desc(), col(RotationRow.id)).limit(1)
    return (await session.exec(statement)).first()


async def running(session: AsyncSession, *, lock: bool = False) -> RotationRow | None:
    """The rotation that has not finished; there is at most one."""
    statement = select(RotationRow).where(RotationRow.state == "running")
    return (await session.exec(statement.with_for_update() if lock else statement)).first()


async def targets(session: AsyncSession) -> set[str]:
    """Every KEK there has been a rotation to."""
    return set(await session.exec(select(RotationRow.to_kek_id)))


async def begin(session: AsyncSession, to_kek_id: str, old_kek_ids: Collection[str], total: int, now: datetime) -> bool:
    """Open a rotation; False when somebody else was faster."""
    statement = insert(RotationRow).values(
        id=uuid4(), to_kek_id=to_kek_id, old_kek_ids=sorted(old_kek_ids), total=total, state="running", started_at=now
    )
    once = statement.on_conflict_do_nothing(index_elements=["state"], index_where=text("state = 'running'"))
    return (await session.execute(once.returning(col(RotationRow.id)))).scalar() is not None


async def aim(session: AsyncSession, rotation: RotationRow, to_kek_id: str, old: Collection[str], total: int) -> None:
    """Let a running rotation go to a newer KEK."""
    values = {"to_kek_id": to_kek_id, "old_kek_ids": sorted(old), "total": total, "trouble": None}
    await session.exec(update(RotationRow).where(col(RotationRow.id) == rotation.id).values(**values))


async def note(session: AsyncSession, rotation: RotationRow, trouble: str | None) -> None:
    """Say what keeps a rotation waiting; None: nothing."""
    await session.exec(update(RotationRow).where(col(RotationRow.id) == rotation.id).values(trouble=trouble))


async def finish(session: AsyncSession, rotation: RotationRow, now: datetime) -> None:
    """Close a rotation: from this commit on its old KEKs are refused."""
    for kek_id in sorted(set(rotation.old_kek_ids) - {rotation.to_kek_id}):
        await session.exec(insert(RetiredRow).values(kek_id=kek_id, retired_at=now).on_conflict_do_nothing())
    done = {"state": "done", "finished_at": now, "trouble": None}
    await session.exec(update(RotationRow).where(col(RotationRow.id) == rotation.id).values(**done))


async def retired(session: AsyncSession) -> set[str]:
    """Every KEK that is refused."""
    return set(await session.exec(select(RetiredRow.kek_id)))


async def is_retired(session: AsyncSession, kek_id: str) -> bool:
    """Whether this KEK is refused."""
    return (await session.exec(select(RetiredRow.kek_id).where(RetiredRow.kek_id == kek_id))).first() is not None


async def stop_dek_writers(session: AsyncSession) -> None:
    """Until the transaction ends nobody adds or rewraps a data key; reading goes on."""
    await session.execute(_STOP_DEK_WRITERS)


async def wait_for_the_end(session: AsyncSession) -> None:
    """Let a rotation that is just finishing finish, and none finish until the transaction ends."""
    await session.execute(_WAIT_FOR_THE_END)
