"""Budgets, reservations, the call log (by month), rollups and dead letters."""

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

BUDGETS = """
CREATE TABLE ai_provider_budgets (
    id bigserial PRIMARY KEY,
    workspace_id bigint NOT NULL,
    scope text NOT NULL CHECK (scope IN ('key', 'workspace')),
    key_id uuid,
    cap_usd_micros bigint CHECK (cap_usd_micros >= 0),
    cap_tokens bigint CHECK (cap_tokens >= 0),
    cap_requests bigint CHECK (cap_requests >= 0),
    blocked_at timestamptz,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    CHECK ((scope = 'key') = (key_id IS NOT NULL)),
    UNIQUE NULLS NOT DISTINCT (workspace_id, scope, key_id)
) WITH (fillfactor = 80)
"""

# A period row is rewritten by every reservation: free room on its page keeps those updates off the index.
PERIODS = """
CREATE TABLE budget_periods (
    budget_id bigint NOT NULL REFERENCES ai_provider_budgets (id),
    period_start date NOT NULL,
    spent_usd_micros bigint NOT NULL DEFAULT 0 CHECK (spent_usd_micros >= 0),
    spent_tokens bigint NOT NULL DEFAULT 0 CHECK (spent_tokens >= 0),
    spent_requests bigint NOT NULL DEFAULT 0 CHECK (spent_requests >= 0),
    held_usd_micros bigint NOT NULL DEFAULT 0 CHECK (held_usd_micros >= 0),
    held_tokens bigint NOT NULL DEFAULT 0 CHECK (held_tokens >= 0),
    held_requests bigint NOT NULL DEFAULT 0 CHECK (held_requests >= 0),
    PRIMARY KEY (budget_id, period_start)
) WITH (fillfactor = 20, autovacuum_vacuum_scale_factor = 0.0, autovacuum_vacuum_threshold = 5000)
"""

RESERVATIONS = """
CREATE TABLE reservations (
    attempt_id uuid PRIMARY KEY,
    call_id text NOT NULL,
    workspace_id bigint NOT NULL,
    key_id uuid NOT NULL,
    provider text NOT NULL,
    model text NOT NULL,
    alias_name text NOT NULL,
    capability text NOT NULL,
    attempt_index integer NOT NULL,
    trace_id text,
    usd_micros bigint CHECK (usd_micros >= 0),
    tokens bigint NOT NULL CHECK (tokens >= 0),
    requests bigint NOT NULL DEFAULT 1 CHECK (requests = 1),
    state text NOT NULL DEFAULT 'held' CHECK (state IN ('held', 'settled', 'void', 'expired')),
    period_start date NOT NULL,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    finished_at timestamptz,
    CHECK ((state = 'held') = (finished_at IS NULL))
) WITH (fillfactor = 80)
"""

CALL_LOGS = """
CREATE TABLE ai_call_logs (
    attempt_id uuid NOT NULL,
    call_id text NOT NULL,
    workspace_id bigint NOT NULL,
    key_id uuid NOT NULL,
    provider text NOT NULL,
    model text NOT NULL,
    alias_name text NOT NULL,
    capability text NOT NULL,
    attempt_index integer NOT NULL,
    outcome text NOT NULL,
    billing text NOT NULL,
    status integer,
    fallback_reason text,
    finish_reason text,
    input_tokens bigint,
    output_tokens bigint,
    cache_read_tokens bigint,
    cache_write_tokens bigint,
    reasoning_tokens bigint,
    cost_usd_micros bigint,
    charged_usd_micros bigint NOT NULL,
    latency_ms bigint,
    started_at timestamptz NOT NULL,
    finished_at timestamptz NOT NULL,
    trace_id text,
    provider_request_id text,
    price_version text,
    PRIMARY KEY (started_at, attempt_id)
) PARTITION BY RANGE (started_at)
"""

