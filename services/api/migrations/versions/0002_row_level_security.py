"""Row-level security: a connection touches its workspace and that workspace's tokens.

A platform token belongs to no workspace, so only work on every workspace reaches it. A policy without WITH CHECK holds
new rows to the same condition as old ones (docs/decisions/0007-row-level-security.md).
"""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

# The sub-select is evaluated once a statement, the comparison once a row.
ROWS = "(SELECT current_setting('omnipost.workspace', true)) IN ('*', {column}::text)"
TABLES = {"workspaces": "id", "access_tokens": "workspace_id"}


def upgrade() -> None:
    for table, column in TABLES.items():
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY")
        op.execute(f"CREATE POLICY of_workspace ON {table} USING ({ROWS.format(column=column)})")


def downgrade() -> None:
    for table in TABLES:
        op.execute(f"DROP POLICY of_workspace ON {table}")
        op.execute(f"ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY, DISABLE ROW LEVEL SECURITY")
