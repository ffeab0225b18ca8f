"""Are the books right? Every balance against the caps, and against the reservations and rows it is made of."""

from tests.integration.metering_world import World

_OVER = """
    SELECT b.id, p.span FROM ai_provider_budgets b JOIN budget_periods p ON p.budget_id = b.id
    WHERE p.spent_usd_micros + p.held_usd_micros
            > CASE p.span WHEN 'month' THEN b.cap_usd_micros ELSE b.day_cap_usd_micros END
        OR p.spent_tokens + p.held_tokens > CASE p.span WHEN 'month' THEN b.cap_tokens ELSE b.day_cap_tokens END
        OR p.spent_requests + p.held_requests
            > CASE p.span WHEN 'month' THEN b.cap_requests ELSE b.day_cap_requests END
"""
# What a row was charged in tokens: known ones as they were, unknown ones at the held maximum.
_ENDED = """
    SELECT r.*, (r.created_at AT TIME ZONE 'UTC')::date AS day, l.charged_usd_micros, CASE
        WHEN l.attempt_id IS NULL OR l.billing = 'nothing' THEN 0
        WHEN l.billing = 'unknown' THEN r.tokens
        WHEN l.input_tokens IS NULL OR l.output_tokens IS NULL
            THEN greatest(r.tokens, coalesce(l.input_tokens, 0) + coalesce(l.output_tokens, 0))
        ELSE l.input_tokens + l.output_tokens END AS charged_tokens
    FROM reservations r LEFT JOIN ai_call_logs l ON l.attempt_id = r.attempt_id
"""
_DRIFT = f"""
    WITH ended AS ({_ENDED})
    SELECT b.id, b.funds, p.span, p.period_start FROM ai_provider_budgets b JOIN budget_periods p ON p.budget_id = b.id
    LEFT JOIN LATERAL (
        SELECT coalesce(sum(usd_micros) FILTER (WHERE state = 'held'), 0) AS held_usd,
            coalesce(sum(tokens) FILTER (WHERE state = 'held'), 0) AS held_tokens,
            count(*) FILTER (WHERE state = 'held') AS held_requests,
            coalesce(sum(charged_usd_micros), 0) AS spent_usd,
            coalesce(sum(charged_tokens), 0) AS spent_tokens,
            count(*) FILTER (WHERE state IN ('settled', 'expired')) AS spent_requests
        FROM ended e
        WHERE e.funds = b.funds AND (b.key_id IS NULL OR e.key_id = b.key_id)
            AND (e.workspace_id = b.workspace_id OR b.workspace_id = 0)
            AND p.period_start = CASE p.span WHEN 'month' THEN e.period_start ELSE e.day END
    ) s ON true
    WHERE (p.held_usd_micros, p.held_tokens, p.held_requests, p.spent_usd_micros, p.spent_tokens, p.spent_requests)
        <> (s.held_usd, s.held_tokens, s.held_requests, s.spent_usd, s.spent_tokens, s.spent_requests)
"""


def over(world: World) -> list[dict[str, object]]:
    """Windows of budgets in which spent + held has passed a cap."""
    return world.sql(_OVER)


def drift(world: World) -> list[dict[str, object]]:
    """Windows of budgets whose balance is not the sum of their reservations and rows."""
    return world.sql(_DRIFT)
