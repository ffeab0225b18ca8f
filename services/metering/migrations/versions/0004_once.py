"""What people do to the books: letters settled again or dismissed, unknown outcomes reconciled, rows kept for a while.

``ended_attempts`` is what remains of a finished reservation once it is purged: its id can never be used again.
"""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

SCOPE = "(SELECT current_setting('omnipost.workspace', true))"
OF_WORKSPACE = f"{SCOPE} IN ('*', workspace_id::text)"

LETTERS = """
ALTER TABLE dead_letters
    ADD COLUMN resolution text CHECK (resolution IN ('replayed', 'dismissed')),
    ADD CHECK ((resolution IS NULL) OR (resolved_at IS NOT NULL))
"""
# Workspace 0: what was done to letters, which belong to no workspace.
ACTIONS = """
CREATE TABLE ledger_actions (
    id bigserial PRIMARY KEY,
    workspace_id bigint NOT NULL,
    at timestamptz NOT NULL,
    action text NOT NULL,
    subject text NOT NULL,
    actor text NOT NULL,
    facts text NOT NULL
)
"""
RECONCILED = """
CREATE TABLE reconciled_attempts (
    attempt_id uuid PRIMARY KEY,
    workspace_id bigint NOT NULL,
    started_at timestamptz NOT NULL,
    at timestamptz NOT NULL,
    charged_before_usd_micros bigint NOT NULL,
    charged_before_tokens bigint NOT NULL,
    cost_usd_micros bigint NOT NULL,
    input_tokens bigint NOT NULL,
    output_tokens bigint NOT NULL
)
"""
RETENTION = """
CREATE TABLE call_log_retention (
    workspace_id bigint PRIMARY KEY,
    call_log_days integer NOT NULL CHECK (call_log_days > 0),
    updated_at timestamptz NOT NULL
)
"""
ENDED = """
CREATE TABLE ended_attempts (
    attempt_id uuid PRIMARY KEY,
    workspace_id bigint NOT NULL,
    state text NOT NULL
)
"""
OF_A_WORKSPACE = ("ledger_actions", "reconciled_attempts", "call_log_retention", "ended_attempts")
# The month's partition, if there is one, if it is empty, and if it is over for long: nothing else can be dropped here.
DROP = """
CREATE FUNCTION drop_empty_call_log_partition(month date) RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    first date := date_trunc('month', month)::date;
    name text := 'ai_call_logs_' || to_char(first, 'YYYY_MM');
    scope text := coalesce(current_setting('omnipost.workspace', true), '');
    patience text := coalesce(current_setting('lock_timeout', true), '0');
    has_rows boolean;
BEGIN
    IF to_regclass(name) IS NULL OR first + interval '2 months' > now() THEN
        RETURN false;
    END IF;
    PERFORM set_config('omnipost.workspace', '*', true);
    EXECUTE format('SELECT EXISTS (SELECT FROM %I)', name) INTO has_rows;
    IF NOT has_rows THEN
        -- Everybody who writes the log waits behind this lock: rather give up than make them wait.
        PERFORM set_config('lock_timeout', '200ms', true);
        LOCK TABLE ai_call_logs, ai_call_logs_default IN ACCESS EXCLUSIVE MODE;
        EXECUTE format('SELECT EXISTS (SELECT FROM %I)', name) INTO has_rows;
        IF NOT has_rows THEN
            EXECUTE format('ALTER TABLE ai_call_logs DETACH PARTITION %I', name);
            EXECUTE format('DROP TABLE %I', name);
        END IF;
        PERFORM set_config('lock_timeout', patience, true);
    END IF;
    PERFORM set_config('omnipost.workspace', scope, true);
    RETURN NOT has_rows;
END $$
"""
PIN_SEARCH_PATH = """
DO $$ BEGIN
    EXECUTE format(
        'ALTER FUNCTION drop_empty_call_log_partition(date) SET search_path = %I, pg_temp', current_schema());
END $$
"""


def upgrade() -> None:
    op.execute(LETTERS)
    op.execute("UPDATE dead_letters SET resolution = 'dismissed' WHERE resolved_at IS NOT NULL")
    op.execute("CREATE INDEX dead_letters_open ON dead_letters (id) WHERE resolved_at IS NULL")
    for statement in (ACTIONS, RECONCILED, RETENTION, ENDED):
        op.execute(statement)
    op.execute("COMMENT ON TABLE ledger_actions IS 'append-only'")
    op.execute("COMMENT ON TABLE reconciled_attempts IS 'append-only'")
    for table in OF_A_WORKSPACE:
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY")
        op.execute(f"CREATE POLICY of_workspace ON {table} USING ({OF_WORKSPACE})")
    op.execute("CREATE INDEX ledger_actions_newest ON ledger_actions (workspace_id, id)")
    op.execute("CREATE INDEX reservations_to_purge ON reservations (finished_at) WHERE finished_at IS NOT NULL")
    op.execute(
        "CREATE INDEX ai_call_logs_unknown ON ai_call_logs (workspace_id, started_at, attempt_id) "
        "WHERE billing <> 'nothing' AND (cost_usd_micros IS NULL OR input_tokens IS NULL OR output_tokens IS NULL)"
    )
    op.execute(DROP)
    op.execute(PIN_SEARCH_PATH)


def downgrade() -> None:
    op.execute("DROP FUNCTION drop_empty_call_log_partition(date)")
    op.execute("DROP INDEX ai_call_logs_unknown")
    op.execute("DROP INDEX reservations_to_purge")
    for table in OF_A_WORKSPACE:
        op.execute(f"DROP TABLE {table}")
    op.execute("DROP INDEX dead_letters_open")
    op.execute("ALTER TABLE dead_letters DROP COLUMN resolution")
