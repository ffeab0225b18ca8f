"""The vault's tables. Nothing in them is of use without the KEK."""

from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Column, DateTime, LargeBinary, Text
from sqlalchemy.dialects.postgresql import ARRAY, insert
from sqlmodel import BigInteger, Field, SQLModel, col, select, update
from sqlmodel.ext.asyncio.session import AsyncSession

from services.vault.domain.envelope import DekPlace
from services.vault.domain.keys import Key
from shared.db import Database, Scope
from shared.messages.vault import RestrictionsV1
from shared.messages.vocabulary import KeyStatus, Modality


class DekRow(SQLModel, table=True):
    """A workspace's DEK, wrapped by the KEK ``kek_id``; destroyed, it holds nothing. Statements: ``deks.py``."""

    __tablename__ = "workspace_deks"

    id: UUID = Field(primary_key=True)
    workspace_id: int = Field(sa_type=BigInteger)
    kek_id: str
    wrapped: bytes | None = Field(sa_column=Column(LargeBinary, nullable=True), repr=False)
    active: bool = True
    created_at: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False))
    destroyed_at: datetime | None = Field(sa_column=Column(DateTime(timezone=True), nullable=True))


class KeyRow(SQLModel, table=True):
    """A stored key; see ``domain.keys.Key``."""

    __tablename__ = "ai_provider_keys"

    id: UUID = Field(primary_key=True)
    workspace_id: int = Field(sa_type=BigInteger)
    provider: str
    label: str
    masked_key: str
    scopes: list[str] = Field(sa_column=Column(ARRAY(Text), nullable=False))
    models: list[str] | None = Field(default=None, sa_column=Column(ARRAY(Text), nullable=True))
    regions: list[str] | None = Field(default=None, sa_column=Column(ARRAY(Text), nullable=True))
    status: str
    status_reason: str | None = None
    host: str
    version: int
    dek_id: UUID
    ciphertext: bytes | None = Field(sa_column=Column(LargeBinary, nullable=True), repr=False)
    last_verified_at: datetime | None = Field(sa_column=Column(DateTime(timezone=True), nullable=True))
    created_at: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False))
    updated_at: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False))
    revoked_at: datetime | None = Field(sa_column=Column(DateTime(timezone=True), nullable=True))
    next_check_at: datetime | None = Field(sa_column=Column(DateTime(timezone=True), nullable=True))


@dataclass(frozen=True)
class Dek:
    """A wrapped DEK and its place. ``wrapped`` is empty once it is destroyed."""

    place: DekPlace
    wrapped: bytes = field(repr=False)


class Rows:
    """Reads and writes of one transaction; ``session`` is the transaction itself."""

    def __init__(self, session: AsyncSession) -> None:
        self.session = session

    async def key(self, key_id: UUID, *, lock: bool = False) -> Key | None:
        """A key of any workspace. ``lock`` keeps every other writer of it out until the transaction ends."""
        statement = select(KeyRow).where(KeyRow.id == key_id)
        row = (await self.session.exec(statement.with_for_update() if lock else statement)).first()
        return _key(row) if row else None

    async def keys(self, workspace_id: int, providers: Collection[str] | None) -> list[Key]:
        """Keys of a workspace, oldest first; ``providers`` None: of all providers."""
        statement = select(KeyRow).where(KeyRow.workspace_id == workspace_id)
        if providers is not None:
            statement = statement.where(col(KeyRow.provider).in_(providers))
        rows = await self.session.exec(statement.order_by(col(KeyRow.created_at), col(KeyRow.id)))
        return [_key(row) for row in rows]

    async def living(self, workspace_id: int) -> list[Key]:
        """Keys of a workspace that are not revoked, locked in the order of their ids."""
        statement = select(KeyRow).where(KeyRow.workspace_id == workspace_id, KeyRow.status != KeyStatus.REVOKED.value)
        rows = await self.session.exec(statement.order_by(col(KeyRow.id)).with_for_update())
        return [_key(row) for row in rows]

    async def add(self, key: Key) -> bool:
        """False when a key of that id exists already; it is left as it was."""
        statement = insert(KeyRow).values(**_columns(key)).on_conflict_do_nothing(index_elements=["id"])
        # Asked for the row and not for a count, which drivers need not know of an INSERT.
        return (await self.session.exec(statement.returning(col(KeyRow.id)))).first() is not None

    async def save(self, key: Key) -> None:
        """Write what a locked key has become."""
        values = _columns(key)
        del values["id"], values["workspace_id"], values["created_at"]
        await self.session.exec(update(KeyRow).where(col(KeyRow.id) == key.id).values(**values))

    async def key_with_dek(self, workspace_id: int, key_id: UUID) -> tuple[Key, Dek] | None:
        """A key and exactly the DEK it names, both of ``workspace_id``."""
        statement = (
            select(KeyRow, DekRow)
            .where(KeyRow.id == key_id, KeyRow.workspace_id == workspace_id)
            .where(DekRow.id == KeyRow.dek_id, DekRow.workspace_id == KeyRow.workspace_id)
        )
        found = (await self.session.exec(statement)).first()
        return (_key(found[0]), dek_of(found[1])) if found else None


class Store:
    """Opens transactions."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @asynccontextmanager
    async def transaction(self, scope: Scope) -> AsyncIterator[Rows]:
        """On the rows of ``scope``: committed at the end, rolled back by an exception.

        Raises OmniError ``unavailable``.
        """
        async with self._database.session(scope) as session:
            yield Rows(session)


def dek_of(row: DekRow) -> Dek:
    """The data key a row holds."""
    return Dek(DekPlace(row.workspace_id, row.id, row.kek_id), row.wrapped or b"")


def leased(row: Any) -> tuple[Key, Dek]:  # noqa: ANN401 - a row by column name, from a raw connection
    """A key and the data key beside it, as ``leasing.py`` reads them."""
    return _key(row), Dek(DekPlace(row.workspace_id, row.dek_id, row.kek_id), row.wrapped or b"")


def _key(row: KeyRow) -> Key:
    return Key(
        id=row.id,
        workspace_id=row.workspace_id,
        provider=row.provider,
        label=row.label,
        masked_key=row.masked_key,
        scopes=frozenset(Modality(scope) for scope in row.scopes),
        restrictions=_restrictions(row.models, row.regions),
        status=KeyStatus(row.status),
        status_reason=row.status_reason,
        host=row.host,
        version=row.version,
        dek_id=row.dek_id,
        ciphertext=row.ciphertext,
        last_verified_at=row.last_verified_at,
        created_at=row.created_at,
        updated_at=row.updated_at,
        revoked_at=row.revoked_at,
    )


def _columns(key: Key) -> dict[str, Any]:
    columns = dict(vars(key))
    columns["scopes"] = sorted(scope.value for scope in key.scopes)
    columns["status"] = key.status.value
    restrictions = columns.pop("restrictions")
    columns["models"] = None if restrictions.models is None else sorted(restrictions.models)
    columns["regions"] = None if restrictions.regions is None else sorted(restrictions.regions)
    return columns


def _restrictions(models: Collection[str] | None, regions: Collection[str] | None) -> RestrictionsV1:
    return RestrictionsV1(
        models=None if models is None else frozenset(models),
        regions=None if regions is None else frozenset(regions),
    )
