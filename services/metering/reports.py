"""SQL of reports: everything from the rollups, nothing from the call log."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlmodel import text

from services.metering.domain.forecast import Charge, first_day
from services.metering.domain.ledger import Amounts
from services.metering.domain.usage import Counters, Grain, Piece, pieces
from services.metering.rollups import FALLBACKS, USAGE
from shared.db import Database
from shared.messages.usage import GroupBy
from shared.messages.vocabulary import Funds

_GROUPS: Mapping[GroupBy | None, str] = {
    None: "NULL::text",
    "provider": "provider",
    "alias": "alias_name",
    "model": "model",
    "key": "key_id::text",
    "capability": "capability",
    "outcome": "outcome",
    "day": "at",
    "hour": "at",
}
_MOMENTS: Mapping[Grain, str] = {"hour": "hour", "day": "day"}
_DAYS: Mapping[Grain, str] = {"hour": "date_trunc('day', hour, 'UTC')", "day": "day"}
_FORMATS: Mapping[GroupBy | None, str] = {"day": "%Y-%m-%d", "hour": "%Y-%m-%dT%H:00Z"}
# Numbers of more digits than a float or bigint has come as text, which every driver passes on as it is.
_SUMS = ", ".join(
    f"coalesce(sum({name}), 0)::{'text' if name.endswith('histogram') else 'bigint'}" for name in Counters._fields
)
# Few groups of many rows: hashed in one pass. Rows as wide as these spill when they are sorted, and starting workers
# takes longer than what they would take over.
_HASHED = text("""
    SELECT set_config('enable_sort', 'off', true), set_config('max_parallel_workers_per_gather', '0', true)
""")
_CHARGES = text("""
    SELECT day, key_id, funds, sum(charged_usd_micros)::bigint, sum(input_tokens + output_tokens)::bigint,
        sum(requests)::bigint
    FROM usage_days WHERE workspace_id = :workspace_id AND day >= :first_day GROUP BY day, key_id, funds
""")


@dataclass(frozen=True, slots=True)
class Report:
    """What the rollups say about a stretch of time.

    ``groups``: name (None: everything) and sums. ``failures``: provider, outcome, how many. ``fallbacks``: from whom,
    to whom, why, how many, how many of them with success. ``charges``: of the last days, whatever the stretch is.
    """

    groups: Sequence[tuple[str | None, Counters]]
    failures: Sequence[tuple[str, str, int]]
    fallbacks: Sequence[tuple[str, str, str, int, int]]
    charges: Sequence[Charge]


class Reports:
    """Every method raises OmniError ``unavailable`` when the database is away."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def report(
        self,
        workspace_id: int,
        since: datetime | None,
        until: datetime | None,
        group_by: GroupBy | None,
        now: datetime,
    ) -> Report:
        """The whole hours of [``since``, ``until``): biggest cost first, days and hours in their order."""
        stretch = pieces(since, until)
        grouped = (Piece("hour", stretch[0].since, stretch[-1].until),) if group_by == "hour" else stretch
        wanted: dict[str, object] = {"workspace_id": workspace_id, "first_day": first_day(now)}
        async with self._database.session(workspace_id) as session:
            connection = await session.connection()
            await connection.execute(_HASHED)
            groups = await connection.execute(text(_grouped(group_by, grouped)), wanted | _bounds(grouped))
            failures = await connection.execute(text(_failures(stretch)), wanted | _bounds(stretch))
            fallbacks = await connection.execute(text(_fallbacks(stretch)), wanted | _bounds(stretch))
            charges = await connection.execute(_CHARGES, wanted)
            return Report(
                [(_name(group_by, row[0]), Counters(*map(int, row[1:]))) for row in groups],
                [(row[0], row[1], row[2]) for row in failures],
                [(row[0], row[1], row[2], row[3], row[4]) for row in fallbacks],
                [_charge(workspace_id, row) for row in charges],
            )


def _grouped(group_by: GroupBy | None, stretch: Sequence[Piece]) -> str:
    order = "1" if group_by in _FORMATS else "coalesce(sum(cost_usd_micros), 0) DESC, 1"
    rows = _rows(USAGE, stretch, _DAYS if group_by == "day" else _MOMENTS)
    return f"""
        SELECT {_GROUPS[group_by]} AS group_name, {_SUMS} FROM ({rows}) AS u
        GROUP BY 1 ORDER BY {order}
    """  # noqa: S608 - the expressions are this module's own


def _failures(stretch: Sequence[Piece]) -> str:
    return f"""
        SELECT provider, outcome, sum(requests)::bigint FROM ({_rows(USAGE, stretch)}) AS u
        WHERE outcome <> 'success' GROUP BY 1, 2 ORDER BY 3 DESC, 1, 2
    """  # noqa: S608 - the expressions are this module's own


def _fallbacks(stretch: Sequence[Piece]) -> str:
    return f"""
        SELECT fallback_from, target, reason, sum(requests)::bigint, sum(succeeded)::bigint
        FROM ({_rows(FALLBACKS, stretch)}) AS f GROUP BY 1, 2, 3 ORDER BY 4 DESC, 1, 2, 3
    """  # noqa: S608 - the expressions are this module's own


def _rows(tables: Mapping[Grain, str], stretch: Sequence[Piece], at: Mapping[Grain, str] = _MOMENTS) -> str:
    return " UNION ALL ".join(
        f"SELECT *, {at[piece.grain]} AS at FROM {tables[piece.grain]} WHERE workspace_id = :workspace_id"  # noqa: S608
        + (f" AND {piece.grain} >= :since_{number}" if piece.since else "")
        + (f" AND {piece.grain} < :until_{number}" if piece.until else "")
        for number, piece in enumerate(stretch)
    )


def _bounds(stretch: Sequence[Piece]) -> dict[str, datetime]:
    bounds: dict[str, datetime] = {}
    for number, piece in enumerate(stretch):
        bounds |= {f"{name}_{number}": at for name, at in (("since", piece.since), ("until", piece.until)) if at}
    return bounds


def _name(group_by: GroupBy | None, value: Any) -> str | None:  # noqa: ANN401 - a column of one type or another
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime(_FORMATS[group_by])
    return None if value is None else str(value)


def _charge(workspace_id: int, row: Any) -> Charge:  # noqa: ANN401 - a row of _CHARGES
    day, key_id, funds, *amounts = row
    return Charge(day.astimezone(UTC), (workspace_id, key_id, Funds(funds)), Amounts(*amounts))
