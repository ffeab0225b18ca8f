"""Requests with an Idempotency-Key: which of them run, and what those that have ended were answered."""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

OF_WORKSPACE = "(SELECT current_setting('omnipost.workspace', true)) IN ('*', workspace_id::text)"
# name, fingerprint, answer: see services/api/domain/idempotency.py; neither key nor token is here. effect_id: the id of
# the call, or of what is created. holder: who runs it. lease_until: null once it has ended. asked_at: from then on the
# call may have been made. reason: why there is no answer. workspace_id null: the platform's own.
REQUESTS = """
CREATE TABLE idempotent_requests (
    name bytea PRIMARY KEY CHECK (length(name) = 32),
    workspace_id bigint,
    fingerprint bytea NOT NULL,
    effect_id uuid NOT NULL,
    holder uuid NOT NULL,
    lease_until timestamptz,
    asked_at timestamptz,
    reason text,
    answer bytea,
    created_at timestamptz NOT NULL,
    CHECK ((lease_until IS NULL) = (answer IS NOT NULL OR reason IS NOT NULL)),
    CHECK (answer IS NULL OR reason IS NULL)
)
"""


def upgrade() -> None:
    op.execute(REQUESTS)
    op.execute("CREATE INDEX idempotent_requests_by_age ON idempotent_requests (created_at)")
    op.execute("CREATE INDEX idempotent_requests_of_workspace ON idempotent_requests (workspace_id)")
    op.execute("ALTER TABLE idempotent_requests ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY")
    op.execute(f"CREATE POLICY of_workspace ON idempotent_requests USING ({OF_WORKSPACE})")


def downgrade() -> None:
    op.execute("DROP TABLE idempotent_requests")