# The service's role owns nothing, so it makes partitions through this door, which can do only that.
PARTITIONS = """
CREATE FUNCTION ensure_call_log_partition(month date) RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    first date := date_trunc('month', month)::date;
    name text := 'ai_call_logs_' || to_char(first, 'YYYY_MM');
    lower timestamptz := first::timestamp AT TIME ZONE 'UTC';
    upper timestamptz := (first + interval '1 month') AT TIME ZONE 'UTC';
BEGIN
    IF to_regclass(name) IS NOT NULL THEN
        RETURN false;
    END IF;
    PERFORM pg_advisory_xact_lock(hashtext('ai_call_logs partitions'));
    -- Only locking a table makes this session hear of tables that others have made while it waited.
    LOCK TABLE ai_call_logs_default IN ACCESS EXCLUSIVE MODE;
    IF to_regclass(name) IS NOT NULL THEN
        RETURN false;
    END IF;
    EXECUTE format('CREATE TABLE %I (LIKE ai_call_logs INCLUDING DEFAULTS INCLUDING CONSTRAINTS)', name);
    EXECUTE format(
        'WITH moved AS (DELETE FROM ai_call_logs_default WHERE started_at >= %L AND started_at < %L RETURNING *) '
        'INSERT INTO %I SELECT * FROM moved', lower, upper, name);
    EXECUTE format('ALTER TABLE ai_call_logs ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', name, lower, upper);
    RETURN true;
END
$$
"""

PIN_SEARCH_PATH = """
DO $$ BEGIN
    EXECUTE format('ALTER FUNCTION ensure_call_log_partition(date) SET search_path = %I, pg_temp', current_schema());
END $$
"""

ROLLUPS = """
CREATE TABLE usage_rollups (
    workspace_id bigint NOT NULL,
    hour timestamptz NOT NULL,
    provider text NOT NULL,
    alias_name text NOT NULL,
    model text NOT NULL,
    key_id uuid NOT NULL,
    requests bigint NOT NULL,
    succeeded bigint NOT NULL,
    failed bigint NOT NULL,
    unknown bigint NOT NULL,
    input_tokens bigint NOT NULL,
    output_tokens bigint NOT NULL,
    cost_usd_micros bigint NOT NULL,
    charged_usd_micros bigint NOT NULL,
    fallbacks bigint NOT NULL,
    latency_ms_sum bigint NOT NULL,
    PRIMARY KEY (workspace_id, hour, provider, alias_name, model, key_id)
) WITH (fillfactor = 50)
"""

DEAD_LETTERS = """
CREATE TABLE dead_letters (
    id bigserial PRIMARY KEY,
    received_at timestamptz NOT NULL,
    subject text NOT NULL,
    reason text NOT NULL,
    attempt_id uuid,
    body bytea NOT NULL,
    fingerprint bytea NOT NULL UNIQUE,
    delivered integer NOT NULL,
    resolved_at timestamptz
)
"""


def upgrade() -> None:
    op.execute(BUDGETS)
    op.execute(PERIODS)
    op.execute(RESERVATIONS)
    op.execute("CREATE INDEX reservations_to_expire ON reservations (expires_at) WHERE state = 'held'")
    op.execute(CALL_LOGS)
    op.execute("CREATE TABLE ai_call_logs_default PARTITION OF ai_call_logs DEFAULT")
    op.execute("CREATE INDEX ai_call_logs_newest ON ai_call_logs (workspace_id, started_at, attempt_id)")
    op.execute("CREATE INDEX ai_call_logs_of_call ON ai_call_logs (call_id)")
    op.execute(PARTITIONS)
    op.execute(PIN_SEARCH_PATH)
    op.execute(ROLLUPS)
    op.execute(DEAD_LETTERS)


def downgrade() -> None:
    op.execute("DROP FUNCTION ensure_call_log_partition(date)")
    for table in ("dead_letters", "usage_rollups", "ai_call_logs", "reservations", "budget_periods"):
        op.execute(f"DROP TABLE {table}")
    op.execute("DROP TABLE ai_provider_budgets")
