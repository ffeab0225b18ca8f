"""The tables of webhooks and of what is sent to them, as their owners see and change them."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Column, DateTime, Identity, LargeBinary, Text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlmodel import BigInteger, Field, SQLModel, col, delete, func, select, text, update

from services.api.domain.webhook_secrets import Place
from shared.db import EVERY_WORKSPACE, Database, Scope


def _instant(**how: Any) -> Any:  # noqa: ANN401 - what Field gives
    return Field(sa_type=DateTime(timezone=True), **how)


class WebhookRow(SQLModel, table=True):
    """Where a workspace's events are sent. The secrets are encrypted; the previous one counts ``previous_until``."""

    __tablename__ = "webhooks"

    id: UUID = Field(primary_key=True)
    workspace_id: int = Field(sa_type=BigInteger)
    url: str
    events: list[str] = Field(sa_column=Column(ARRAY(Text), nullable=False))
    secret: bytes = Field(sa_column=Column(LargeBinary, nullable=False), repr=False)
    previous_secret: bytes | None = Field(default=None, sa_column=Column(LargeBinary, nullable=True), repr=False)
    previous_until: datetime | None = _instant(default=None)
    failing_since: datetime | None = _instant(default=None)
    disabled_at: datetime | None = _instant(default=None)
    disabled_why: str | None = None
    created_at: datetime = _instant()
    updated_at: datetime = _instant()

    @property
    def place(self) -> Place:
        """What its secrets are bound to."""
        return Place(self.workspace_id, self.id)


class DeliveryRow(SQLModel, table=True):
    """One event on its way to one webhook."""

    __tablename__ = "webhook_deliveries"

    id: UUID = Field(primary_key=True)
    seq: int | None = Field(default=None, sa_column=Column(BigInteger, Identity()))
    webhook_id: UUID
    workspace_id: int = Field(sa_type=BigInteger)
    event_id: UUID
    type: str
    body: str = Field(repr=False)
    status: str = "pending"
    attempts: int = 0
    next_at: datetime = _instant()
    sending_until: datetime | None = _instant(default=None)
    last_code: int | None = None
    last_trouble: str | None = None
    created_at: datetime = _instant()
    delivered_at: datetime | None = _instant(default=None)


# Idempotent: an alert that is heard again finds its deliveries there.
_ENQUEUE = text(
    """
    INSERT INTO webhook_deliveries (id, webhook_id, workspace_id, event_id, type, body, next_at, created_at)
    SELECT gen_random_uuid(), id, workspace_id, :event_id, :type, :body, :now, :now FROM webhooks
    WHERE workspace_id = :workspace_id AND :type = ANY(events) AND disabled_at IS NULL
    ON CONFLICT (webhook_id, event_id) DO NOTHING
    """
)


class WebhookRows:
    """Raises OmniError ``unavailable`` when the database is away. A scope is a workspace, or all for the platform."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, row: WebhookRow, most: int) -> bool:
        """False when the workspace has ``most`` already. One with the same id is replaced."""
        counted = select(func.count()).where(WebhookRow.workspace_id == row.workspace_id, WebhookRow.id != row.id)
        lock = text("SELECT pg_advisory_xact_lock(hashtextextended('webhooks ' || :workspace, 0))")
        async with self._database.session(row.workspace_id) as session:
            await (await session.connection()).execute(lock, {"workspace": str(row.workspace_id)})
            if (await session.exec(counted)).one() >= most:
                return False
            await session.merge(row)
        return True

    async def webhooks(self, workspace_id: int) -> list[WebhookRow]:
        """A workspace's, oldest first."""
        query = select(WebhookRow).where(WebhookRow.workspace_id == workspace_id)
        async with self._database.session(workspace_id) as session:
            return list((await session.exec(query.order_by(col(WebhookRow.created_at), col(WebhookRow.id)))).all())

    async def change(self, scope: Scope, webhook_id: UUID, change: Callable[[WebhookRow], None]) -> WebhookRow | None:
        """The row after ``change`` under its lock; None when there is none."""
        query = select(WebhookRow).where(WebhookRow.id == webhook_id, *_owned(scope)).with_for_update()
        async with self._database.session(scope) as session:
            row = (await session.exec(query)).first()
            if row is not None:
                change(row)
        return row

    async def find(self, scope: Scope, webhook_id: UUID) -> WebhookRow | None:
        """One of them."""
        async with self._database.session(scope) as session:
            return (await session.exec(select(WebhookRow).where(WebhookRow.id == webhook_id, *_owned(scope)))).first()

    async def remove(self, scope: Scope, webhook_id: UUID) -> bool:
        """With all its deliveries; False when there is none."""
        async with self._database.session(scope) as session:
            query = delete(WebhookRow).where(col(WebhookRow.id) == webhook_id, *_owned(scope))
            return bool((await session.exec(query)).rowcount)

    async def deliveries(self, webhook: WebhookRow, before: int | None, limit: int) -> list[DeliveryRow]:
        """A webhook's, newest first; ``before``: only those with a lower ``seq``."""
        query = select(DeliveryRow).where(
            DeliveryRow.webhook_id == webhook.id, DeliveryRow.workspace_id == webhook.workspace_id
        )
        if before is not None:
            query = query.where(col(DeliveryRow.seq) < before)
        async with self._database.session(webhook.workspace_id) as session:
            ordered = query.order_by(col(DeliveryRow.seq).desc())
            return list((await session.exec(ordered.limit(limit))).all())

    async def add_delivery(self, row: DeliveryRow) -> None:
        """One that nobody has raised an alert for."""
        async with self._database.session(row.workspace_id) as session:
            session.add(row)

    async def replay(self, webhook: WebhookRow, delivery_id: UUID, now: datetime) -> DeliveryRow | None:
        """Begin anew with a delivery, whatever has become of it; None when there is none."""
        query = (
            update(DeliveryRow)
            .where(
                col(DeliveryRow.id) == delivery_id,
                col(DeliveryRow.webhook_id) == webhook.id,
                col(DeliveryRow.workspace_id) == webhook.workspace_id,
            )
            .values(status="pending", attempts=0, next_at=now, sending_until=None, delivered_at=None)
            .returning(DeliveryRow)
        )
        async with self._database.session(webhook.workspace_id) as session:
            found: DeliveryRow | None = (await session.exec(query)).scalar_one_or_none()
        return found

    async def enqueue(self, alerts: Sequence[dict[str, Any]], now: datetime) -> None:
        """Write what every webhook that asks for it gets of ``alerts`` (workspace_id, event_id, type, body)."""
        async with self._database.session(EVERY_WORKSPACE) as session:
            connection = await session.connection()
            for alert in alerts:
                await connection.execute(_ENQUEUE, {**alert, "now": now})


def _owned(scope: Scope) -> list[Any]:
    # The policies say so as well; neither is trusted alone.
    return [] if scope == EVERY_WORKSPACE else [col(WebhookRow.workspace_id) == scope]
