"""Rows of content roots: a workspace has at most one, encrypted under its data key (``envelope.RootPlace``)."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, Column, DateTime, LargeBinary, delete
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import Field, SQLModel, col, select, update
from sqlmodel.ext.asyncio.session import AsyncSession

from services.vault.domain.envelope import DekPlace, RootPlace
from services.vault.store import Dek

# A root and exactly the data key it names, both of the workspace: for ``connections.Connections.first``.
WITH_DEK = """
    SELECT r.id, r.workspace_id, r.dek_id, r.ciphertext, d.kek_id, d.wrapped
    FROM content_roots r JOIN workspace_deks d ON d.id = r.dek_id AND d.workspace_id = r.workspace_id
    WHERE r.workspace_id = %s
"""


class RootRow(SQLModel, table=True):
    """What all content keys of a workspace are derived from. A deleted row is what makes stored content unreadable."""

    __tablename__ = "content_roots"

    workspace_id: int = Field(primary_key=True, sa_type=BigInteger)
    id: UUID
    dek_id: UUID
    ciphertext: bytes = Field(sa_column=Column(LargeBinary, nullable=False), repr=False)
    created_at: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False))


@dataclass(frozen=True)
class Root:
    """An encrypted content root and its place."""

    place: RootPlace
    ciphertext: bytes = field(repr=False)


def root_and_dek(row: Any) -> tuple[Root, Dek]:  # noqa: ANN401 - a row of ``WITH_DEK`` by column name
    """What the row holds; a data key that was destroyed is empty."""
    root = Root(RootPlace(row.workspace_id, row.id, row.dek_id), row.ciphertext)
    return root, Dek(DekPlace(row.workspace_id, row.dek_id, row.kek_id), row.wrapped or b"")


async def add(session: AsyncSession, root: Root, now: datetime) -> None:
    """Make ``root`` the one of its workspace, unless somebody else was faster."""
    place = root.place
    row = {"workspace_id": place.workspace_id, "id": place.root_id, "dek_id": place.dek_id}
    statement = insert(RootRow).values(**row, ciphertext=root.ciphertext, created_at=now)
    await session.exec(statement.on_conflict_do_nothing())


async def locked(session: AsyncSession, workspace_id: int) -> Root | None:
    """The workspace's root, kept from every other writer until the transaction ends."""
    statement = select(RootRow).where(RootRow.workspace_id == workspace_id).with_for_update()
    row = (await session.exec(statement)).first()
    return Root(RootPlace(row.workspace_id, row.id, row.dek_id), row.ciphertext) if row else None


async def save(session: AsyncSession, root: Root) -> None:
    """Write a locked root under another data key."""
    place = root.place
    statement = update(RootRow).where(col(RootRow.id) == place.root_id)
    await session.exec(statement.values(dek_id=place.dek_id, ciphertext=root.ciphertext))


async def destroy(session: AsyncSession, workspace_id: int) -> bool:
    """What was sealed with its keys is lost; False when there was none."""
    gone = await session.exec(delete(RootRow).where(col(RootRow.workspace_id) == workspace_id))
    return gone.rowcount == 1
