"""Rows of the call log by the thousand, and files of it read by somebody else: DuckDB."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import psycopg

# One of seven attempts failed for nothing, one of eleven is unknown and charged what was held; costs never repeat soon.
FILL = """
    INSERT INTO ai_call_logs (attempt_id, call_id, workspace_id, key_id, provider, model, alias_name, capability,
        attempt_index, outcome, billing, status, finish_reason, input_tokens, output_tokens, cost_usd_micros,
        charged_usd_micros, latency_ms, started_at, finished_at, trace_id, provider_request_id, price_version,
        reserved_usd_micros)
    SELECT gen_random_uuid(), gen_random_uuid()::text, %(workspace)s, keys.id, 'openai', 'gpt-' || n %% 3,
        'writer', 'chat', 0, CASE n %% 77 WHEN 0 THEN 'unknown' ELSE 'success' END, kind, 200, 'stop',
        CASE kind WHEN 'unknown' THEN NULL ELSE n %% 900 END, CASE kind WHEN 'unknown' THEN NULL ELSE n %% 500 END,
        CASE kind WHEN 'unknown' THEN NULL WHEN 'nothing' THEN 0 ELSE n %% 7919 END,
        CASE kind WHEN 'unknown' THEN 10000 WHEN 'nothing' THEN 0 ELSE n %% 7919 END,
        n %% 3000, at, at + interval '1 second', NULL, 'req_' || n, 'own 2026-11-23', 10000
    FROM generate_series(1, %(rows)s) n,
        LATERAL (SELECT CASE WHEN n %% 11 = 0 THEN 'unknown' WHEN n %% 7 = 0 THEN 'nothing' ELSE 'cost' END) k (kind),
        LATERAL (SELECT (%(keys)s::uuid[])[1 + n %% array_length(%(keys)s::uuid[], 1)]) keys (id),
        LATERAL (SELECT %(start)s::timestamptz - n * interval '0.7 seconds') t (at)
"""
_DAY = "strftime({} AT TIME ZONE 'UTC', '%Y-%m-%d')"
_SOURCES = {
    "csv": "read_csv('{}', types={{'charged_usd': 'DECIMAL(18,6)'}})",
    "ndjson": "read_json('{}', columns={{'attempt_id': 'VARCHAR', 'workspace_id': 'BIGINT', 'key_id': 'VARCHAR', "
    "'model': 'VARCHAR', 'charged_usd': 'DECIMAL(18,6)', 'started_at': 'TIMESTAMPTZ'}})",
    "parquet": "read_parquet('{}')",
    "focus": "read_csv('{}', types={{'BilledCost': 'DECIMAL(18,6)'}})",
}


@dataclass(frozen=True)
class Line:
    """A line of an invoice: attempts of a workspace's key and model on a day, and micro-dollars."""

    workspace: int
    key: str
    model: str
    day: str
    attempts: int
    micros: int


def invoice(format_: str, path: Path) -> set[Line]:
    """The invoice as a stranger computes it from a file."""
    columns = ("x_WorkspaceId", "SubAccountId", "ResourceName", _DAY.format("ChargePeriodStart"), "BilledCost")
    if format_ != "focus":
        columns = ("workspace_id", "key_id", "model", _DAY.format("started_at"), "charged_usd")
    *groups, amount = columns
    with duckdb.connect() as database:
        database.execute("SET TimeZone = 'UTC'")
        rows = database.execute(
            f"SELECT {', '.join(groups)}, count(*), CAST(sum({amount}) * 1000000 AS BIGINT) "
            f"FROM {_SOURCES[format_].format(path)} GROUP BY ALL"
        ).fetchall()
    return {Line(int(row[0]), str(row[1]), *row[2:]) for row in rows}


def types_of(path: Path) -> dict[str, str]:
    """The types of a Parquet file's columns."""
    with duckdb.connect() as database:
        return {row[0]: row[1] for row in database.execute(f"DESCRIBE SELECT * FROM read_parquet('{path}')").fetchall()}


def row_groups(path: Path) -> list[int]:
    """How many rows each row group of a Parquet file has."""
    with duckdb.connect() as database:
        query = f"SELECT DISTINCT row_group_id, row_group_num_rows FROM parquet_metadata('{path}') ORDER BY 1"
        return [row[1] for row in database.execute(query).fetchall()]


def fill(owner_url: str, **how: Any) -> None:
    """Write ``rows`` attempts of ``workspace`` with ``keys``, the newest at ``start``, as the database's owner."""
    options = "-c search_path=metering -c omnipost.workspace=* -c timezone=UTC"
    with psycopg.connect(owner_url, autocommit=True, options=options) as connection:
        connection.execute(FILL, how)


def lines(body: bytes) -> list[dict[str, Any]]:
    """NDJSON, read."""
    return [json.loads(line) for line in body.splitlines()]
