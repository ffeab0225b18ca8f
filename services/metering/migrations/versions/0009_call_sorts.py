"""One index for every filter of the call log, in place of one for each: rows carry what sort of call they are.

The sums by day say which sorts of calls a workspace has, so whoever filters knows which ones to look for; each sort's
rows are in order of time (``services/metering/store.py``). Two sorts of one number cost a few rows more to look at.
"""

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

SORT = """
CREATE FUNCTION call_sort(key_id uuid, model text, alias_name text, outcome text) RETURNS integer
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN hashtext(key_id::text || '/' || model || '/' || alias_name || '/' || outcome)
"""
# Row-level security looks at a row before any function of ours may: only a column can be searched for in an index.
COLUMN = """
ALTER TABLE ai_call_logs
    ADD COLUMN sort integer GENERATED ALWAYS AS (call_sort(key_id, model, alias_name, outcome)) STORED
"""
# As it was, but that a generated column is made and not copied.
PARTITIONS = """
CREATE OR REPLACE FUNCTION make_call_log_partition(month date) RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    first date := date_trunc('month', month)::date;
    name text := 'ai_call_logs_' || to_char(first, 'YYYY_MM');
    lower timestamptz := first::timestamp AT TIME ZONE 'UTC';
    upper timestamptz := (first + interval '1 month') AT TIME ZONE 'UTC';
    columns text := (
        SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) FROM pg_attribute
        WHERE attrelid = 'ai_call_logs'::regclass AND attnum > 0 AND NOT attisdropped AND {copied}
    );
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
    EXECUTE format('CREATE TABLE %I (LIKE ai_call_logs INCLUDING DEFAULTS INCLUDING CONSTRAINTS {like})', name);
    EXECUTE format(
        'WITH moved AS (DELETE FROM ai_call_logs_default WHERE started_at >= %L AND started_at < %L RETURNING %s) '
        'INSERT INTO %I (%s) SELECT * FROM moved', lower, upper, columns, name, columns);
    EXECUTE format('ALTER TABLE ai_call_logs ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', name, lower, upper);
    RETURN true;
END
$$
"""
# A function that is made anew has lost it.
PIN_SEARCH_PATH = """
DO $$ BEGIN
    EXECUTE format('ALTER FUNCTION make_call_log_partition(date) SET search_path = %I, pg_temp', current_schema());
END $$
"""
FILTERS = {"key": "key_id", "model": "model", "alias": "alias_name", "provider": "provider"}


def upgrade() -> None:
    for name in FILTERS:
        op.execute(f"DROP INDEX ai_call_logs_of_{name}")
    op.execute("DROP INDEX ai_call_logs_failed")
    op.execute(SORT)
    op.execute(COLUMN)
    op.execute("CREATE INDEX ai_call_logs_of_sort ON ai_call_logs (workspace_id, sort, started_at)")
    op.execute(PARTITIONS.format(copied="attgenerated = ''", like="INCLUDING GENERATED"))
    op.execute(PIN_SEARCH_PATH)


def downgrade() -> None:
    op.execute("ALTER TABLE ai_call_logs DROP COLUMN sort")
    op.execute("DROP FUNCTION call_sort(uuid, text, text, text)")
    op.execute(PARTITIONS.format(copied="true", like=""))
    op.execute(PIN_SEARCH_PATH)
    for name, column in FILTERS.items():
        op.execute(f"CREATE INDEX ai_call_logs_of_{name} ON ai_call_logs (workspace_id, {column}, started_at)")
    op.execute(
        "CREATE INDEX ai_call_logs_failed ON ai_call_logs (workspace_id, outcome, started_at) "
        "WHERE outcome <> 'success'"
    )
