"""The edge's tables: workspaces and access tokens."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, DateTime
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import Field, SQLModel, col, func, or_, select, text, update

from services.api.domain.access import Principal, Role
from services.api.domain.rates import Rates
from shared.db import EVERY_WORKSPACE, Database, Scope
from shared.errors import Code, OmniError


def _instant(*, default: Any = ...) -> Any:  # noqa: ANN401 - SQLModel's Field is typed Any
    return Field(default=default, sa_type=DateTime(timezone=True))


class WorkspaceRow(SQLModel, table=True):
    """A customer. ``seeded_at``: when the router gave it the default aliases.

    ``deleted_at``: from then on nobody comes in. ``shredded_at``: when the vault had destroyed its keys.
    """

    __tablename__ = "workspaces"

    id: int | None = Field(default=None, primary_key=True, sa_type=BigInteger)
    name: str
    created_at: datetime = _instant()
    seeded_at: datetime | None = _instant(default=None)
    deleted_at: datetime | None = _instant(default=None)
    shredded_at: datetime | None = _instant(default=None)
    requests_per_minute: int | None = Field(default=None, sa_type=BigInteger)
    tokens_per_minute: int | None = Field(default=None, sa_type=BigInteger)

    @property
    def rates(self) -> Rates:
        """Its limits; None: the deployment's."""
        return Rates(self.requests_per_minute, self.tokens_per_minute)


class TokenRow(SQLModel, table=True):
    """An access token, of which only a keyed hash is kept."""

    __tablename__ = "access_tokens"

    id: UUID = Field(primary_key=True)
    workspace_id: int | None = Field(default=None, sa_type=BigInteger)
    role: str
    name: str
    masked: str
    token_hash: bytes
    created_at: datetime = _instant()
    expires_at: datetime | None = _instant(default=None)
    revoked_at: datetime | None = _instant(default=None)
    requests_per_minute: int | None = Field(default=None, sa_type=BigInteger)
    tokens_per_minute: int | None = Field(default=None, sa_type=BigInteger)

    @property
    def rates(self) -> Rates:
        """Its limits; None: the deployment's."""
        return Rates(self.requests_per_minute, self.tokens_per_minute)


MAX_DRAWS = 100
_NO_WEBHOOKS = text("DELETE FROM webhooks WHERE workspace_id = :workspace_id")
_NO_ANSWERS = text("DELETE FROM idempotent_requests WHERE workspace_id = :workspace_id")


