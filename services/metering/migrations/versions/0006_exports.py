"""Which transaction wrote a row of the call log, so that exports are snapshots and pulls miss nothing.

``logged_in`` is the transaction that wrote the row, ``changed_in`` the last one that changed it. All transactions below
``pg_snapshot_xmin`` have ended: rows below it are complete, in an order that no later row can get into. Times are not:
a row that was begun earlier may be committed later.

After a logical restore (pg_dump) into another cluster, whose transaction numbers start anew, run once
``UPDATE ai_call_logs SET logged_in = DEFAULT``; the trigger renews ``changed_in``, and consumers pull from the start.
"""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

# A default that is stable is worked out once, so no row is rewritten.
COLUMNS = """
ALTER TABLE ai_call_logs
    ADD COLUMN logged_in xid8 NOT NULL DEFAULT pg_current_xact_id(),
    ADD COLUMN changed_in xid8 NOT NULL DEFAULT pg_current_xact_id()
"""
CHANGED = """
CREATE FUNCTION call_log_changed() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    NEW.changed_in := pg_current_xact_id();
    RETURN NEW;
END $$
"""


def upgrade() -> None:
    op.execute(COLUMNS)
    op.execute("CREATE INDEX ai_call_logs_changed ON ai_call_logs (workspace_id, changed_in, attempt_id)")
    op.execute(CHANGED)
    op.execute("CREATE TRIGGER changed BEFORE UPDATE ON ai_call_logs FOR EACH ROW EXECUTE FUNCTION call_log_changed()")


def downgrade() -> None:
    op.execute("DROP TRIGGER changed ON ai_call_logs")
    op.execute("DROP FUNCTION call_log_changed()")
    op.execute("DROP INDEX ai_call_logs_changed")
    op.execute("ALTER TABLE ai_call_logs DROP COLUMN logged_in, DROP COLUMN changed_in")
