"""Stored keys and the data keys that open them."""

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE workspace_deks (
            id           uuid        PRIMARY KEY,
            workspace_id bigint      NOT NULL CHECK (workspace_id > 0),
            kek_id       text        NOT NULL,
            wrapped      bytea       NOT NULL,
            active       boolean     NOT NULL DEFAULT true,
            created_at   timestamptz NOT NULL,
            UNIQUE (workspace_id, id)
        )
        """
    )
    op.execute("CREATE UNIQUE INDEX workspace_deks_one_active ON workspace_deks (workspace_id) WHERE active")
    op.execute(
        """
        CREATE TABLE ai_provider_keys (
            id               uuid        PRIMARY KEY,
            workspace_id     bigint      NOT NULL CHECK (workspace_id > 0),
            provider         text        NOT NULL,
            label            text        NOT NULL,
            masked_key       text        NOT NULL,
            scopes           text[]      NOT NULL CHECK (scopes <@ ARRAY['text', 'image', 'audio', 'video']),
            status           text        NOT NULL CHECK (status IN ('active', 'invalid', 'unverified', 'revoked')),
            status_reason    text,
            host             text        NOT NULL,
            version          integer     NOT NULL CHECK (version > 0),
            dek_id           uuid        NOT NULL,
            ciphertext       bytea,
            last_verified_at timestamptz,
            created_at       timestamptz NOT NULL,
            updated_at       timestamptz NOT NULL,
            revoked_at       timestamptz,
            FOREIGN KEY (workspace_id, dek_id) REFERENCES workspace_deks (workspace_id, id),
            CONSTRAINT revoked_keys_hold_nothing CHECK (
                (status = 'revoked') = (ciphertext IS NULL) AND (status = 'revoked') = (revoked_at IS NOT NULL)
            )
        )
        """
    )
    op.execute("CREATE INDEX ai_provider_keys_of_workspace ON ai_provider_keys (workspace_id, created_at, id)")


def downgrade() -> None:
    op.execute("DROP TABLE ai_provider_keys")
    op.execute("DROP TABLE workspace_deks")
