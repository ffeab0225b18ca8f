"""Who pays for an alias's calls: the workspace's own keys, its credits on the platform's keys, or those after them."""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        ALTER TABLE ai_model_aliases ADD COLUMN funds text NOT NULL DEFAULT 'own'
        CHECK (funds IN ('own', 'platform', 'own_then_platform'))
    """)


def downgrade() -> None:
    op.execute("ALTER TABLE ai_model_aliases DROP COLUMN funds")
