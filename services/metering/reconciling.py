"""Unknown outcomes: which there are, and putting what they really cost in the place of the maximum they were charged.

Locks as ``postings`` does: the reservation, the log's row, the rollup, the budgets.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from psycopg.rows import args_row, dict_row

from services.metering import accounts, actions, postings, published, rollups
from services.metering.connection import Connection, Raw
from services.metering.domain import cursor, intake, reconcile
from services.metering.domain.ledger import Amounts, owners_of
from services.metering.domain.reconcile import Correction, Known
from services.metering.domain.settlement import Reservation
from shared.clock import Clock
from shared.db import EVERY_WORKSPACE
from shared.errors import Code, OmniError, not_found
from shared.messages.bookkeeping import QueryUnknownV1, ReconcileAttemptV1
from shared.messages.custody import ActorV1
from shared.messages.usage import CallsV1, CallV1
from shared.messages.vocabulary import Funds

PLATFORM_ADMIN = "platform_admin"

_COLUMNS = ", ".join(postings.CALL_COLUMNS)
_UNKNOWN = "billing <> 'nothing' AND (cost_usd_micros IS NULL OR input_tokens IS NULL OR output_tokens IS NULL)"
_PAGE = f"""
    SELECT {_COLUMNS} FROM ai_call_logs WHERE workspace_id = %(workspace_id)s AND {_UNKNOWN}
        AND (%(at)s::timestamptz IS NULL OR (started_at, attempt_id) < (%(at)s, %(id)s::uuid))
    ORDER BY started_at DESC, attempt_id DESC LIMIT %(limit)s
"""  # noqa: S608 - the names are this module's own
_OPEN = f"""
    SELECT {_COLUMNS} FROM ai_call_logs WHERE workspace_id = %s AND attempt_id = %s AND {_UNKNOWN} FOR UPDATE
"""  # noqa: S608 - the names are this module's own
_DONE = f"""
    SELECT {", ".join(f"l.{name}" for name in postings.CALL_COLUMNS)} FROM reconciled_attempts r
    JOIN ai_call_logs l ON l.started_at = r.started_at AND l.attempt_id = r.attempt_id
    WHERE r.workspace_id = %s AND r.attempt_id = %s
"""  # noqa: S608 - the names are this module's own
_RESERVATION = postings.SELECT_RESERVATIONS + "workspace_id = %s AND attempt_id = %s FOR UPDATE"
_WRITE = f"""
    UPDATE ai_call_logs SET billing = 'cost', cost_usd_micros = %s, input_tokens = %s, output_tokens = %s,
        charged_usd_micros = %s
    WHERE started_at = %s AND attempt_id = %s RETURNING {_COLUMNS}
"""  # noqa: S608 - the names are this module's own
_REMEMBER = """
    INSERT INTO reconciled_attempts (attempt_id, workspace_id, started_at, at, charged_before_usd_micros,
        charged_before_tokens, cost_usd_micros, input_tokens, output_tokens)
    VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)
"""
_MOVE = """
    UPDATE budget_periods SET spent_usd_micros = spent_usd_micros + %s, spent_tokens = spent_tokens + %s
    WHERE budget_id = ANY(%s) AND (span, period_start) IN (('month', %s), ('day', %s)) RETURNING span
