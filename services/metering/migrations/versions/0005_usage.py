"""Rollups that answer every report: by hour and by day, by outcome too, with histograms, and who stood in for whom.

They are made anew from the call log, which has had every attempt since the first day.
"""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

SCOPE = "(SELECT current_setting('omnipost.workspace', true))"
OF_WORKSPACE = f"{SCOPE} IN ('*', workspace_id::text)"
KEY = "provider, alias_name, model, key_id, capability, funds, outcome"
FALLBACK_KEY = "fallback_from, target, reason"
# As of domain/latency.py: how a duration becomes its bucket, and a bucket a number.
BUCKET = "least(151, CASE WHEN {0} <= 1 THEN 0 ELSE ceil(ln({0}::float8) / ln(1.05::float8 / 0.95)) END)::integer"
# (``least`` takes an unknown for no argument at all.)
HISTOGRAM = f"coalesce(sum(('1e' || 12 * {BUCKET})::numeric) FILTER (WHERE {{0}} IS NOT NULL), 0)"
UNKNOWN = "billing <> 'nothing' AND (cost_usd_micros IS NULL OR input_tokens IS NULL OR output_tokens IS NULL)"
SUMS = {
    "requests": "count(*)",
    "succeeded": "count(*) FILTER (WHERE outcome = 'success')",
    "failed": "count(*) FILTER (WHERE outcome <> 'success')",
    "unknown": f"count(*) FILTER (WHERE {UNKNOWN})",
    "input_tokens": "coalesce(sum(input_tokens), 0)",
    "output_tokens": "coalesce(sum(output_tokens), 0)",
    "cost_usd_micros": "coalesce(sum(cost_usd_micros), 0)",
    "charged_usd_micros": "sum(charged_usd_micros)",
    "fallbacks": "count(*) FILTER (WHERE outcome = 'success' AND fallback_reason IS NOT NULL)",
    "latency_ms_sum": "coalesce(sum(latency_ms), 0)",
    "cache_read_tokens": "coalesce(sum(cache_read_tokens), 0)",
    "cache_write_tokens": "coalesce(sum(cache_write_tokens), 0)",
    "reasoning_tokens": "coalesce(sum(reasoning_tokens), 0)",
    "reserved_usd_micros": "coalesce(sum(reserved_usd_micros) "
    "FILTER (WHERE billing = 'cost' AND cost_usd_micros IS NOT NULL), 0)",
    "latency_histogram": HISTOGRAM.format("latency_ms"),
    "first_token_histogram": HISTOGRAM.format("first_token_ms"),
}
TABLES = {
    "usage": {"hour": "usage_rollups", "day": "usage_days"},
    "fallback": {"hour": "fallback_rollups", "day": "fallback_days"},
}
HAS_FALLEN_BACK = "fallback_reason IS NOT NULL"
FALLBACK_SUMS = {"requests": SUMS["requests"], "succeeded": SUMS["succeeded"]}
TARGET = "coalesce(fallback_from, ''), provider || '/' || model, fallback_reason"
# A page of a report is one workspace's rows in order of time. Filters of the call log that few rows may pass.
FILTERS = {"key": "key_id", "model": "model", "alias": "alias_name", "provider": "provider"}
OLD = (
    "requests", "succeeded", "failed", "unknown", "input_tokens", "output_tokens", "cost_usd_micros",
    "charged_usd_micros", "fallbacks", "latency_ms_sum",
)  # fmt: skip


def _columns(names: dict[str, str]) -> str:
    return ", ".join(f"{name} {'numeric' if 'histogram' in name else 'bigint'} NOT NULL" for name in names)


def _texts(names: str) -> str:
    return ", ".join(f"{name} {'uuid' if name == 'key_id' else 'text'} NOT NULL" for name in names.split(", "))


def _create(table: str, grain: str, key: str, sums: dict[str, str]) -> None:
    op.execute(
        f"CREATE TABLE {table} (workspace_id bigint NOT NULL, {grain} timestamptz NOT NULL, {_texts(key)}, "
        f"{_columns(sums)}, PRIMARY KEY (workspace_id, {grain}, {key})) WITH (fillfactor = 50)"
    )
    op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY")
    op.execute(f"CREATE POLICY of_workspace ON {table} USING ({OF_WORKSPACE})")


def fill() -> list[str]:
    """Count the call log into the empty tables: the hours from the log, the days from the hours."""
    usage, fallback = TABLES["usage"], TABLES["fallback"]
    return [
        *_count(usage["hour"], usage["day"], KEY, KEY, SUMS, "true"),
        *_count(fallback["hour"], fallback["day"], TARGET, FALLBACK_KEY, FALLBACK_SUMS, HAS_FALLEN_BACK),
    ]


def _count(hours: str, days: str, source: str, key: str, sums: dict[str, str], where: str) -> list[str]:
    by_hour = (
        f"INSERT INTO {hours} SELECT workspace_id, date_trunc('hour', started_at, 'UTC') AS hour, {source}, "
        f"{', '.join(sums.values())} FROM ai_call_logs WHERE {where} GROUP BY workspace_id, hour, {source}"
    )
    by_day = (
        f"INSERT INTO {days} SELECT workspace_id, date_trunc('day', hour, 'UTC') AS day, {key}, "
        f"{', '.join(f'sum({name})' for name in sums)} FROM {hours} GROUP BY workspace_id, day, {key}"
    )
    return [by_hour, by_day]


def upgrade() -> None:
    op.execute("DROP TABLE usage_rollups")
    for grain in ("hour", "day"):
        _create(TABLES["usage"][grain], grain, KEY, SUMS)
        _create(TABLES["fallback"][grain], grain, FALLBACK_KEY, FALLBACK_SUMS)
    for statement in fill():
        op.execute(statement)
    for name, column in FILTERS.items():
        op.execute(f"CREATE INDEX ai_call_logs_of_{name} ON ai_call_logs (workspace_id, {column}, started_at)")
    op.execute(
        "CREATE INDEX ai_call_logs_failed ON ai_call_logs (workspace_id, outcome, started_at) "
        "WHERE outcome <> 'success'"
    )


def downgrade() -> None:
    op.execute("DROP INDEX ai_call_logs_failed")
    for name in FILTERS:
        op.execute(f"DROP INDEX ai_call_logs_of_{name}")
    for tables in TABLES.values():
        for table in tables.values():
            op.execute(f"DROP TABLE {table}")
    key, sums = "provider, alias_name, model, key_id", {name: SUMS[name] for name in OLD}
    _create("usage_rollups", "hour", key, sums)
    op.execute(_count("usage_rollups", "usage_days", key, key, sums, "true")[0])
