"""The key audit: one chain a workspace, written in the same transaction as what it tells of.

Write an entry last in its transaction: the chain's head stays locked until the end, and locks are taken in the
order keys, then head.
"""

from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import ValidationError
from sqlalchemy import BigInteger, Column, DateTime, LargeBinary, event
from sqlalchemy.dialects.postgresql import JSONB, insert
from sqlmodel import Field, SQLModel, col, select, update
from sqlmodel.ext.asyncio.session import AsyncSession

from services.vault.domain.audit import GENESIS, Break, Entry, Head, Link, Walk
from services.vault.domain.keys import parse_key_id
from services.vault.store import Rows, Store
from shared import logs
from shared.clock import Clock
from shared.errors import unavailable
from shared.messages.custody import (
    ActorV1,
    AuditEntryV1,
    AuditV1,
    AuditVerdictV1,
    QueryAuditV1,
    VerifyAuditV1,
)
from shared.telemetry import current_trace_id

PAGE = 200


class LinkRow(SQLModel, table=True):
    """One entry; the table only ever grows (``domain.audit.Link``)."""

    __tablename__ = "key_audit"

    workspace_id: int = Field(primary_key=True, sa_type=BigInteger)
    seq: int = Field(primary_key=True, sa_type=BigInteger)
    at: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False))
    action: str
    key_id: UUID | None = None
    actor: Any = Field(sa_column=Column(JSONB, nullable=False))
    trace_id: str | None = None
    facts: Any = Field(sa_column=Column(JSONB, nullable=False))
    previous: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    hash: bytes = Field(sa_column=Column(LargeBinary, nullable=False))


class HeadRow(SQLModel, table=True):
    """Where a chain ends (``domain.audit.Head``); locked while an entry is added."""

    __tablename__ = "audit_heads"

    workspace_id: int = Field(primary_key=True, sa_type=BigInteger)
    seq: int = Field(sa_type=BigInteger)
    hash: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    seal: bytes = Field(sa_column=Column(LargeBinary, nullable=False))


class Audit:
    """Writes, reads and verifies chains."""

    def __init__(self, auditing: bytes, store: Store, clock: Clock) -> None:
        """``auditing``: the 32 bytes of ``VaultIdentity.auditing``."""
        self._auditing, self._store, self._clock = auditing, store, clock
        self._log = logs.get()

    async def write(self, rows: Rows, entry: Entry) -> None:
        """Add ``entry`` to its workspace's chain, in the transaction of ``rows``: both are committed or neither."""
        session = rows.session
        before = await _locked_head(session, entry.workspace_id)
        link = Link(
            workspace_id=entry.workspace_id,
            seq=before.seq + 1,
            at=self._clock.now(),
            action=entry.action.value,
            key_id=entry.key_id,
            actor=entry.actor.model_dump(),
            trace_id=current_trace_id(),
            facts=dict(entry.facts),
            previous=before.hash,
        )
        hashed = link.computed(self._auditing)
        head = Head(entry.workspace_id, link.seq, hashed)
        ours = col(HeadRow.workspace_id) == entry.workspace_id
        await session.exec(insert(LinkRow).values(**vars(link) | {"hash": hashed}))
        moved = {"seq": head.seq, "hash": hashed, "seal": head.computed(self._auditing)}
        await session.exec(update(HeadRow).where(ours).values(**moved))
        # Said only once it is true: a log that is kept elsewhere witnesses what the chain's end has been.
        event.listen(session.sync_session, "after_commit", lambda _: self._committed(head), once=True)

    async def query(self, request: QueryAuditV1) -> AuditV1:
        """A page of a workspace's audit, newest first."""
        statement = select(LinkRow).where(LinkRow.workspace_id == request.workspace_id)
        if request.key_id is not None:
            statement = statement.where(LinkRow.key_id == parse_key_id(request.key_id))
        if request.before is not None:
            statement = statement.where(LinkRow.seq < request.before)
        newest = statement.order_by(col(LinkRow.seq).desc()).limit(request.limit + 1)
        async with self._store.transaction(request.workspace_id) as rows:
            found = (await rows.session.exec(newest)).all()
        shown, more = found[: request.limit], len(found) > request.limit
        return AuditV1(items=tuple(map(_public, shown)), next_before=shown[-1].seq if more else None)

    async def verify(self, request: VerifyAuditV1) -> AuditVerdictV1:
        """Recompute a workspace's chain from its first entry, a page at a time."""
        walk = Walk(request.workspace_id, self._auditing)
        broken: Break | None = None
        more = True
        while more and broken is None:
            head, page = await self._page(request.workspace_id, walk.seq)
            broken = next((found for link in page if (found := walk.step(link))), None)
            more = len(page) == PAGE
            if broken is None and not more:
                broken = walk.end(head)
        return AuditVerdictV1(
            workspace_id=request.workspace_id,
            entries=walk.seq,
            intact=broken is None,
            head=walk.hash.hex() if walk.seq else None,
            broken_at=broken.seq if broken else None,
            fault=broken.fault if broken else None,
        )

    async def _page(self, workspace_id: int, after: int) -> tuple[Head | None, list[Link]]:
        mine = select(HeadRow).where(HeadRow.workspace_id == workspace_id)
        entries = select(LinkRow).where(LinkRow.workspace_id == workspace_id, LinkRow.seq > after)
        async with self._store.transaction(workspace_id) as rows:
            # The lock keeps the chain from growing between the two reads.
            head = (await rows.session.exec(mine.with_for_update(read=True))).first()
            page = (await rows.session.exec(entries.order_by(col(LinkRow.seq)).limit(PAGE))).all()
        return _head(head) if head else None, [_link(row) for row in page]

    def _committed(self, head: Head) -> None:
        self._log.info("audited", workspace_id=head.workspace_id, seq=head.seq, hash=head.hash.hex())


async def _locked_head(session: AsyncSession, workspace_id: int) -> Head:
    locked = select(HeadRow).where(HeadRow.workspace_id == workspace_id).with_for_update()
    row = (await session.exec(locked)).first()
    if row is None:
        first = insert(HeadRow).values(workspace_id=workspace_id, seq=0, hash=GENESIS, seal=GENESIS)
        await session.exec(first.on_conflict_do_nothing(index_elements=["workspace_id"]))
        row = (await session.exec(locked)).one()
    return _head(row)


def _head(row: HeadRow) -> Head:
    return Head(row.workspace_id, row.seq, row.hash, row.seal)


def _link(row: LinkRow) -> Link:
    return Link(**row.model_dump())


def _public(row: LinkRow) -> AuditEntryV1:
    try:
        actor = ActorV1.model_validate(row.actor)
        return AuditEntryV1.model_validate(
            row.model_dump()
            | {
                "key_id": str(row.key_id) if row.key_id else None,
                "actor": actor,
                "previous": row.previous.hex(),
                "hash": row.hash.hex(),
            }
        )
    except ValidationError:
        raise unavailable("This audit has been tampered with; verify it to see where.", seq=row.seq) from None