"""
_SCOPE = "SELECT set_config('omnipost.workspace', %s, true)"


class Reconciliation:
    """Raises OmniError as ``ReconcileAttemptV1`` says, and ``unavailable``."""

    def __init__(self, connection: Connection, clock: Clock) -> None:
        self._connection, self._clock = connection, clock

    async def unknown(self, request: QueryUnknownV1) -> CallsV1:
        """A page of the attempts that were charged without their cost being known."""
        workspace_id = intake.check_workspace(request.workspace_id)
        before = None if request.cursor is None else cursor.decode(request.cursor)
        wanted: dict[str, Any] = {"workspace_id": workspace_id, "limit": request.limit + 1}
        wanted |= {"at": None, "id": None} if before is None else {"at": before[0], "id": before[1]}
        rows = await self._connection.run(lambda raw: _page(raw, wanted))
        page = rows[: request.limit]
        last = cursor.encode((page[-1]["started_at"], page[-1]["attempt_id"])) if len(rows) > len(page) else None
        return CallsV1(items=tuple(published.call(row) for row in page), next_cursor=last)

    async def reconcile(self, request: ReconcileAttemptV1) -> CallV1:
        """Correct one attempt, once; committed when this returns."""
        workspace_id = intake.check_workspace(request.workspace_id)
        attempt = intake.uuid_of(request.attempt_id, "attempt_id")
        for name in ("cost_usd_micros", "input_tokens", "output_tokens"):
            intake.check_amount(getattr(request, name), name)
        known = Known(request.cost_usd_micros, request.input_tokens, request.output_tokens)
        note, actor = intake.check_text(request.note, "note"), request.actor
        now = self._clock.now()

        async def work(raw: Raw) -> Mapping[str, Any]:
            await raw.execute("BEGIN")
            await raw.execute(_SCOPE, (str(workspace_id),))
            row = await correct(raw, workspace_id, attempt, known, actor, note, now)
            await raw.execute("COMMIT")
            return row

        return published.call(await self._connection.run(work))


async def correct(
    raw: Raw, workspace_id: int, attempt: UUID, known: Known, actor: ActorV1, note: str, now: datetime
) -> Mapping[str, Any]:
    """Do it in the caller's transaction; the row as it is then. Raises OmniError, and ``postings.Drift``."""
    reservation = await _one(raw, args_row(Reservation), _RESERVATION, workspace_id, attempt)
    done = await _one(raw, dict_row, _DONE, workspace_id, attempt)
    if done is not None:
        return _same(done, known)
    row = await _one(raw, dict_row, _OPEN, workspace_id, attempt)
    if reservation is None:
        # Its tokens cannot be corrected any more: nobody knows how many were held.
        raise not_found("attempt that can still be reconciled")
    if row is None:
        raise OmniError(Code.CONFLICT, "This attempt has not ended yet, or what it cost is known.")
    if reservation.funds == Funds.PLATFORM and actor.role != PLATFORM_ADMIN:
        raise OmniError(Code.FORBIDDEN, "Only a platform admin may reconcile what was paid with platform credits.")
    correction = reconcile.correct(row, reservation.tokens, known)
    key = (row["started_at"], attempt)
    figures = (known.cost_usd_micros, known.input_tokens, known.output_tokens)
    fresh: Mapping[str, Any] | None = await _one(raw, dict_row, _WRITE, *figures, known.cost_usd_micros, *key)
    before = (correction.before.usd_micros, correction.before.tokens)
    await raw.execute(_REMEMBER, (attempt, workspace_id, row["started_at"], now, *before, *figures))
    if fresh is None or not await rollups.correct(raw, row, correction.sums):
        raise postings.Drift
    facts = dict(zip(("cost_usd_micros", "input_tokens", "output_tokens"), figures, strict=True))
    facts |= {"charged_before_usd_micros": before[0]}
    await actions.note(
        raw, workspace_id, "attempt.reconciled", str(attempt), actor, {**facts, "note": note or None}, now
    )
    await _move(raw, reservation, correction)
    return fresh


def _same(done: Mapping[str, Any], known: Known) -> Mapping[str, Any]:
    if Known(done["cost_usd_micros"], done["input_tokens"], done["output_tokens"]) != known:
        raise OmniError(Code.CONFLICT, "This attempt has been reconciled with other figures.")
    return done


async def _move(raw: Raw, reservation: Reservation, correction: Correction) -> None:
    # The platform's key belongs to no workspace's scope.
    await raw.execute(_SCOPE, (EVERY_WORKSPACE,))
    owners = owners_of(reservation.workspace_id, reservation.key_id, Funds(reservation.funds))
    budgets = [account.budget_id for account in (await (await accounts.lock(raw, owners)).read()).values()]
    change: Amounts = correction.balance
    moved = await raw.execute(
        _MOVE, (change.usd_micros, change.tokens, budgets, reservation.period_start, reservation.day)
    )
    months = [row for row in await moved.fetchall() if row[0] == "month"]
    if len(months) != len(owners):
        raise postings.Drift


async def _page(raw: Raw, wanted: Mapping[str, Any]) -> list[dict[str, Any]]:
    async with raw.transaction():
        await raw.execute(_SCOPE, (str(wanted["workspace_id"]),))
        reader = raw.cursor(row_factory=dict_row)
        await reader.execute(_PAGE, wanted)
        return [{**row, "started_at": row["started_at"].astimezone(UTC)} for row in await reader.fetchall()]


async def _one(raw: Raw, factory: Any, statement: Any, *values: object) -> Any:  # noqa: ANN401 - rows of any shape
    reader = raw.cursor(row_factory=factory)
    await reader.execute(statement, values)
    return await reader.fetchone()
