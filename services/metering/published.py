"""From domain values to the published contracts."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from services.metering.domain.alerting import Alert, window_of
from services.metering.domain.ledger import NO_CAPS, Account, Amounts, Decision, Span, starts_of
from shared.clock import next_month
from shared.messages.alerts import BudgetAlertV1
from shared.messages.metering import AmountsV1, BudgetV1, CapsV1, Credits, ReservationV1
from shared.messages.usage import CallV1
from shared.messages.vocabulary import Funds


def budget(account: Account, span: Span, now: datetime) -> BudgetV1:
    """``account`` as it stands in the month or on the day of ``now``."""
    window, start = window_of(account, span), starts_of(now)[span]
    return BudgetV1(
        workspace_id=account.workspace_id,
        scope="workspace" if account.key_id is None else "key",
        key_id=None if account.key_id is None else str(account.key_id),
        caps=CapsV1(usd_micros=window.caps.usd_micros, tokens=window.caps.tokens, requests=window.caps.requests),
        spent=_amounts(window.spent),
        held=_amounts(window.held),
        funds=account.funds,
        period=span,
        period_start=start,
        resets_at=_end(span, start),
        blocked=account.blocked,
        halted=account.halted,
        credits=_credits(account),
    )


def budgets(account: Account, now: datetime) -> tuple[BudgetV1, ...]:
    """``account`` in its month, and on its day when that has a cap of its own."""
    spans: tuple[Span, ...] = ("month",) if account.day.caps == NO_CAPS else ("month", "day")
    return tuple(budget(account, span, now) for span in spans)


def reservation(decision: Decision, now: datetime) -> ReservationV1:
    """``decision`` as the router reads it."""
    return ReservationV1(
        attempt_id=str(decision.attempt_id),
        granted=decision.granted,
        refusal=decision.refusal,
        budget=None if decision.account is None else budget(decision.account, decision.span, now),
        unit=decision.unit,
        fits_later=decision.fits_later,
        near_cap=tuple(budget(account, span, now) for account, span in decision.near_cap),
    )


def alert(alert: Alert, alert_id: UUID, now: datetime) -> BudgetAlertV1:
    """``alert`` as it is told."""
    account, start = alert.account, starts_of(now)[alert.span]
    return BudgetAlertV1(
        alert_id=str(alert_id),
        kind=alert.kind,
        workspace_id=account.workspace_id,
        scope="workspace" if account.key_id is None else "key",
        key_id=None if account.key_id is None else str(account.key_id),
        funds=account.funds,
        period=alert.span,
        period_start=start,
        resets_at=_end(alert.span, start),
        unit=alert.unit,
        cap=alert.cap,
        used=alert.used,
        attempt_id=None if alert.attempt_id is None else str(alert.attempt_id),
        at=now,
    )


def call(row: Mapping[str, Any]) -> CallV1:
    """A row of the call log."""
    return CallV1.model_validate({name: _plain(value) for name, value in row.items()})


def _credits(account: Account) -> Credits | None:
    if account.funds is Funds.OWN or account.key_id is not None:
        return None
    return "allowed" if account.credits_allowed else "off"


def _amounts(amounts: Amounts) -> AmountsV1:
    return AmountsV1(usd_micros=amounts.usd_micros, tokens=amounts.tokens, requests=amounts.requests)


def _end(span: Span, start: datetime) -> datetime:
    return next_month(start) if span == "month" else start + timedelta(days=1)


def _plain(value: object) -> object:
    if isinstance(value, UUID):
        return str(value)
    return value.astimezone(UTC) if isinstance(value, datetime) else value
