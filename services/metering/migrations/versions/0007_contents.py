"""What calls were about, for workspaces that have opted in: sealed rows, and whether a workspace has.

Nobody here can open a row. It may be stored only while its workspace's policy says so.
"""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

OF_WORKSPACE = "(SELECT current_setting('omnipost.workspace', true)) IN ('*', workspace_id::text)"
POLICIES = """
CREATE TABLE content_policies (
    workspace_id bigint PRIMARY KEY,
    store_content boolean NOT NULL,
    content_days integer NOT NULL CHECK (content_days BETWEEN 1 AND 365),
    zero_retention boolean NOT NULL,
    updated_at timestamptz NOT NULL,
    CHECK (NOT (store_content AND zero_retention))
)
"""
CONTENTS = """
CREATE TABLE ai_call_contents (
    attempt_id uuid PRIMARY KEY,
    workspace_id bigint NOT NULL,
    call_id text NOT NULL,
    stored_at timestamptz NOT NULL,
    root_id uuid NOT NULL,
    salt bytea NOT NULL,
    sealed bytea NOT NULL
)
"""
TABLES = ("content_policies", "ai_call_contents")


def upgrade() -> None:
    op.execute(POLICIES)
    op.execute(CONTENTS)
    # What is sealed cannot be made smaller.
    op.execute("ALTER TABLE ai_call_contents ALTER COLUMN sealed SET STORAGE EXTERNAL")
    op.execute("CREATE INDEX ai_call_contents_oldest ON ai_call_contents (workspace_id, stored_at)")
    for table in TABLES:
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY")
        op.execute(f"CREATE POLICY of_workspace ON {table} USING ({OF_WORKSPACE})")


def downgrade() -> None:
    for table in TABLES:
        op.execute(f"DROP TABLE {table}")
