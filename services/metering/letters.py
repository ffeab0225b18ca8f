"""Dead letters: seeing them, settling one again by the settler's own code, dismissing one."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal
from uuid import UUID

from psycopg.rows import dict_row

from services.metering import actions, settler
from services.metering.connection import Connection, Raw
from services.metering.domain.intake import Malformed, read_finished
from services.metering.domain.reconcile import Known
from services.metering.domain.settlement import LATE, State, Stray
from services.metering.reconciling import correct
from shared.clock import Clock
from shared.errors import Code, OmniError
from shared.messages.bookkeeping import (
    DeadLettersV1,
    DeadLetterV1,
    DismissDeadLetterV1,
    ListDeadLettersV1,
    ReplayDeadLetterV1,
    ReplayedV1,
)
from shared.messages.custody import ActorV1
from shared.messages.router import CallFinishedV1
from shared.messages.vocabulary import PLATFORM_WORKSPACE, Billing

_COLUMNS = (
    "id, received_at, subject, reason, attempt_id, delivered, length(body) AS size_bytes, resolution, resolved_at"
)
_LIST = f"""
    SELECT {_COLUMNS} FROM dead_letters WHERE (resolved_at IS NOT NULL) = %s AND id < %s ORDER BY id DESC LIMIT %s
"""  # noqa: S608 - the names are this module's own
_TAKE = f"SELECT {_COLUMNS}, body FROM dead_letters WHERE id = %s FOR UPDATE"  # noqa: S608 - likewise
_RESOLVE = f"""
    UPDATE dead_letters SET resolution = %s, resolved_at = %s WHERE id = %s RETURNING {_COLUMNS}
"""  # noqa: S608 - likewise
_LAST = 2**63 - 1
_EXPIRED = f"{LATE} {State.EXPIRED}"
Result = Literal["settled", "reconciled", "repetition", "refused"]


class Letters:
    """Raises OmniError ``not_found``, ``conflict`` (a letter is resolved once), ``unavailable``."""

    def __init__(self, connection: Connection, clock: Clock) -> None:
        self._connection, self._clock = connection, clock

    async def list(self, request: ListDeadLettersV1) -> DeadLettersV1:
        """A page, newest first, without bodies."""

        async def read(raw: Raw) -> list[dict[str, Any]]:
            reader = raw.cursor(row_factory=dict_row)
            await reader.execute(_LIST, (request.resolved, request.before or _LAST, request.limit))
            return await reader.fetchall()

        return DeadLettersV1(items=tuple(_letter(row) for row in await self._connection.run(read)))

    async def replay(self, request: ReplayDeadLetterV1) -> ReplayedV1:
        """Settle it again; what it does, its resolution and who asked for it are committed together."""
        now = self._clock.now()

        async def work(raw: Raw) -> ReplayedV1:
            await raw.execute("BEGIN")
            row = await _take(raw, request.letter_id)
            result, reason = await _settle(raw, row["body"], request.actor, now)
            letter = row if result == "refused" else await _resolve(raw, request.letter_id, "replayed", now)
            facts = {"result": result, "reason": reason, "attempt_id": _text(row["attempt_id"])}
            await _note(raw, "letter.replayed", request.letter_id, request.actor, facts, now)
            await raw.execute("COMMIT")
            return ReplayedV1(letter=_letter({**letter, "reason": reason or letter["reason"]}), result=result)

        try:
            return await self._connection.run(work)
        except settler.WRONG:
            raise OmniError(Code.CONFLICT, "The database still refuses this letter; see metering's log.") from None

    async def dismiss(self, request: DismissDeadLetterV1) -> DeadLetterV1:
        """Put it away."""
        now = self._clock.now()

        async def work(raw: Raw) -> DeadLetterV1:
            await raw.execute("BEGIN")
            row = await _take(raw, request.letter_id)
            letter = await _resolve(raw, request.letter_id, "dismissed", now)
            facts = {"reason": row["reason"], "attempt_id": _text(row["attempt_id"])}
            await _note(raw, "letter.dismissed", request.letter_id, request.actor, facts, now)
            await raw.execute("COMMIT")
            return _letter(letter)

        return await self._connection.run(work)


async def _settle(raw: Raw, body: bytes, actor: ActorV1, now: datetime) -> tuple[Result, str | None]:
    try:
        event = read_finished(bytes(body))
    except Malformed as error:
        return "refused", error.reason
    end = await settler.settle_one(raw, event, now)
    if not isinstance(end, Stray):
        return ("repetition" if end is None else "settled"), None
    known = _known(event)
    if end.reason != _EXPIRED or known is None:
        return "refused", end.reason
    # It came after its hold had expired and been charged at the maximum; the letter knows what it cost.
    try:
        await correct(raw, event.workspace_id, UUID(event.attempt_id), known, actor, "from a dead letter", now)
    except OmniError as error:
        return "refused", f"{end.reason}; {error.detail}"
    return "reconciled", None


def _known(event: CallFinishedV1) -> Known | None:
    if not event.sent or event.billing is Billing.NOTHING:
        return Known(0, 0, 0)
    tokens = event.tokens
    if event.cost_usd_micros is None or tokens.input_tokens is None or tokens.output_tokens is None:
        return None
    return Known(event.cost_usd_micros, tokens.input_tokens, tokens.output_tokens)


async def _take(raw: Raw, letter_id: int) -> dict[str, Any]:
    reader = raw.cursor(row_factory=dict_row)
    await reader.execute(_TAKE, (letter_id,))
    row = await reader.fetchone()
    if row is None:
        raise OmniError(Code.NOT_FOUND, "There is no such dead letter.")
    if row["resolved_at"] is not None:
        raise OmniError(Code.CONFLICT, f"This letter is already {row['resolution']}.")
    return row


async def _resolve(raw: Raw, letter_id: int, how: str, now: datetime) -> dict[str, Any]:
    reader = raw.cursor(row_factory=dict_row)
    await reader.execute(_RESOLVE, (how, now, letter_id))
    row = await reader.fetchone()
    if row is None:
        raise OmniError(Code.NOT_FOUND, "There is no such dead letter.")
    return row


async def _note(
    raw: Raw, action: str, letter_id: int, actor: ActorV1, facts: Mapping[str, str | None], now: datetime
) -> None:
    await actions.note(raw, PLATFORM_WORKSPACE, action, str(letter_id), actor, facts, now)


def _letter(row: Mapping[str, Any]) -> DeadLetterV1:
    shown = {name: row[name] for name in DeadLetterV1.model_fields}
    moments = {name: at and at.astimezone(UTC) for name in ("received_at", "resolved_at") for at in (row[name],)}
    return DeadLetterV1.model_validate(shown | moments | {"attempt_id": _text(row["attempt_id"])})


def _text(attempt: UUID | None) -> str | None:
    return None if attempt is None else str(attempt)
