"""Writing the end of reservations: state, balances, call log and rollups move together in the caller's transaction.

Order of locks: reservations (taken by the caller), rollups by key, budgets by id. The hot budget rows come last, so
that reservations wait for them no longer than the final round trips.
"""

from collections.abc import Iterable, Sequence
from datetime import date, datetime
from uuid import UUID

from psycopg.rows import class_row
from pydantic_core import to_json

from services.metering import accounts, consequences, rollups
from services.metering.accounts import BALANCE_COLUMNS, BalanceRow
from services.metering.connection import Raw
from services.metering.domain.ledger import NOTHING, Account, Amounts, Owner, Span, owners_of
from services.metering.domain.settlement import Call, Reservation, Settlement
from shared.messages.usage import CallV1
from shared.messages.vocabulary import Funds

SELECT_RESERVATIONS = f"SELECT {', '.join(Reservation._fields)} FROM reservations WHERE "  # noqa: S608 - its own names
CALL_COLUMNS = tuple(CallV1.model_fields)

# There is no COPY into a table with row-level security. JSON comes next: the table itself says the columns' types.
_LOG = f"""
    INSERT INTO ai_call_logs ({", ".join(CALL_COLUMNS)})
    SELECT {", ".join(CALL_COLUMNS)} FROM json_populate_recordset(NULL::ai_call_logs, %s)
"""  # noqa: S608 - the names are this module's own
_FINISH = """
    UPDATE reservations r SET state = a.state, finished_at = %s
    FROM unnest(%s::uuid[], %s::text[]) AS a (attempt_id, state)
    WHERE r.attempt_id = a.attempt_id AND r.state = 'held'
"""
_MOVE = f"""
    UPDATE budget_periods p SET
        held_usd_micros = p.held_usd_micros - a.less_usd_micros,
        held_tokens = p.held_tokens - a.less_tokens,
        held_requests = p.held_requests - a.less_requests,
        spent_usd_micros = p.spent_usd_micros + a.more_usd_micros,
        spent_tokens = p.spent_tokens + a.more_tokens,
        spent_requests = p.spent_requests + a.more_requests
    FROM unnest(%s::bigint[], %s::text[], %s::date[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[],
        %s::bigint[], %s::bigint[]) AS a (of_budget, of_span, of_period, less_usd_micros, less_tokens, less_requests,
        more_usd_micros, more_tokens, more_requests)
    WHERE p.budget_id = a.of_budget AND p.span = a.of_span AND p.period_start = a.of_period
    RETURNING {BALANCE_COLUMNS}
"""  # noqa: S608 - the names are this module's own


class Drift(Exception):  # noqa: N818 - a finding about the ledger, not a kind of input error
    """The ledger's tables contradict each other: nothing is written, a person must look."""


async def post(raw: Raw, settlements: Sequence[Settlement], now: datetime) -> None:
    """Write ``settlements`` of reservations that are held and locked. Raises Drift."""
    if not settlements:
        return
    calls = [settlement.call for settlement in settlements if settlement.call is not None]
    moves = _moves(settlements)
    async with raw.pipeline():
        finished = await raw.execute(
            _FINISH,
            (now, array(end.reservation.attempt_id for end in settlements), array(end.state for end in settlements)),
        )
        if calls:
            await raw.execute(_LOG, (_json(calls),))
            await rollups.post(raw, calls)
        locked = await (await accounts.lock(raw, {owner for owner, _, _ in moves})).read()
        moved = raw.cursor(row_factory=class_row(BalanceRow))
        await moved.execute(_MOVE, _columns(moves, locked))
        balances = await moved.fetchall()
        if finished.rowcount != len(settlements) or len(balances) != len(moves):
            raise Drift
        await consequences.follow(raw, settlements, _standing(locked, balances, now), now)


def array(items: Iterable[object]) -> str:
    """An array of what needs no quotes (ids, words) as PostgreSQL reads it: psycopg takes longer over a list."""
    return f"{{{','.join(map(str, items))}}}"


def _json(calls: Iterable[Call]) -> str:
    # A column that is not named is null; naming them all would double what there is to parse.
    return to_json([call._asdict() for call in calls], exclude_none=True).decode()


_Moves = dict[tuple[Owner, Span, date], tuple[Amounts, Amounts]]


def _moves(settlements: Sequence[Settlement]) -> _Moves:
    moves: _Moves = {}
    for (workspace_id, key_id, funds, period, day), sums in _sums(settlements).items():
        held, spent = Amounts(*sums[:3]), Amounts(*sums[3:])
        windows: tuple[tuple[Span, date], ...] = (("month", period), ("day", day))
        for owner in owners_of(workspace_id, key_id, Funds(funds)):
            for window in windows:
                held_before, spent_before = moves.get((owner, *window), (NOTHING, NOTHING))
                moves[owner, *window] = held_before + held, spent_before + spent
    return moves


def _sums(settlements: Sequence[Settlement]) -> dict[tuple[int, UUID, str, date, date], list[int]]:
    """What was held and what is charged, for calls with the same key in the same windows."""
    sums: dict[tuple[int, UUID, str, date, date], list[int]] = {}
    for held, _, charged, _ in settlements:
        place = (held.workspace_id, held.key_id, held.funds, held.period_start, held.day)
        before = sums.get(place)
        if before is None:
            before = sums[place] = [0] * 6
        before[0] += held.usd_micros or 0
        before[1] += held.tokens
        before[2] += held.requests
        before[3] += charged.usd_micros
        before[4] += charged.tokens
        before[5] += charged.requests
    return sums


def _columns(moves: _Moves, locked: dict[Owner, Account]) -> tuple[list[object], ...]:
    rows = [
        (
            locked[owner].budget_id if owner in locked else None, span, period,
            held.usd_micros, held.tokens, held.requests, spent.usd_micros, spent.tokens, spent.requests,
        )
        for (owner, span, period), (held, spent) in moves.items()
    ]  # fmt: skip
    return tuple(list(column) for column in zip(*rows, strict=True))


def _standing(locked: dict[Owner, Account], balances: Sequence[BalanceRow], now: datetime) -> dict[Owner, Account]:
    # What was reserved before midnight moves yesterday's balance, which says nothing about today's level.
    current = accounts.periods_of(now)
    balances = [balance for balance in balances if balance.period_start == current[balance.span]]
    by_id = {account.budget_id: account for account in locked.values()}
    return {account.owner: account for account in accounts.with_balances(by_id, balances).values()}
