"""Writing the end of reservations: state, balances, call log and rollups move together in the caller's transaction.

Order of locks: reservations (taken by the caller), rollups by key, budgets by id. The hot budget rows come last, so
that reservations wait for them no longer than the final round trips.
"""

from collections.abc import Sequence
from datetime import date, datetime
from uuid import UUID

from pydantic import TypeAdapter

from services.metering import accounts
from services.metering.connection import Raw
from services.metering.domain.ledger import Amounts, Owner, owners_of
from services.metering.domain.settlement import Call, Settlement
from services.metering.domain.usage import COUNTERS, Counters, RollupKey, roll_up
from shared.messages.usage import CallV1

SELECT_RESERVATIONS = (
    "SELECT attempt_id, call_id, workspace_id, key_id, provider, model, alias_name, capability, attempt_index, "
    "trace_id, usd_micros, tokens, requests, state, period_start, created_at "
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
_ROLL_UP = f"""
    INSERT INTO usage_rollups AS u (workspace_id, hour, provider, alias_name, model, key_id, {", ".join(COUNTERS)})
    SELECT * FROM unnest(%s::bigint[], %s::timestamptz[], %s::text[], %s::text[], %s::text[], %s::uuid[],
        {", ".join(["%s::bigint[]"] * len(COUNTERS))})
    ON CONFLICT (workspace_id, hour, provider, alias_name, model, key_id) DO UPDATE SET
        {", ".join(f"{name} = u.{name} + excluded.{name}" for name in COUNTERS)}
"""  # noqa: S608 - the names are this module's own
_MOVE = """
    UPDATE budget_periods p SET
        held_usd_micros = p.held_usd_micros - a.held_usd_micros,
        held_tokens = p.held_tokens - a.held_tokens,
        held_requests = p.held_requests - a.held_requests,
        spent_usd_micros = p.spent_usd_micros + a.spent_usd_micros,
        spent_tokens = p.spent_tokens + a.spent_tokens,
        spent_requests = p.spent_requests + a.spent_requests
    FROM unnest(%s::bigint[], %s::date[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[],
        %s::bigint[]) AS a (budget_id, period_start, held_usd_micros, held_tokens, held_requests,
        spent_usd_micros, spent_tokens, spent_requests)
    WHERE p.budget_id = a.budget_id AND p.period_start = a.period_start RETURNING p.budget_id
"""


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
            await _roll_up(raw, roll_up(calls))
        budgets = await accounts.lock(raw, {owner for owner, _ in moves})
        moved = await raw.execute(_MOVE, _columns(moves, budgets))
        if len(await finished.fetchall()) != len(settlements) or len(await moved.fetchall()) != len(moves):
            raise Drift


_Moves = dict[tuple[Owner, date], tuple[Amounts, Amounts]]


def _moves(settlements: Sequence[Settlement]) -> _Moves:
    moves: _Moves = {}
    for settlement in settlements:
        reservation = settlement.reservation
        for owner in owners_of(reservation.workspace_id, reservation.key_id):
            held, spent = moves.get((owner, reservation.period_start), (Amounts(), Amounts()))
            moves[owner, reservation.period_start] = held + reservation.amounts, spent + settlement.charged
    return moves


def _columns(moves: _Moves, budgets: dict[Owner, int]) -> tuple[list[object], ...]:
    rows = [
        (
            budgets.get(owner), period, held.usd_micros, held.tokens, held.requests,
            spent.usd_micros, spent.tokens, spent.requests,
        )
        for (owner, period), (held, spent) in moves.items()
    ]  # fmt: skip
    return tuple(list(column) for column in zip(*rows, strict=True))


async def _roll_up(raw: Raw, sums: dict[RollupKey, Counters]) -> None:
    rows: list[tuple[int | str | datetime | UUID, ...]] = [
        (*key, *(getattr(counters, name) for name in COUNTERS)) for key, counters in sums.items()
    ]
    await raw.execute(_ROLL_UP, tuple(list(column) for column in zip(*rows, strict=True)))
