"""How much a token and a workspace may ask in a minute; null: as much as the deployment lets anybody."""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

TABLES = ("workspaces", "access_tokens")
COLUMNS = ("requests_per_minute", "tokens_per_minute")


def upgrade() -> None:
    for table in TABLES:
        added = ", ".join(f"ADD COLUMN {column} bigint CHECK ({column} > 0)" for column in COLUMNS)
        op.execute(f"ALTER TABLE {table} {added}")


def downgrade() -> None:
    for table in TABLES:
        op.execute(f"ALTER TABLE {table} " + ", ".join(f"DROP COLUMN {column}" for column in COLUMNS))
