"""The history of the catalogue: what an admin has changed, who and when. It only grows."""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        CREATE TABLE ai_catalogue_changes (
            version bigint PRIMARY KEY CHECK (version > 0),
            at timestamptz NOT NULL,
            actor jsonb,
            provider text NOT NULL,
            before jsonb,
            after jsonb NOT NULL
        )
    """)
    # The comment is what `shared.migrate` looks for: it grants the service everything but UPDATE and DELETE there.
    op.execute("COMMENT ON TABLE ai_catalogue_changes IS 'append-only'")
    op.execute("""
        CREATE FUNCTION refuse_rewriting() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            RAISE EXCEPTION '% is append-only: % is refused', TG_TABLE_NAME, TG_OP USING ERRCODE = '42501';
        END
        $$
    """)
    op.execute("""
        CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON ai_catalogue_changes
        FOR EACH STATEMENT EXECUTE FUNCTION refuse_rewriting()
    """)
    op.execute("ALTER TABLE ai_catalogue_changes ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY")
    op.execute("""
        CREATE POLICY of_platform ON ai_catalogue_changes
        USING ((SELECT current_setting('omnipost.workspace', true)) = '*')
    """)


def downgrade() -> None:
    op.execute("DROP TABLE ai_catalogue_changes")
    op.execute("DROP FUNCTION refuse_rewriting")
