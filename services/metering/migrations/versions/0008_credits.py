"""Whether a workspace wants its platform credits used: on the account they are held on, so that admission sees it."""

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE ai_provider_budgets ADD COLUMN credits_allowed boolean NOT NULL DEFAULT false")


def downgrade() -> None:
    op.execute("ALTER TABLE ai_provider_budgets DROP COLUMN credits_allowed")
