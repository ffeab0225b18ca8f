"""Where a provider works, as keys may be restricted to it. NULL: unknown, or anywhere."""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE ai_providers ADD COLUMN region text CHECK (region ~ '^[a-z]{2,16}$')")
    # What seeding gives new rows; a row whose address was changed may be anywhere.
    op.execute("""
        UPDATE ai_providers SET region = known.region
        FROM (VALUES
            ('zhipu', 'https://open.bigmodel.cn/api/paas/v4', 'cn'),
            ('kling', 'https://api-singapore.klingai.com', 'sg')
        ) AS known (id, base_url, region)
        WHERE ai_providers.id = known.id AND ai_providers.base_url = known.base_url
    """)


def downgrade() -> None:
    op.execute("ALTER TABLE ai_providers DROP COLUMN region")
