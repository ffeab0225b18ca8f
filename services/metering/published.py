"""From domain values to the published contracts."""

from collections.abc import Mapping
from datetime import UTC, date, datetime, time
from typing import Any
from uuid import UUID

from services.metering.domain.ledger import Account, Amounts, Decision
from shared.clock import next_month
from shared.messages.metering import AmountsV1, BudgetV1, CapsV1, ReservationV1
from shared.messages.usage import CallV1


def budget(account: Account, period: date) -> BudgetV1:
    """``account`` as it stands in the month that begins on ``period``."""
    start = datetime.combine(period, time(), UTC)
    return BudgetV1(
        workspace_id=account.workspace_id,
        scope="workspace" if account.key_id is None else "key",
        key_id=None if account.key_id is None else str(account.key_id),
        caps=CapsV1(usd_micros=account.caps.usd_micros, tokens=account.caps.tokens, requests=account.caps.requests),
        spent=_amounts(account.spent),
        held=_amounts(account.held),
        period_start=start,
        resets_at=next_month(start),
        blocked=account.blocked,
    )


def reservation(decision: Decision, period: date) -> ReservationV1:
    """``decision`` as the router reads it."""
    return ReservationV1(
        attempt_id=str(decision.attempt_id),
        granted=decision.granted,
        refusal=decision.refusal,
        budget=None if decision.account is None else budget(decision.account, period),
        unit=decision.unit,
        near_cap=tuple(budget(account, period) for account in decision.near_cap),
    )


def call(row: Mapping[str, Any]) -> CallV1:
    """A row of the call log."""
    return CallV1.model_validate({name: _plain(value) for name, value in row.items()})


def _amounts(amounts: Amounts) -> AmountsV1:
    return AmountsV1(usd_micros=amounts.usd_micros, tokens=amounts.tokens, requests=amounts.requests)


def _plain(value: object) -> object:
    if isinstance(value, UUID):
        return str(value)
    return value.astimezone(UTC) if isinstance(value, datetime) else value
