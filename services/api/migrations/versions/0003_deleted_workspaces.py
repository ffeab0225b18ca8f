"""Workspaces that have been deleted, and whether the vault has destroyed their keys."""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE workspaces ADD COLUMN deleted_at timestamptz, ADD COLUMN shredded_at timestamptz")


def downgrade() -> None:
    op.execute("ALTER TABLE workspaces DROP COLUMN deleted_at, DROP COLUMN shredded_at")
