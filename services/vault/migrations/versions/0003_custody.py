"""Rotation of KEKs and data keys, and shredding: what is destroyed leaves a row that holds nothing."""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

SCOPE = "(SELECT current_setting('omnipost.workspace', true))"


def upgrade() -> None:
    op.execute(
        """
        ALTER TABLE workspace_deks
            ALTER COLUMN wrapped DROP NOT NULL,
            ADD COLUMN destroyed_at timestamptz,
            ADD CONSTRAINT destroyed_deks_hold_nothing CHECK (
                (wrapped IS NULL) = (destroyed_at IS NOT NULL) AND NOT (active AND wrapped IS NULL)
            )
        """
    )
    op.execute("CREATE INDEX workspace_deks_of_kek ON workspace_deks (kek_id, id) WHERE wrapped IS NOT NULL")
    op.execute(
        """
        CREATE TABLE kek_rotations (
            id          uuid        PRIMARY KEY,
            to_kek_id   text        NOT NULL,
            old_kek_ids text[]      NOT NULL,
            total       integer     NOT NULL CHECK (total >= 0),
            state       text        NOT NULL CHECK (state IN ('running', 'done')),
            started_at  timestamptz NOT NULL,
            finished_at timestamptz,
            trouble     text,
            CHECK ((state = 'done') = (finished_at IS NOT NULL))
        )
        """
    )
    op.execute("CREATE UNIQUE INDEX kek_rotations_one_running ON kek_rotations (state) WHERE state = 'running'")
    op.execute("CREATE TABLE retired_keks (kek_id text PRIMARY KEY, retired_at timestamptz NOT NULL)")
    op.execute(
        """
        CREATE TABLE shredded_workspaces (
            workspace_id bigint      PRIMARY KEY CHECK (workspace_id > 0),
            shredded_at  timestamptz NOT NULL,
            destroyed_at timestamptz
        )
        """
    )
    for table in ("kek_rotations", "retired_keks", "shredded_workspaces"):
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY")
    op.execute(f"CREATE POLICY of_platform ON kek_rotations USING ({SCOPE} = '*')")
    op.execute(f"CREATE POLICY of_platform ON retired_keks USING ({SCOPE} = '*')")
    op.execute(f"CREATE POLICY of_workspace ON shredded_workspaces USING ({SCOPE} IN ('*', workspace_id::text))")


def downgrade() -> None:
    for table in ("shredded_workspaces", "retired_keks", "kek_rotations"):
        op.execute(f"DROP TABLE {table}")
    op.execute("DROP INDEX workspace_deks_of_kek")
    # A data key that was destroyed stays destroyed: nothing opens under an empty one.
    op.execute("ALTER TABLE workspace_deks DROP CONSTRAINT destroyed_deks_hold_nothing, DROP COLUMN destroyed_at")
    op.execute("UPDATE workspace_deks SET wrapped = '' WHERE wrapped IS NULL")
    op.execute("ALTER TABLE workspace_deks ALTER COLUMN wrapped SET NOT NULL")
