"""Word of keys that have stopped working: written with the verdict, published from there (``shared.outbox``)."""

from datetime import datetime
from uuid import uuid4

from sqlalchemy import text

from services.vault.domain.keys import Key
from services.vault.store import Rows
from shared.messages.alerts import KeyAlertV1

TABLE = "key_alerts"
_RAISE = text(
    """
    INSERT INTO key_alerts (alert_id, workspace_id, key_id, version, body, raised_at)
    VALUES (:alert_id, :workspace_id, :key_id, :version, :body, :raised_at) ON CONFLICT (key_id, version) DO NOTHING
    """
)


async def raise_alert(rows: Rows, key: Key, now: datetime) -> None:
    """Write that this version of ``key`` is refused, unless that is written; part of the caller's transaction."""
    alert = KeyAlertV1(
        alert_id=str(uuid4()),
        workspace_id=key.workspace_id,
        key_id=str(key.id),
        provider=key.provider,
        version=key.version,
        reason=key.status_reason,
        at=now,
    )
    values = {"alert_id": alert.alert_id, "workspace_id": key.workspace_id, "key_id": key.id, "version": key.version}
    connection = await rows.session.connection()
    await connection.execute(_RAISE, values | {"body": alert.model_dump_json(), "raised_at": now})
