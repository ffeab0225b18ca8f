"""Writing the end of reservations: state, balances, call log and rollups move together in the caller's transaction.

Order of locks: reservations (taken by the caller), rollups by key, budgets by id. The hot budget rows come last, so
that reservations wait for them no longer than the final round trips.
"""

from collections.abc import Sequence
from datetime import date, datetime

from psycopg.rows import class_row
from pydantic import TypeAdapter

from services.metering import accounts, consequences, rollups
from services.metering.accounts import BALANCE_COLUMNS, BalanceRow
from services.metering.connection import Raw
from services.metering.domain.ledger import NOTHING, Account, Amounts, Owner, Span, owners_of
from services.metering.domain.settlement import Call, Settlement
from shared.messages.usage import CallV1
from shared.messages.vocabulary import Funds

SELECT_RESERVATIONS = (
    "SELECT attempt_id, call_id, workspace_id, key_id, provider, model, alias_name, capability, attempt_index, "
    "trace_id, usd_micros, tokens, requests, state, period_start, created_at, funds "
    "FROM reservations WHERE "
)
CALL_COLUMNS = tuple(CallV1.model_fields)

# There is no COPY into a table with row-level security. JSON comes next: the table itself says the columns' types.
_LOG = f"""
    INSERT INTO ai_call_logs ({", ".join(CALL_COLUMNS)})
    SELECT {", ".join(CALL_COLUMNS)} FROM json_populate_recordset(NULL::ai_call_logs, %s)
"""  # noqa: S608 - the names are this module's own
_CALLS = TypeAdapter(list[Call])
_FINISH = """
    UPDATE reservations r SET state = a.state, finished_at = %s
    FROM unnest(%s::uuid[], %s::text[]) AS a (attempt_id, state)
    WHERE r.attempt_id = a.attempt_id AND r.state = 'held' RETURNING r.attempt_id
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
            _FINISH, (now, [s.reservation.attempt_id for s in settlements], [s.state.value for s in settlements])
        )
        if calls:
            await raw.execute(_LOG, (_CALLS.dump_json(calls).decode(),))
            await rollups.post(raw, calls)
        locked = await (await accounts.lock(raw, {owner for owner, _, _ in moves})).read()
        moved = raw.cursor(row_factory=class_row(BalanceRow))
        await moved.execute(_MOVE, _columns(moves, locked))
        balances = await moved.fetchall()
        if len(await finished.fetchall()) != len(settlements) or len(balances) != len(moves):
            raise Drift
        await consequences.follow(raw, settlements, _standing(locked, balances, now), now)


_Moves = dict[tuple[Owner, Span, date], tuple[Amounts, Amounts]]


def _moves(settlements: Sequence[Settlement]) -> _Moves:
    moves: _Moves = {}
    for settlement in settlements:
        reservation = settlement.reservation
        windows: tuple[tuple[Span, date], ...] = (("month", reservation.period_start), ("day", reservation.day))
        for owner in owners_of(reservation.workspace_id, reservation.key_id, Funds(reservation.funds)):
            for window in windows:
                held, spent = moves.get((owner, *window), (NOTHING, NOTHING))
                moves[owner, *window] = held + reservation.amounts, spent + settlement.charged
    return moves


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
