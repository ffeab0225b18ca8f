"""Alerts about keys that a provider refuses now: an outbox, written with the verdict, once per version of a key."""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

OF_WORKSPACE = "(SELECT current_setting('omnipost.workspace', true)) IN ('*', workspace_id::text)"


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE key_alerts (
            alert_id     uuid        PRIMARY KEY,
            workspace_id bigint      NOT NULL,
            key_id       uuid        NOT NULL,
            version      integer     NOT NULL,
            body         text        NOT NULL,
            raised_at    timestamptz NOT NULL,
            told_at      timestamptz,
            UNIQUE (key_id, version)
        )
        """
    )
    op.execute("CREATE INDEX key_alerts_to_tell ON key_alerts (raised_at) WHERE told_at IS NULL")
    op.execute("ALTER TABLE key_alerts ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY")
    op.execute(f"CREATE POLICY of_workspace ON key_alerts USING ({OF_WORKSPACE})")


def downgrade() -> None:
    op.execute("DROP TABLE key_alerts")
