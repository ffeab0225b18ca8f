"""A call log of any size, written by the database itself: 90 days of one workspace, and their rollups."""

import importlib
from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

import psycopg
from psycopg.rows import dict_row

from shared.clock import SystemClock

migration = importlib.import_module("services.metering.migrations.versions.0005_usage")

DAYS = 90
CHUNK = 1_000_000
OPTIONS = "-c search_path=metering -c timezone=UTC -c synchronous_commit=off"
KEYS = [UUID(int=number) for number in range(1, 6)]
RARE_KEY = UUID(int=6)
# An alias's first choice fails for one call in 16, and its second answers. One row in 5,000 is of a rare sort.
_GENERATE = """
    INSERT INTO ai_call_logs (attempt_id, call_id, workspace_id, key_id, provider, model, alias_name, capability,
        attempt_index, outcome, billing, status, fallback_reason, finish_reason, input_tokens, output_tokens,
        cost_usd_micros, charged_usd_micros, latency_ms, started_at, finished_at, price_version, fallback_from,
        first_token_ms, reserved_usd_micros)
    SELECT gen_random_uuid(), 'call-' || g / 2, %(workspace)s,
        CASE WHEN g %% 5000 = 77 THEN %(rare_key)s ELSE (%(keys)s::uuid[])[1 + g / 7 %% 5] END,
        CASE WHEN g %% 16 = 1 OR g %% 5000 = 78 THEN 'mistral'
            ELSE (ARRAY['openai', 'anthropic', 'google'])[1 + g %% 3] END,
        CASE WHEN g %% 5000 = 78 THEN 'rare' WHEN g %% 16 = 1 THEN 'mistral-small' ELSE 'model-' || g %% 6 END,
        CASE WHEN g %% 5000 = 79 THEN 'rare' ELSE 'alias-' || g / 3 %% 4 END,
        CASE WHEN g %% 4 = 3 THEN 'embedding' ELSE 'chat' END, (g %% 16 = 1)::integer,
        CASE WHEN g %% 5000 = 80 THEN 'content_policy' WHEN g %% 16 = 0 THEN 'rate_limited' ELSE 'success' END,
        CASE WHEN g %% 16 = 0 THEN 'nothing' ELSE 'cost' END, CASE WHEN g %% 16 = 0 THEN 429 ELSE 200 END,
        CASE WHEN g %% 16 = 1 THEN 'rate_limited' END, 'stop', 800 + g %% 700, 100 + g %% 300,
        CASE WHEN g %% 16 = 0 THEN 0 ELSE 100 + g %% 900 END, CASE WHEN g %% 16 = 0 THEN 0 ELSE 100 + g %% 900 END,
        (exp(6 + random() * 3))::bigint, at, at + interval '1 second', 'genai-prices 0.2.3',
        CASE WHEN g %% 16 = 1 THEN 'openai/model-0' END,
        CASE WHEN g %% 2 = 0 THEN (exp(4 + random() * 2))::bigint END, 1200
    FROM generate_series(%(first)s::bigint, %(last)s::bigint - 1) AS g,
        LATERAL (SELECT %(since)s::timestamptz + (g - %(start)s) * (interval '90 days' / %(total)s::float8)) AS t (at)
"""
_INDEXES = """
    SELECT c.relname AS name, pg_get_indexdef(i.indexrelid) AS made FROM pg_index i
    JOIN pg_class c ON c.oid = i.indexrelid
    WHERE i.indrelid = 'ai_call_logs'::regclass AND NOT i.indisprimary
"""
_MONTHS = "SELECT ensure_call_log_partition((now() - n * interval '1 month')::date) FROM generate_series(0, 3) AS n"


def grow(url: str, workspace: int, have: int, upto: int) -> None:
    """Make the log ``upto`` rows long, spread over 90 days as the ``have`` before them. ``url``: the owner's."""
    since = SystemClock().now().replace(minute=0, second=0, microsecond=0) - timedelta(days=DAYS)
    with psycopg.connect(url, autocommit=True, options=OPTIONS, row_factory=dict_row) as connection:
        connection.execute(_MONTHS)
        indexes = connection.execute(_INDEXES).fetchall()
        for index in indexes:
            connection.execute(f"DROP INDEX {index['name']}".encode())
        for first in range(have, upto, CHUNK):
            last = min(first + CHUNK, upto)
            values = {
                "workspace": workspace, "keys": KEYS, "rare_key": RARE_KEY, "first": first, "last": last,
                "since": since, "start": have, "total": upto - have,
            }  # fmt: skip
            connection.execute(_GENERATE.encode(), values)
        for index in indexes:
            # It names the parent alone; the parts need theirs as well.
            connection.execute(str(index["made"]).replace(" ON ONLY ", " ON ").encode())
        _count(connection)


def _count(connection: psycopg.Connection[dict[str, object]]) -> None:
    tables: Sequence[str] = [table for grains in migration.TABLES.values() for table in grains.values()]
    connection.execute(f"TRUNCATE {', '.join(tables)}".encode())
    for statement in migration.fill():
        connection.execute(statement.encode())
    for table in ("ai_call_logs", *tables):
        connection.execute(f"VACUUM ANALYZE {table}".encode())
