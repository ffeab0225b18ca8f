"""Row-level security: a connection touches the budgets, reservations, calls and rollups of its workspace.

Dead letters belong to no workspace, so only work on every workspace reaches them. A policy without WITH CHECK holds new
rows to the same condition as old ones (docs/decisions/0007-row-level-security.md).
"""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

# The sub-select is evaluated once a statement, the comparison once a row.
SCOPE = "(SELECT current_setting('omnipost.workspace', true))"
OF_WORKSPACE = f"{SCOPE} IN ('*', workspace_id::text)"
TABLES = {
    "ai_provider_budgets": OF_WORKSPACE,
    "reservations": OF_WORKSPACE,
    "ai_call_logs": OF_WORKSPACE,
    "usage_rollups": OF_WORKSPACE,
    # The budget's own policy decides inside the sub-select; the ledger works on every workspace and never gets there.
    "budget_periods": f"{SCOPE} = '*' OR EXISTS (SELECT FROM ai_provider_budgets b WHERE b.id = budget_id)",
    "dead_letters": f"{SCOPE} = '*'",
}

# A policy of the parent does not hold for who names a partition.
ISOLATE = f"""
CREATE FUNCTION isolate_call_log_partition(name regclass) RETURNS void LANGUAGE plpgsql AS $$ BEGIN
    EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', name);
    EXECUTE format('CREATE POLICY of_workspace ON %s USING ({OF_WORKSPACE.replace("'", "''")})', name);
END $$
"""
PARTITIONS = "SELECT inhrelid::regclass AS name FROM pg_inherits WHERE inhparent = 'ai_call_logs'::regclass"
# Set by hand and put back: only a superuser may give a function a setting of its own that PostgreSQL does not know,
# and the owner need not be one. Without it a forced policy would hide the rows that must move from the owner too.
ENSURE = """
CREATE FUNCTION ensure_call_log_partition(month date) RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    scope text := coalesce(current_setting('omnipost.workspace', true), '');
    made boolean;
BEGIN
    PERFORM set_config('omnipost.workspace', '*', true);
    made := make_call_log_partition(month);
    IF made THEN
        PERFORM isolate_call_log_partition(('ai_call_logs_' || to_char(month, 'YYYY_MM'))::regclass);
    END IF;
    PERFORM set_config('omnipost.workspace', scope, true);
    RETURN made;
END $$
"""
PIN_SEARCH_PATH = """
DO $$ BEGIN
    EXECUTE format('ALTER FUNCTION ensure_call_log_partition(date) SET search_path = %I, pg_temp', current_schema());
END $$
"""


def upgrade() -> None:
    for table, rows in TABLES.items():
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY")
        op.execute(f"CREATE POLICY of_workspace ON {table} USING ({rows})")
    op.execute(ISOLATE)
    op.execute(f"SELECT isolate_call_log_partition(name) FROM ({PARTITIONS})")
    op.execute("ALTER FUNCTION ensure_call_log_partition(date) RENAME TO make_call_log_partition")
    # It would make a partition that is open to all.
    op.execute("REVOKE EXECUTE ON FUNCTION make_call_log_partition(date) FROM PUBLIC")
    op.execute(ENSURE)
    op.execute(PIN_SEARCH_PATH)


def downgrade() -> None:
    op.execute("DROP FUNCTION ensure_call_log_partition(date)")
    op.execute("GRANT EXECUTE ON FUNCTION make_call_log_partition(date) TO PUBLIC")
    op.execute("ALTER FUNCTION make_call_log_partition(date) RENAME TO ensure_call_log_partition")
    op.execute("DROP FUNCTION isolate_call_log_partition(regclass)")
    op.execute(f"""
        DO $$ DECLARE name regclass; BEGIN
            FOR name IN {PARTITIONS} LOOP
                EXECUTE format('DROP POLICY of_workspace ON %s', name);
                EXECUTE format('ALTER TABLE %s NO FORCE ROW LEVEL SECURITY, DISABLE ROW LEVEL SECURITY', name);
            END LOOP;
        END $$
    """)
    for table in TABLES:
        op.execute(f"DROP POLICY of_workspace ON {table}")
        op.execute(f"ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY, DISABLE ROW LEVEL SECURITY")
