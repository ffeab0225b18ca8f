"""What follows from changed balances, in the same transaction: halts, alerts, and word to those who wait for room."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from uuid import uuid4

from services.metering import accounts, published
from services.metering.connection import Raw
from services.metering.domain import alerting
from services.metering.domain.alerting import Alert
from services.metering.domain.ledger import Account, Owner, Span, owners_of
from services.metering.domain.settlement import Settlement
from shared.messages.metering import Unit
from shared.messages.vocabulary import Funds
from shared.money import format_usd

ROOM = "metering_room"
"""PostgreSQL's channel on which the ids of budgets are told that have room again, where somebody waits for it."""
ALERTS = "metering_alerts"
"""PostgreSQL's channel on which it is told that alerts wait to be published."""

_HALT = """
    UPDATE ai_provider_budgets b SET halted_at = %s, halted_why = a.why
    FROM unnest(%s::bigint[], %s::text[]) AS a (id, why) WHERE b.id = a.id AND b.halted_at IS NULL
"""
_RAISE = """
    INSERT INTO budget_alerts
        (alert_id, workspace_id, budget_id, span, period_start, unit, kind, body, raised_at)
    SELECT a.*, %s FROM unnest(%s::uuid[], %s::bigint[], %s::bigint[], %s::text[], %s::date[], %s::text[], %s::text[],
        %s::text[]) AS a
    ON CONFLICT DO NOTHING
"""
_REMEMBER = """
    UPDATE budget_periods p SET alerts = p.alerts | a.bits
    FROM unnest(%s::bigint[], %s::text[], %s::date[], %s::smallint[]) AS a (budget_id, span, period_start, bits)
    WHERE p.budget_id = a.budget_id AND p.span = a.span AND p.period_start = a.period_start
"""
# Sent when the transaction commits, to every replica.
_TELL = "SELECT pg_notify(%s, %s)"


async def follow(raw: Raw, settlements: Iterable[Settlement], standing: Mapping[Owner, Account], now: datetime) -> None:
    """Do what ``settlements`` call for; ``standing``: their accounts afterwards, locked. Usually that is nothing."""
    halts = _halts(settlements, standing)
    if halts:
        ids = [standing[owner].budget_id for owner in halts]
        await raw.execute(_HALT, (now, ids, [_why(end, unit) for end, unit in halts.values()]))
    alerts = [alert for account in standing.values() for alert in alerting.by_level(account)]
    alerts += [
        alerting.halted(standing[owner], unit, end.reservation.attempt_id) for owner, (end, unit) in halts.items()
    ]
    await raise_alerts(raw, alerts, now)
    waited_for = [
        account.budget_id for account in standing.values() if any(place.until > now for place in account.line)
    ]
    if waited_for:
        await raw.execute(_TELL, (ROOM, ",".join(map(str, waited_for))))


async def raise_alerts(raw: Raw, alerts: Sequence[Alert], now: datetime) -> None:
    """Write ``alerts`` to the outbox and remember them with their windows, whose budgets are locked."""
    if not alerts:
        return
    starts = accounts.periods_of(now)
    rows = []
    bits: dict[tuple[int, Span], int] = {}
    for alert in alerts:
        account, start, number = alert.account, starts[alert.span], uuid4()
        body = published.alert(alert, number, now).model_dump_json()
        rows.append(
            (number, account.workspace_id, account.budget_id, alert.span, start, alert.unit, alert.kind.value, body)
        )
        bits[account.budget_id, alert.span] = bits.get((account.budget_id, alert.span), 0) | alert.bit
    await raw.execute(_RAISE, (now, *_columns(rows)))
    remembered = [(budget, span, starts[span], bit) for (budget, span), bit in bits.items() if bit]
    if remembered:
        await raw.execute(_REMEMBER, _columns(remembered))
    await raw.execute(_TELL, (ALERTS, ""))


def _halts(
    settlements: Iterable[Settlement], standing: Mapping[Owner, Account]
) -> dict[Owner, tuple[Settlement, Unit]]:
    halts: dict[Owner, tuple[Settlement, Unit]] = {}
    for end in settlements:
        unit = end.overrun
        if unit is None:
            continue
        held = end.reservation
        key, workspace = owners_of(held.workspace_id, held.key_id, Funds(held.funds))
        # A key of the platform serves every workspace: one of them must not stop it for the others.
        owner = key if held.funds == Funds.OWN else workspace
        if standing[owner].halted is None:
            halts.setdefault(owner, (end, unit))
    return halts


def _why(end: Settlement, unit: Unit) -> str:
    held, charged = end.reservation, end.charged
    if unit == "usd_micros":
        what = f"${format_usd(charged.usd_micros)} where ${format_usd(held.usd_micros)} was held for it"
    else:
        what = f"{charged.tokens} tokens where {held.tokens} were held for it"
    return f"A call of {held.provider}/{held.model} took {what} (attempt {held.attempt_id})."


def _columns(rows: Sequence[tuple[object, ...]]) -> tuple[list[object], ...]:
    return tuple(list(column) for column in zip(*rows, strict=True))
