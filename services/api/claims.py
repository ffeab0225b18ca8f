"""Which replica sends what: deliveries are claimed for a while, so that a death over one only delays it.

Of one webhook at most one delivery is under way, the oldest that is due: a slow receiver holds up nobody else, and
events arrive in order as long as all goes well.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from sqlmodel import text

from services.api.domain.webhook_secrets import Place
from services.api.domain.webhooks import Answer, Next
from shared.db import EVERY_WORKSPACE, Database

_CLAIM = text(
    """
    WITH due AS (
        SELECT DISTINCT ON (d.webhook_id) d.id
        FROM webhook_deliveries d JOIN webhooks w ON w.id = d.webhook_id
        WHERE d.status = 'pending' AND d.next_at <= :now AND w.disabled_at IS NULL AND NOT EXISTS (
            SELECT 1 FROM webhook_deliveries o WHERE o.webhook_id = d.webhook_id AND o.sending_until > :now
        )
        ORDER BY d.webhook_id, d.seq
    ), picked AS (
        SELECT d.id FROM webhook_deliveries d JOIN due USING (id)
        WHERE d.status = 'pending' AND d.next_at <= :now
        ORDER BY d.next_at LIMIT :most FOR UPDATE OF d SKIP LOCKED
    )
    UPDATE webhook_deliveries d SET attempts = d.attempts + 1, next_at = :until, sending_until = :until
    FROM picked, webhooks w WHERE d.id = picked.id AND w.id = d.webhook_id
    RETURNING d.id, d.webhook_id, d.workspace_id, d.event_id, d.type, d.body, d.attempts, d.sending_until,
        w.url, w.secret, w.previous_secret, w.previous_until, w.failing_since
    """
)
# Only who still holds the claim may say how it ended: it may have been replayed, or claimed by another.
_NOTE = text(
    """
    UPDATE webhook_deliveries SET status = :status, next_at = coalesce(:next_at, next_at), sending_until = NULL,
        last_code = :code, last_trouble = :trouble,
        delivered_at = CASE WHEN :status = 'delivered' THEN CAST(:now AS timestamptz) END
    WHERE id = :id AND sending_until = :until
    """
)
_REACHED = text("UPDATE webhooks SET failing_since = NULL WHERE id = :webhook_id AND failing_since IS NOT NULL")
_FAILED = text(
    """
    UPDATE webhooks SET failing_since = coalesce(failing_since, :now),
        disabled_at = CASE WHEN CAST(:why AS text) IS NULL THEN NULL ELSE CAST(:now AS timestamptz) END,
        disabled_why = CAST(:why AS text)
    WHERE id = :webhook_id AND disabled_at IS NULL
    """
)
_PURGE = text("DELETE FROM webhook_deliveries WHERE created_at < :before")


@dataclass(frozen=True)
class Claim:
    """A delivery that is this replica's until ``sending_until``, and where it goes."""

    id: UUID
    webhook_id: UUID
    workspace_id: int
    event_id: UUID
    type: str
    body: str = field(repr=False)
    attempts: int
    sending_until: datetime
    url: str = field(repr=False)
    secret: bytes = field(repr=False)
    previous_secret: bytes | None = field(repr=False)
    previous_until: datetime | None
    failing_since: datetime | None

    @property
    def place(self) -> Place:
        """What the secrets are bound to."""
        return Place(self.workspace_id, self.webhook_id)


class Claims:
    """Raises OmniError ``unavailable`` when the database is away."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def claim(self, now: datetime, until: datetime, most: int) -> Sequence[Claim]:
        """Up to ``most`` deliveries that are due, each of another webhook, counted as begun."""
        async with self._database.session(EVERY_WORKSPACE) as session:
            rows = await (await session.connection()).execute(_CLAIM, {"now": now, "until": until, "most": most})
            return [Claim(**row) for row in rows.mappings()]

    async def note(self, claim: Claim, answer: Answer, then: Next, now: datetime, next_at: datetime | None) -> None:
        """Write down how an attempt has ended, and what follows for its webhook."""
        ended = {
            "id": claim.id, "until": claim.sending_until, "status": then.status, "next_at": next_at,
            "code": answer.code, "trouble": answer.trouble, "now": now,
        }  # fmt: skip
        webhook = {"webhook_id": claim.webhook_id}
        async with self._database.session(EVERY_WORKSPACE) as session:
            connection = await session.connection()
            if not (await connection.execute(_NOTE, ended)).rowcount:
                return
            if answer.is_taken:
                await connection.execute(_REACHED, webhook)
            else:
                await connection.execute(_FAILED, webhook | {"now": now, "why": then.disable})

    async def purge(self, before: datetime) -> None:
        """Forget deliveries that were made before then."""
        async with self._database.session(EVERY_WORKSPACE) as session:
            await (await session.connection()).execute(_PURGE, {"before": before})
