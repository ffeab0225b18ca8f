"""What an alias wants when a stream breaks after its first piece: another target goes on, nobody saw it, or it ends."""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        ALTER TABLE ai_model_aliases ADD COLUMN on_stream_cut text NOT NULL DEFAULT 'continue'
        CHECK (on_stream_cut IN ('continue', 'hold', 'error'))
    """)


def downgrade() -> None:
    op.execute("ALTER TABLE ai_model_aliases DROP COLUMN on_stream_cut")
