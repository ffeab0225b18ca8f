"""SQL of metering's queries; budgets are in ``budgets``, the path of calls in ``granting`` and ``postings``."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlmodel import text

from services.metering.domain.cursor import Place
from services.metering.postings import CALL_COLUMNS
from shared.db import EVERY_WORKSPACE, Database
from shared.messages.vocabulary import Outcome

_CALLS = f"SELECT {', '.join(CALL_COLUMNS)} FROM ai_call_logs WHERE workspace_id = :workspace_id"  # noqa: S608
_CALL_CONDITIONS = {
    "since": "started_at >= :since",
    "until": "started_at < :until",
    "provider": "provider = :provider",
    "alias_name": "alias_name = :alias_name",
    "model": "model = :model",
    "key_id": "key_id = :key_id",
    "call_id": "call_id = :call_id",
    "outcome": "outcome = :outcome",
    "before": "(started_at, attempt_id) < (:before_at, :before_id)",
}


@dataclass(frozen=True, slots=True)
class CallFilter:
    """Which rows of the call log; None leaves a condition out. ``before``: only rows older than this place."""

    workspace_id: int
    since: datetime | None = None
    until: datetime | None = None
    provider: str | None = None
    alias_name: str | None = None
    model: str | None = None
    key_id: UUID | None = None
    call_id: str | None = None
    outcome: str | None = None
    before: Place | None = None


class Store:
    """Every method raises OmniError ``unavailable`` when the database is away."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def ping(self) -> None:
        """Return when the database answers."""
        async with self._database.session(EVERY_WORKSPACE) as session:
            await (await session.connection()).execute(text("SELECT 1"))

    async def calls(self, wanted: CallFilter, limit: int) -> Sequence[Mapping[str, Any]]:
        """At most ``limit`` rows of the call log, newest first."""
        parameters = {name: value for name, value in asdict(wanted).items() if value is not None}
        conditions = [condition for name, condition in _CALL_CONDITIONS.items() if name in parameters]
        if wanted.outcome not in (None, Outcome.SUCCESS):
            # Said in so many words it finds the index of the few.
            conditions.append("outcome <> 'success'")
        if wanted.before is not None:
            parameters["before_at"], parameters["before_id"] = parameters.pop("before")
        statement = " AND ".join([_CALLS, *conditions]) + " ORDER BY started_at DESC, attempt_id DESC LIMIT :limit"
        return await self._rows(wanted.workspace_id, text(statement), parameters | {"limit": limit})

    async def _rows(
        self,
        workspace_id: int,
        statement: Any,  # noqa: ANN401 - a text clause, which SQLModel does not re-export
        parameters: Mapping[str, object],
    ) -> Sequence[Mapping[str, Any]]:
        async with self._database.session(workspace_id) as session:
            result = await (await session.connection()).execute(statement, parameters)
            return [dict(row) for row in result.mappings()]
