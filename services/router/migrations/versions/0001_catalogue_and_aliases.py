"""Providers with their models, and aliases with their chains."""

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        CREATE TABLE ai_providers (
            id text PRIMARY KEY CHECK (id ~ '^[a-z][a-z0-9-]{0,62}$'),
            name text NOT NULL,
            kind text NOT NULL CHECK (kind IN ('builtin', 'openai-compatible')),
            base_url text NOT NULL,
            simulated boolean NOT NULL DEFAULT false,
            models jsonb NOT NULL DEFAULT '[]',
            created_at timestamptz NOT NULL,
            updated_at timestamptz NOT NULL
        )
    """)
    op.execute("""
        CREATE TABLE ai_model_aliases (
            id uuid PRIMARY KEY,
            workspace_id bigint NOT NULL,
            alias_name text NOT NULL,
            display_name text NOT NULL,
            capability text NOT NULL,
            chain jsonb NOT NULL CHECK (jsonb_array_length(chain) > 0),
            routing_preference text NOT NULL CHECK (routing_preference IN ('quality', 'speed', 'cost')),
            allow_aggregators boolean NOT NULL,
            time_limits jsonb NOT NULL,
            is_default boolean NOT NULL,
            created_at timestamptz NOT NULL,
            updated_at timestamptz NOT NULL,
            deactivated_at timestamptz
        )
    """)
    op.execute("""
        CREATE UNIQUE INDEX ai_model_aliases_name ON ai_model_aliases (workspace_id, alias_name)
        WHERE deactivated_at IS NULL
    """)
    op.execute("""
        CREATE UNIQUE INDEX ai_model_aliases_default ON ai_model_aliases (workspace_id, alias_name) WHERE is_default
    """)


def downgrade() -> None:
    op.execute("DROP TABLE ai_model_aliases")
    op.execute("DROP TABLE ai_providers")
