"""Days beside months, platform funds, halts, the line of those who wait, alerts that are told once.

A day's balance begins with what is held now and what today's calls were charged, so that both windows agree with the
reservations from the first moment.
"""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

SCOPE = "(SELECT current_setting('omnipost.workspace', true))"
OF_WORKSPACE = f"{SCOPE} IN ('*', workspace_id::text)"
OWNER = "ai_provider_budgets_workspace_id_scope_key_id"
FUNDS = "funds text NOT NULL DEFAULT 'own' CHECK (funds IN ('own', 'platform'))"

# line: the attempts that have waited longest for room in this budget (id, since, until when the place is kept); they
# are served before any that came later.
BUDGETS = f"""
ALTER TABLE ai_provider_budgets
    ADD COLUMN {FUNDS},
    ADD COLUMN day_cap_usd_micros bigint CHECK (day_cap_usd_micros >= 0),
    ADD COLUMN day_cap_tokens bigint CHECK (day_cap_tokens >= 0),
    ADD COLUMN day_cap_requests bigint CHECK (day_cap_requests >= 0),
    ADD COLUMN halted_at timestamptz,
    ADD COLUMN halted_why text,
    ADD COLUMN line jsonb,
    ADD CHECK ((halted_at IS NULL) = (halted_why IS NULL)),
    DROP CONSTRAINT {OWNER}_key,
    ADD CONSTRAINT {OWNER}_funds_key UNIQUE NULLS NOT DISTINCT (workspace_id, scope, key_id, funds)
"""
# alerts: which have been raised, a bit each (domain/alerting.py).
PERIODS = """
ALTER TABLE budget_periods
    ADD COLUMN span text NOT NULL DEFAULT 'month' CHECK (span IN ('month', 'day')),
    ADD COLUMN alerts smallint NOT NULL DEFAULT 0,
    DROP CONSTRAINT budget_periods_pkey,
    ADD PRIMARY KEY (budget_id, span, period_start)
"""
CALLS = f"""
ALTER TABLE ai_call_logs
    ADD COLUMN {FUNDS},
    ADD COLUMN fallback_from text,
    ADD COLUMN first_token_ms bigint,
    ADD COLUMN reserved_usd_micros bigint
"""
DAYS = """
INSERT INTO budget_periods (budget_id, span, period_start, spent_usd_micros, spent_tokens, spent_requests,
    held_usd_micros, held_tokens, held_requests)
SELECT b.id, 'day', day, sum(s.spent_usd_micros), sum(s.spent_tokens), sum(s.spent_requests),
    sum(s.held_usd_micros), sum(s.held_tokens), sum(s.held_requests)
FROM (
    SELECT workspace_id, key_id, (created_at AT TIME ZONE 'UTC')::date AS day,
        0 AS spent_usd_micros, 0 AS spent_tokens, 0 AS spent_requests,
        coalesce(usd_micros, 0) AS held_usd_micros, tokens AS held_tokens, requests AS held_requests
    FROM reservations WHERE state = 'held'
    UNION ALL
    SELECT r.workspace_id, r.key_id, (r.created_at AT TIME ZONE 'UTC')::date, l.charged_usd_micros,
        CASE
            WHEN l.billing = 'nothing' THEN 0
            WHEN l.billing = 'unknown' THEN r.tokens
            WHEN l.input_tokens IS NULL OR l.output_tokens IS NULL
                THEN greatest(r.tokens, coalesce(l.input_tokens, 0) + coalesce(l.output_tokens, 0))
            ELSE l.input_tokens + l.output_tokens
        END,
        r.requests, 0, 0, 0
    FROM reservations r JOIN ai_call_logs l ON l.attempt_id = r.attempt_id AND l.started_at >= now() - interval '3 days'
    WHERE r.state IN ('settled', 'expired') AND r.created_at >= date_trunc('day', now() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC'
) s
JOIN ai_provider_budgets b ON b.workspace_id = s.workspace_id AND (b.scope = 'workspace' OR b.key_id = s.key_id)
GROUP BY b.id, day
"""  # noqa: E501 - one condition
ALERTS = """
CREATE TABLE budget_alerts (
    alert_id uuid PRIMARY KEY,
    workspace_id bigint NOT NULL,
    budget_id bigint NOT NULL REFERENCES ai_provider_budgets (id),
    span text NOT NULL,
    period_start date NOT NULL,
    unit text NOT NULL,
    kind text NOT NULL,
    body text NOT NULL,
    raised_at timestamptz NOT NULL,
    told_at timestamptz
)
"""


def upgrade() -> None:
    op.execute(BUDGETS)
    op.execute(PERIODS)
    op.execute(f"ALTER TABLE reservations ADD COLUMN {FUNDS}")
    op.execute("CREATE INDEX reservations_held_of_key ON reservations (workspace_id, key_id) WHERE state = 'held'")
    op.execute(CALLS)
    op.execute(DAYS)
    op.execute(ALERTS)
    op.execute("CREATE INDEX budget_alerts_to_tell ON budget_alerts (raised_at) WHERE told_at IS NULL")
    # A budget that was resumed may be halted again, and somebody must hear of it again.
    op.execute(
        "CREATE UNIQUE INDEX budget_alerts_once ON budget_alerts (budget_id, span, period_start, unit, kind) "
        "WHERE kind <> 'budget.halted'"
    )
    op.execute("ALTER TABLE budget_alerts ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY")
    op.execute(f"CREATE POLICY of_workspace ON budget_alerts USING ({OF_WORKSPACE})")


def downgrade() -> None:
    op.execute("DROP TABLE budget_alerts")
    op.execute(
        "ALTER TABLE ai_call_logs DROP COLUMN funds, DROP COLUMN fallback_from, DROP COLUMN first_token_ms, "
        "DROP COLUMN reserved_usd_micros"
    )
    op.execute("DROP INDEX reservations_held_of_key")
    op.execute("ALTER TABLE reservations DROP COLUMN funds")
    op.execute("DELETE FROM budget_periods WHERE span = 'day'")
    op.execute(
        "ALTER TABLE budget_periods DROP COLUMN span, DROP COLUMN alerts, ADD PRIMARY KEY (budget_id, period_start)"
    )
    op.execute(
        "DELETE FROM budget_periods p USING ai_provider_budgets b WHERE b.id = p.budget_id AND b.funds = 'platform'"
    )
    op.execute("DELETE FROM ai_provider_budgets WHERE funds = 'platform'")
    op.execute(
        f"ALTER TABLE ai_provider_budgets DROP CONSTRAINT {OWNER}_funds_key, DROP COLUMN funds, "
        "DROP COLUMN day_cap_usd_micros, DROP COLUMN day_cap_tokens, DROP COLUMN day_cap_requests, "
        "DROP COLUMN halted_at, DROP COLUMN halted_why, "
        "DROP COLUMN line, "
        f"ADD CONSTRAINT {OWNER}_key UNIQUE NULLS NOT DISTINCT (workspace_id, scope, key_id)"
    )