class Store:
    """Raises OmniError ``unavailable`` when the database is away."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def ping(self) -> None:
        """Raises OmniError ``unavailable`` unless the database answers."""
        async with self._database.session(EVERY_WORKSPACE) as session:
            await session.exec(select(1))

    async def principal(self, token_hash: bytes, now: datetime) -> Principal | None:
        """Who a token's hash stands for, None when it is unknown, expired or revoked."""
        query = select(TokenRow).where(
            TokenRow.token_hash == token_hash,
            col(TokenRow.revoked_at).is_(None),
            or_(col(TokenRow.expires_at).is_(None), col(TokenRow.expires_at) > now),
        )
        # Only the token tells the workspace.
        async with self._database.session(EVERY_WORKSPACE) as session:
            row = (await session.exec(query)).first()
        return Principal(Role(row.role), row.workspace_id, str(row.id), row.rates) if row else None

    async def put_token(self, row: TokenRow) -> None:
        """Insert a token, or replace the one with the same id."""
        async with self._database.session(_scope(row.workspace_id)) as session:
            await session.merge(row)

    async def tokens(self, workspace_id: int) -> list[TokenRow]:
        """The workspace's tokens, newest first."""
        query = select(TokenRow).where(TokenRow.workspace_id == workspace_id).order_by(col(TokenRow.created_at).desc())
        async with self._database.session(workspace_id) as session:
            return list((await session.exec(query)).all())

    async def revoke_token(self, token_id: UUID, workspace_id: int | None, now: datetime) -> bool:
        """Revoke a workspace's token (of any workspace when None); False when there is none."""
        query = update(TokenRow).where(col(TokenRow.id) == token_id, col(TokenRow.workspace_id).is_not(None))
        if workspace_id is not None:
            query = query.where(col(TokenRow.workspace_id) == workspace_id)
        async with self._database.session(_scope(workspace_id)) as session:
            result = await session.exec(query.values(revoked_at=now))
        return bool(result.rowcount)

    async def add_workspace(self, workspace_id: int | None, name: str, now: datetime) -> int:
        """Insert a workspace and return its id (None: the next free one). Raises OmniError ``conflict``."""
        given = {} if workspace_id is None else {"id": workspace_id}
        statement = insert(WorkspaceRow).values(**given, name=name, created_at=now).on_conflict_do_nothing()
        async with self._database.session(EVERY_WORKSPACE) as session:
            for _ in range(1 if given else MAX_DRAWS):
                # An id that somebody has chosen is skipped: every try draws the next one.
                created: int | None = (await session.exec(statement.returning(col(WorkspaceRow.id)))).scalar()
                if created is not None:
                    return created
        raise OmniError(Code.CONFLICT, "A workspace with this id exists.")

    async def ensure_workspace(self, workspace_id: int, name: str, now: datetime) -> None:
        """Insert a workspace unless it exists."""
        statement = insert(WorkspaceRow).values(id=workspace_id, name=name, created_at=now).on_conflict_do_nothing()
        async with self._database.session(workspace_id) as session:
            await session.exec(statement)

    async def unseeded(self) -> list[int]:
        """Ids of workspaces that have no default aliases yet."""
        query = select(WorkspaceRow.id).where(
            col(WorkspaceRow.seeded_at).is_(None), col(WorkspaceRow.deleted_at).is_(None)
        )
        async with self._database.session(EVERY_WORKSPACE) as session:
            return [workspace_id for workspace_id in (await session.exec(query)).all() if workspace_id is not None]

    async def workspaces(self) -> list[WorkspaceRow]:
        """Every workspace that has not been deleted, by id."""
        query = select(WorkspaceRow).where(col(WorkspaceRow.deleted_at).is_(None)).order_by(col(WorkspaceRow.id))
        async with self._database.session(EVERY_WORKSPACE) as session:
            return list((await session.exec(query)).all())

    async def every_workspace_id(self) -> list[int]:
        """Ids of all workspaces there ever were."""
        async with self._database.session(EVERY_WORKSPACE) as session:
            found = (await session.exec(select(WorkspaceRow.id).order_by(col(WorkspaceRow.id)))).all()
        return [workspace_id for workspace_id in found if workspace_id is not None]

    async def workspace_rates(self, workspace_id: int) -> Rates | None:
        """The limits of a workspace; None when there is none, or it has been deleted."""
        async with self._database.session(workspace_id) as session:
            row = await session.get(WorkspaceRow, workspace_id)
        return None if row is None or row.deleted_at is not None else row.rates

    async def limit_workspace(self, workspace_id: int, changes: Mapping[str, int | None]) -> None:
        """Change the limits ``changes`` names: ``requests_per_minute``, ``tokens_per_minute``."""
        statement = update(WorkspaceRow).where(col(WorkspaceRow.id) == workspace_id).values(**changes)
        async with self._database.session(workspace_id) as session:
            await session.exec(statement)

    async def change_token(
        self, token_id: UUID, workspace_id: int | None, changes: Mapping[str, int | str | None]
    ) -> TokenRow | None:
        """Change what ``changes`` names of a workspace's token (of any workspace when None); None: there is none."""
        query = select(TokenRow).where(TokenRow.id == token_id, col(TokenRow.workspace_id).is_not(None))
        if workspace_id is not None:
            query = query.where(TokenRow.workspace_id == workspace_id)
        async with self._database.session(_scope(workspace_id)) as session:
            row = (await session.exec(query.with_for_update())).first()
            if row is not None:
                row.sqlmodel_update(dict(changes))
        return row

    async def seeded(self, workspace_id: int, now: datetime) -> None:
        """Note that the workspace has its default aliases."""
        async with self._database.session(workspace_id) as session:
            await session.exec(update(WorkspaceRow).where(col(WorkspaceRow.id) == workspace_id).values(seeded_at=now))

    async def delete_workspace(self, workspace_id: int, now: datetime) -> bool:
        """Close a workspace and revoke its tokens; False when there never was one. A repetition changes nothing."""
        close = (
            update(WorkspaceRow)
            .where(col(WorkspaceRow.id) == workspace_id)
            .values(deleted_at=func.coalesce(col(WorkspaceRow.deleted_at), now))
        )
        revoke = (
            update(TokenRow)
            .where(col(TokenRow.workspace_id) == workspace_id, col(TokenRow.revoked_at).is_(None))
            .values(revoked_at=now)
        )
        async with self._database.session(workspace_id) as session:
            found = bool((await session.exec(close)).rowcount)
            await session.exec(revoke)
            # With their deliveries: nothing of the workspace is sent any more.
            for statement in (_NO_WEBHOOKS, _NO_ANSWERS):
                await (await session.connection()).execute(statement, {"workspace_id": workspace_id})
        return found

    async def unshredded(self) -> list[int]:
        """Ids of deleted workspaces whose keys the vault may not have destroyed yet."""
        query = select(WorkspaceRow.id).where(
            col(WorkspaceRow.deleted_at).is_not(None), col(WorkspaceRow.shredded_at).is_(None)
        )
        async with self._database.session(EVERY_WORKSPACE) as session:
            return [workspace_id for workspace_id in (await session.exec(query)).all() if workspace_id is not None]

    async def shredded(self, workspace_id: int, now: datetime) -> None:
        """Note that the vault has destroyed the workspace's keys."""
        statement = update(WorkspaceRow).where(col(WorkspaceRow.id) == workspace_id).values(shredded_at=now)
        async with self._database.session(workspace_id) as session:
            await session.exec(statement)


def _scope(workspace_id: int | None) -> Scope:
    # Platform tokens belong to no workspace, and a platform admin may name a token of any.
    return EVERY_WORKSPACE if workspace_id is None else workspace_id
