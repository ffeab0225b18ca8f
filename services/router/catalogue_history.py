"""The catalogue as an admin changes it: the provider's row and the record of the change, in one transaction."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Column, DateTime
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.exc import IntegrityError
from sqlmodel import Field, SQLModel, col, func, select, text
from sqlmodel.ext.asyncio.session import AsyncSession

from services.router.store import ProviderRow
from shared.db import EVERY_WORKSPACE, Database
from shared.errors import Code, OmniError
from shared.messages.catalogue_audit import CatalogueChangesV1, CatalogueChangeV1
from shared.messages.custody import ActorV1

Change = Callable[[ProviderRow, int], None]
"""Changes a row for the given version of the catalogue."""

# Versions have no gaps: one change at a time takes the next number.
_ONE_AT_A_TIME = text("SELECT pg_advisory_xact_lock(hashtext('omnipost.catalogue'))")
_FIELDS = ("name", "base_url", "region", "simulated")


class ChangeRow(SQLModel, table=True):
    """One change; see ``CatalogueChangeV1``."""

    __tablename__ = "ai_catalogue_changes"

    version: int = Field(primary_key=True, sa_type=BigInteger)
    at: datetime = Field(sa_type=DateTime(timezone=True))
    actor: dict[str, Any] | None = Field(sa_column=Column(JSONB(none_as_null=True), nullable=True))
    provider: str
    before: dict[str, Any] | None = Field(sa_column=Column(JSONB(none_as_null=True), nullable=True))
    after: dict[str, Any] = Field(sa_column=Column(JSONB, nullable=False))


class History:
    """Writes and reads changes. Raises OmniError ``unavailable`` when the database is away."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def version(self) -> int:
        """Of the last change; 0 before the first."""
        async with self._database.session(EVERY_WORKSPACE) as session:
            return await _newest(session)

    async def add(self, row: ProviderRow, change: Change, actor: ActorV1 | None) -> None:
        """Insert a provider. Raises OmniError ``conflict`` when its id is taken."""
        try:
            async with self._database.session(EVERY_WORKSPACE) as session:
                version = await _next(session)
                change(row, version)
                session.add(row)
                session.add(_record(version, row, None, actor))
        except IntegrityError:
            raise OmniError(Code.CONFLICT, "A provider with this id exists; change it with PUT.") from None

    async def change(self, provider_id: str, change: Change, actor: ActorV1 | None) -> ProviderRow | None:
        """Apply ``change`` to a provider while nobody else can; None when there is none.

        A change that leaves everything as it was is not recorded.
        """
        async with self._database.session(EVERY_WORKSPACE) as session:
            version = await _next(session)
            row = await session.get(ProviderRow, provider_id, with_for_update=True)
            if row is None:
                return None
            before = _facts(row)
            change(row, version)
            session.add(row)
            if _facts(row) != before:
                session.add(_record(version, row, before, actor))
        return row

    async def page(self, before: int | None, limit: int) -> CatalogueChangesV1:
        """Changes, newest first."""
        query = select(ChangeRow).order_by(col(ChangeRow.version).desc()).limit(limit + 1)
        if before is not None:
            query = query.where(ChangeRow.version < before)
        async with self._database.session(EVERY_WORKSPACE) as session:
            rows = list((await session.exec(query)).all())
        items = tuple(CatalogueChangeV1.model_validate(row.model_dump()) for row in rows[:limit])
        return CatalogueChangesV1(items=items, next_before=items[-1].version if len(rows) > limit else None)


async def _newest(session: AsyncSession) -> int:
    return (await session.exec(select(func.max(ChangeRow.version)))).one() or 0


async def _next(session: AsyncSession) -> int:
    await (await session.connection()).execute(_ONE_AT_A_TIME)
    return await _newest(session) + 1


def _facts(row: ProviderRow) -> dict[str, Any]:
    return {name: getattr(row, name) for name in _FIELDS} | {"models": {model["id"]: model for model in row.models}}


def _record(version: int, row: ProviderRow, before: dict[str, Any] | None, actor: ActorV1 | None) -> ChangeRow:
    was, now = differences(before, _facts(row))
    return ChangeRow(
        version=version,
        at=row.updated_at,
        actor=None if actor is None else actor.model_dump(),
        provider=row.id,
        before=was,
        after=now,
    )


def differences(before: dict[str, Any] | None, after: dict[str, Any]) -> tuple[dict[str, Any] | None, dict[str, Any]]:
    """The fields that differ, as they were and as they are; of ``models`` those that differ."""
    if before is None:
        return None, after
    was: dict[str, Any] = {}
    now: dict[str, Any] = {}
    for name, value in after.items():
        old = before.get(name)
        if old == value:
            continue
        if name == "models":
            changed = {id_: model for id_, model in value.items() if old is None or old.get(id_) != model}
            was[name], now[name] = {id_: (old or {}).get(id_) for id_ in changed}, changed
        else:
            was[name], now[name] = old, value
    return was, now
