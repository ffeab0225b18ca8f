"""Workspace 0: the platform's own keys are stored like any other, under a data key of their own."""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

TABLES = ("workspace_deks", "ai_provider_keys")


def upgrade() -> None:
    for table in TABLES:
        _allow(table, "workspace_id >= 0")


def downgrade() -> None:
    # What the environment gave can be given again.
    op.execute("DELETE FROM key_alerts WHERE workspace_id = 0")
    op.execute("DELETE FROM ai_provider_keys WHERE workspace_id = 0")
    op.execute("DELETE FROM workspace_deks WHERE workspace_id = 0")
    for table in TABLES:
        _allow(table, "workspace_id > 0")


def _allow(table: str, rule: str) -> None:
    name = f"{table}_workspace_id_check"
    op.execute(f"ALTER TABLE {table} DROP CONSTRAINT {name}, ADD CONSTRAINT {name} CHECK ({rule})")
