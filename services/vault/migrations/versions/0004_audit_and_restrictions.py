"""The key audit, and keys restricted to models and regions, checked on a schedule."""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

POLICY = """
    CREATE POLICY of_workspace ON {table}
    USING ((SELECT current_setting('omnipost.workspace', true)) IN ('*', workspace_id::text))
"""


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE key_audit (
            workspace_id bigint      NOT NULL CHECK (workspace_id >= 0),
            seq          bigint      NOT NULL CHECK (seq > 0),
            at           timestamptz NOT NULL,
            action       text        NOT NULL,
            key_id       uuid,
            actor        jsonb       NOT NULL,
            trace_id     text,
            facts        jsonb       NOT NULL,
            previous     bytea       NOT NULL CHECK (octet_length(previous) = 32),
            hash         bytea       NOT NULL CHECK (octet_length(hash) = 32),
            PRIMARY KEY (workspace_id, seq)
        )
        """
    )
    op.execute("CREATE INDEX key_audit_of_key ON key_audit (workspace_id, key_id, seq)")
    op.execute(
        """
        CREATE TABLE audit_heads (
            workspace_id bigint PRIMARY KEY CHECK (workspace_id >= 0),
            seq          bigint NOT NULL CHECK (seq >= 0),
            hash         bytea  NOT NULL CHECK (octet_length(hash) = 32),
            seal         bytea  NOT NULL CHECK (octet_length(seal) = 32)
        )
        """
    )
    _only_grows("key_audit")
    for table in ("key_audit", "audit_heads"):
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY")
        op.execute(POLICY.format(table=table))
    op.execute(
        """
        ALTER TABLE ai_provider_keys
            ADD COLUMN models text[] CHECK (cardinality(models) > 0),
            ADD COLUMN regions text[] CHECK (cardinality(regions) > 0),
            ADD COLUMN next_check_at timestamptz
        """
    )
    op.execute(
        "CREATE INDEX ai_provider_keys_due ON ai_provider_keys (next_check_at NULLS FIRST) WHERE status <> 'revoked'"
    )


def downgrade() -> None:
    op.execute("DROP INDEX ai_provider_keys_due")
    op.execute("ALTER TABLE ai_provider_keys DROP COLUMN models, DROP COLUMN regions, DROP COLUMN next_check_at")
    op.execute("DROP TABLE audit_heads")
    op.execute("DROP TABLE key_audit")
    op.execute("DROP FUNCTION refuse_rewriting")


def _only_grows(table: str) -> None:
    # The comment is what `shared.migrate` looks for: it grants a service everything but UPDATE and DELETE there.
    op.execute(f"COMMENT ON TABLE {table} IS 'append-only'")
    op.execute(
        """
        CREATE FUNCTION refuse_rewriting() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            RAISE EXCEPTION '% is append-only: % is refused', TG_TABLE_NAME, TG_OP USING ERRCODE = '42501';
        END
        $$
        """
    )
    op.execute(
        f"CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
        "FOR EACH STATEMENT EXECUTE FUNCTION refuse_rewriting()"
    )
