"""What people did to the books: written in the transaction that does it, and never again."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from sqlmodel import text

from services.metering.connection import Raw
from services.metering.domain import intake
from shared.db import EVERY_WORKSPACE, Database
from shared.messages.bookkeeping import LedgerActionsV1, LedgerActionV1, QueryLedgerActionsV1
from shared.messages.custody import ActorV1

Facts = Mapping[str, str | int | None]
_NOTE = "INSERT INTO ledger_actions (workspace_id, at, action, subject, actor, facts) VALUES (%s, %s, %s, %s, %s, %s)"
_READ = text("""
    SELECT id, workspace_id, at, action, subject, actor, facts FROM ledger_actions
    WHERE workspace_id = :workspace_id AND id < :before ORDER BY id DESC LIMIT :limit
""")
_LAST = 2**63 - 1


async def note(
    raw: Raw, workspace_id: int, action: str, subject: str, actor: ActorV1, facts: Facts, now: datetime
) -> None:
    """Write down that ``actor`` did ``action`` to ``subject``; part of the caller's transaction."""
    await raw.execute(
        _NOTE, (workspace_id, now, action, subject, actor.model_dump_json(), json.dumps(facts, ensure_ascii=False))
    )


class Actions:
    """Reads them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def query(self, request: QueryLedgerActionsV1) -> LedgerActionsV1:
        """A page, newest first. Raises OmniError ``unavailable``."""
        workspace_id = intake.check_key_owner(request.workspace_id)
        scope = workspace_id or EVERY_WORKSPACE
        wanted = {"workspace_id": workspace_id, "before": request.before or _LAST, "limit": request.limit}
        async with self._database.session(scope) as session:
            rows = (await (await session.connection()).execute(_READ, wanted)).mappings().all()
        return LedgerActionsV1(items=tuple(_action(dict(row)) for row in rows))


def _action(row: dict[str, Any]) -> LedgerActionV1:
    told = {
        "at": row["at"].astimezone(UTC),
        "actor": ActorV1.model_validate_json(row["actor"]),
        "facts": json.loads(row["facts"]),
    }
    return LedgerActionV1.model_validate(row | told)
