"""Row-level security: a connection touches the aliases of its workspace. Providers belong to none: everybody sees them.

A policy without WITH CHECK holds new rows to the same condition as old ones
(docs/decisions/0007-row-level-security.md).
"""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

# The sub-select is evaluated once a statement, the comparison once a row.
ROWS = "(SELECT current_setting('omnipost.workspace', true)) IN ('*', workspace_id::text)"
TABLES = ("ai_model_aliases",)


def upgrade() -> None:
    for table in TABLES:
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY")
        op.execute(f"CREATE POLICY of_workspace ON {table} USING ({ROWS})")


def downgrade() -> None:
    for table in TABLES:
        op.execute(f"DROP POLICY of_workspace ON {table}")
        op.execute(f"ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY, DISABLE ROW LEVEL SECURITY")
