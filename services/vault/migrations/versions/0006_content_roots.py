"""Content roots: of a workspace that stores what its calls were about, the key all content keys are derived from.

Encrypted under the workspace's data key, so that it moves and ends with that; deleted, everything stored is lost.
"""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

OF_WORKSPACE = "(SELECT current_setting('omnipost.workspace', true)) IN ('*', workspace_id::text)"


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE content_roots (
            workspace_id bigint      PRIMARY KEY,
            id           uuid        NOT NULL UNIQUE,
            dek_id       uuid        NOT NULL,
            ciphertext   bytea       NOT NULL,
            created_at   timestamptz NOT NULL
        )
        """
    )
    op.execute("ALTER TABLE content_roots ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY")
    op.execute(f"CREATE POLICY of_workspace ON content_roots USING ({OF_WORKSPACE})")


def downgrade() -> None:
    op.execute("DROP TABLE content_roots")
