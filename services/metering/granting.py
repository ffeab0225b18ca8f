"""The transaction that decides a group of reservations: lock their budgets, decide, hold; committed at its end."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from services.metering import accounts, consequences
from services.metering.connection import Raw
from services.metering.domain import alerting
from services.metering.domain.admission import Admitted, decide, near_cap
from services.metering.domain.ledger import Account, Amounts, Ask, Decision, Owner, Place
from shared import failpoints
from shared.errors import Code, OmniError
from shared.messages.vocabulary import Funds

Verdict = Decision | OmniError

# An id is used once for ever, although finished reservations are purged.
_KNOWN = """
    SELECT attempt_id, workspace_id, key_id, funds, state FROM reservations WHERE attempt_id = ANY(%(ids)s::uuid[])
    UNION ALL
    SELECT attempt_id, workspace_id, NULL, NULL, state FROM ended_attempts WHERE attempt_id = ANY(%(ids)s::uuid[])
"""
_INSERT = """
    INSERT INTO reservations (attempt_id, call_id, workspace_id, key_id, provider, model, alias_name, capability,
        attempt_index, trace_id, usd_micros, tokens, expires_at, funds, period_start, created_at)
    SELECT a.*, %s, %s FROM unnest(%s::uuid[], %s::text[], %s::bigint[], %s::uuid[], %s::text[], %s::text[], %s::text[],
        %s::text[], %s::integer[], %s::text[], %s::bigint[], %s::bigint[], %s::timestamptz[], %s::text[]) AS a
"""
_HOLD = """
    INSERT INTO budget_periods AS p (budget_id, span, period_start, held_usd_micros, held_tokens, held_requests)
    SELECT a.budget_id, w.span, w.period_start, a.usd_micros, a.tokens, a.requests
    FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[]) AS a (budget_id, usd_micros, tokens, requests),
        (VALUES ('month', %s::date), ('day', %s::date)) AS w (span, period_start)
    ON CONFLICT (budget_id, span, period_start) DO UPDATE SET
        held_usd_micros = p.held_usd_micros + excluded.held_usd_micros,
        held_tokens = p.held_tokens + excluded.held_tokens,
        held_requests = p.held_requests + excluded.held_requests
"""
_LINE = """
    UPDATE ai_provider_budgets b SET line = a.line::jsonb FROM unnest(%s::bigint[], %s::text[]) AS a (id, line)
    WHERE b.id = a.id
"""


async def admit(raw: Raw, asks: Sequence[Ask], now: datetime) -> list[Verdict]:
    """A verdict for each of ``asks``, in their order."""
    unique = {ask.attempt_id: ask for ask in reversed(asks)}
    owners = {owner for ask in asks for owner in ask.owners}
    async with raw.pipeline():
        await raw.execute("BEGIN")
        locked = await accounts.lock_accounts(raw, owners, now)
        # Read under the lock: the same attempt, asked of another replica a moment ago, is seen.
        known_rows = await raw.execute(_KNOWN, {"ids": list(unique)})
        standing = await locked.read()
        missing = _without_workspace(standing)
        if missing:
            await accounts.create_workspaces(raw, missing)
            standing = await (await accounts.lock_accounts(raw, owners, now)).read()
        known = {row[0]: row for row in await known_rows.fetchall()}
        fresh = [unique[attempt] for attempt in dict.fromkeys(ask.attempt_id for ask in asks) if attempt not in known]
        admitted = decide(fresh, standing, now)
        decided = {decision.attempt_id: decision for decision in admitted.decisions}
        await _write(raw, admitted, [ask for ask in fresh if decided[ask.attempt_id].granted], now)
        failpoints.passing("metering.reserve.commit")
        await raw.execute("COMMIT")
    failpoints.passing("metering.reserve.committed")
    return [decided.get(ask.attempt_id) or _again(ask, known[ask.attempt_id], standing) for ask in asks]


def _without_workspace(standing: Mapping[Owner, Account]) -> set[int]:
    # Only a workspace's own account comes by itself; credits must have been given.
    workspaces = {workspace for workspace, key, funds in standing if key is not None and funds is Funds.OWN}
    return {workspace for workspace in workspaces if (workspace, None, Funds.OWN) not in standing}


def _again(ask: Ask, known: tuple[object, ...], standing: Mapping[Owner, Account]) -> Verdict:
    _, workspace_id, key_id, funds, state = known
    if (workspace_id, key_id, funds) != (ask.workspace_id, ask.key_id, ask.funds):
        return OmniError(Code.CONFLICT, "This attempt id is already used for another key.")
    if state != "held":
        # Its hold is gone, so the same yes again would let a call run unpaid.
        return OmniError(Code.CONFLICT, f"This attempt is already {state}; a new attempt needs a new id.")
    return Decision(ask.attempt_id, near_cap=near_cap(ask, standing))


async def _write(raw: Raw, admitted: Admitted, granted: Sequence[Ask], now: datetime) -> None:
    standing = admitted.standing
    if granted:
        await _insert(raw, granted, now)
        await _hold(raw, {standing[owner].budget_id: amounts for owner, amounts in admitted.holds.items()}, now)
    if admitted.lines:
        await _keep_lines(raw, {standing[owner].budget_id: line for owner, line in admitted.lines.items()})
    alerts = [alert for owner in admitted.holds for alert in alerting.by_level(standing[owner])]
    known = {(alert.account.budget_id, alert.span, alert.unit, alert.kind) for alert in alerts}
    alerts += [
        alert
        for alert in alerting.by_refusals(admitted.decisions)
        if (alert.account.budget_id, alert.span, alert.unit, alert.kind) not in known
    ]
    await consequences.raise_alerts(raw, alerts, now)


async def _insert(raw: Raw, asks: Sequence[Ask], now: datetime) -> None:
    rows = [
        (
            ask.attempt_id, ask.call_id, ask.workspace_id, ask.key_id, ask.provider, ask.model, ask.alias_name,
            ask.capability, ask.attempt_index, ask.trace_id, ask.usd_micros, ask.tokens,
            now + timedelta(seconds=ask.ttl_s), ask.funds.value,
        )
        for ask in asks
    ]  # fmt: skip
    columns = [list(column) for column in zip(*rows, strict=True)]
    await raw.execute(_INSERT, (accounts.periods_of(now)["month"], now, *columns))


async def _hold(raw: Raw, holds: Mapping[int, Amounts], now: datetime) -> None:
    rows = [(budget, amounts.usd_micros, amounts.tokens, amounts.requests) for budget, amounts in holds.items()]
    columns = [list(column) for column in zip(*rows, strict=True)]
    periods = accounts.periods_of(now)
    await raw.execute(_HOLD, (*columns, periods["month"], periods["day"]))


async def _keep_lines(raw: Raw, lines: Mapping[int, Sequence[Place]]) -> None:
    stored = [
        json.dumps([(str(place.attempt_id), place.since.isoformat(), place.until.isoformat()) for place in line])
        if line
        else None
        for line in lines.values()
    ]
    await raw.execute(_LINE, (list(lines), stored))
