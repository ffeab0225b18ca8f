"""Writing the rollups, in the transaction that writes the rows they sum.

Order of locks: sums by hour, by day, fallbacks by hour, by day; each by key.
"""

from collections.abc import Mapping, Sequence
from typing import Any, LiteralString

from services.metering.connection import Raw
from services.metering.domain.settlement import Call
from services.metering.domain.usage import (
    Counters,
    FallbackCounters,
    FallbackKey,
    Grain,
    RollupKey,
    by_day,
    roll_up,
    roll_up_fallbacks,
)

USAGE: Mapping[Grain, LiteralString] = {"hour": "usage_rollups", "day": "usage_days"}
FALLBACKS: Mapping[Grain, LiteralString] = {"hour": "fallback_rollups", "day": "fallback_days"}
_TYPES = {"workspace_id": "bigint", "at": "timestamptz", "key_id": "uuid"}


def _add_to(table: str, grain: Grain, key: tuple[str, ...], sums: tuple[str, ...]) -> str:
    key_columns = ", ".join(grain if name == "at" else name for name in key)
    types = [_TYPES.get(name, "text") for name in key]
    types += ["numeric" if name.endswith("histogram") else "bigint" for name in sums]
    return f"""
        INSERT INTO {table} AS u ({key_columns}, {", ".join(sums)})
        SELECT * FROM unnest({", ".join(f"%s::{type_}[]" for type_ in types)})
        ON CONFLICT ({key_columns}) DO UPDATE SET {", ".join(f"{name} = u.{name} + excluded.{name}" for name in sums)}
    """  # noqa: S608 - the names are this service's own


_ADD = {grain: _add_to(table, grain, RollupKey._fields, Counters._fields) for grain, table in USAGE.items()}
_ADD_FALLBACKS = {
    grain: _add_to(table, grain, FallbackKey._fields, FallbackCounters._fields) for grain, table in FALLBACKS.items()
}


async def post(raw: Raw, calls: Sequence[Call]) -> None:
    """Count ``calls``, whose rows are written in the same transaction."""
    hours = roll_up(calls)
    await _add(raw, _ADD["hour"], hours)
    await _add(raw, _ADD["day"], by_day(hours))
    fallbacks = roll_up_fallbacks(calls)
    if fallbacks:
        await _add(raw, _ADD_FALLBACKS["hour"], fallbacks)
        await _add(raw, _ADD_FALLBACKS["day"], by_day(fallbacks))


async def correct(raw: Raw, row: Mapping[str, Any], sums: Mapping[str, int]) -> bool:
    """Add ``sums`` (names of ``Counters``) where ``row`` of the call log is counted; whether it is counted at all."""
    changed = 0
    for grain, table in USAGE.items():
        statement = f"""
            UPDATE {table} SET {", ".join(f"{name} = {name} + %(add_{name})s" for name in sums)}
            WHERE {grain} = date_trunc('{grain}', %(started_at)s::timestamptz, 'UTC')
                AND {" AND ".join(f"{name} = %({name})s" for name in RollupKey._fields if name != "at")}
        """  # noqa: S608 - the names are this service's own
        parameters = {**row, **{f"add_{name}": amount for name, amount in sums.items()}}
        changed += (await raw.execute(statement.encode(), parameters)).rowcount
    return changed == len(USAGE)


async def _add(
    raw: Raw, statement: str, sums: Mapping[RollupKey, Counters] | Mapping[FallbackKey, FallbackCounters]
) -> None:
    rows: list[tuple[object, ...]] = [(*key, *counters) for key, counters in sums.items()]
    await raw.execute(statement.encode(), tuple(list(column) for column in zip(*rows, strict=True)))
