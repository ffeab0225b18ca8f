"""The router's tables: ``ai_providers`` and ``ai_model_aliases``."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, Column, DateTime
from sqlalchemy.dialects.postgresql import JSONB, insert
from sqlalchemy.exc import IntegrityError
from sqlmodel import Field, SQLModel, col, select

from shared.db import EVERY_WORKSPACE, Database
from shared.errors import Code, OmniError


def _instant() -> Any:  # noqa: ANN401 - SQLModel's Field is typed Any
    return Field(sa_type=DateTime(timezone=True))


class ProviderRow(SQLModel, table=True):
    """A provider; ``models`` is a list of ``ModelV1`` as JSON."""

    __tablename__ = "ai_providers"

    id: str = Field(primary_key=True)
    name: str
    kind: str
    base_url: str
    region: str | None = None
    simulated: bool = False
    models: list[dict[str, Any]] = Field(sa_column=Column(JSONB, nullable=False))
    created_at: datetime = _instant()
    updated_at: datetime = _instant()


class AliasRow(SQLModel, table=True):
    """An alias; ``chain`` is a list of ``TargetV1`` as JSON, first the primary."""

    __tablename__ = "ai_model_aliases"

    id: UUID = Field(primary_key=True)
    workspace_id: int = Field(sa_type=BigInteger)
    alias_name: str
    display_name: str
    capability: str
    chain: list[dict[str, Any]] = Field(sa_column=Column(JSONB, nullable=False))
    routing_preference: str
    allow_aggregators: bool
    on_stream_cut: str = "continue"
    funds: str = "own"
    time_limits: dict[str, Any] = Field(sa_column=Column(JSONB, nullable=False))
    is_default: bool = False
    created_at: datetime = _instant()
    updated_at: datetime = _instant()
    deactivated_at: datetime | None = Field(default=None, sa_type=DateTime(timezone=True))


class Store:
    """Reads and writes catalogue and aliases. Raises OmniError ``unavailable`` when the database is away."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def providers(self) -> list[ProviderRow]:
        """The whole catalogue, by id."""
        async with self._database.session(EVERY_WORKSPACE) as session:
            return list((await session.exec(select(ProviderRow).order_by(ProviderRow.id))).all())

    async def add_missing_providers(self, rows: list[ProviderRow]) -> None:
        """Insert the rows whose id is not taken yet."""
        async with self._database.session(EVERY_WORKSPACE) as session:
            values = [row.model_dump() for row in rows]
            await session.exec(insert(ProviderRow).values(values).on_conflict_do_nothing())

    async def aliases(self, workspace_id: int) -> list[AliasRow]:
        """The active aliases of a workspace, by name."""
        query = (
            select(AliasRow)
            .where(AliasRow.workspace_id == workspace_id, col(AliasRow.deactivated_at).is_(None))
            .order_by(AliasRow.alias_name)
        )
        async with self._database.session(workspace_id) as session:
            return list((await session.exec(query)).all())

    async def alias(self, alias_id: UUID, workspace_id: int | None) -> AliasRow | None:
        """One active alias; of any workspace when ``workspace_id`` is None."""
        scope = EVERY_WORKSPACE if workspace_id is None else workspace_id
        async with self._database.session(scope) as session:
            row = await session.get(AliasRow, alias_id)
        if row is None or row.deactivated_at is not None:
            return None
        return row if workspace_id in (None, row.workspace_id) else None

    async def add_alias(self, row: AliasRow) -> None:
        """Insert an alias. Raises OmniError ``conflict`` when the workspace has an active one of that name."""
        with _name_taken(row.alias_name):
            async with self._database.session(row.workspace_id) as session:
                session.add(row)

    async def change_alias(
        self, alias_id: UUID, workspace_id: int, change: Callable[[AliasRow], None]
    ) -> AliasRow | None:
        """Apply ``change`` to an active alias while nobody else can; None when there is none in this workspace.

        Raises OmniError ``conflict`` when its new name is taken.
        """
        with _name_taken(None):
            async with self._database.session(workspace_id) as session:
                row = await session.get(AliasRow, alias_id, with_for_update=True)
                if row is None or row.deactivated_at is not None or row.workspace_id != workspace_id:
                    return None
                change(row)
                session.add(row)
        return row

    async def add_missing_aliases(self, workspace_id: int, rows: list[AliasRow]) -> None:
        """Insert the workspace's default aliases whose name never was a default of it and is not in use."""
        async with self._database.session(workspace_id) as session:
            values = [row.model_dump() for row in rows]
            await session.exec(insert(AliasRow).values(values).on_conflict_do_nothing())


@contextmanager
def _name_taken(alias_name: str | None) -> Iterator[None]:
    try:
        yield
    except IntegrityError:
        extra = {"alias_name": alias_name} if alias_name else {}
        raise OmniError(Code.CONFLICT, "This workspace has an alias of that name.", extra=extra) from None
