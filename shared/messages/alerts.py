"""What a workspace should hear of at once: budgets near or at their end, keys that stopped working, wrong estimates."""

from datetime import datetime
from enum import StrEnum
from typing import Any, ClassVar, Literal

from pydantic import Field

from shared.messages.base import Record, Service
from shared.messages.metering import Unit
from shared.messages.vocabulary import Funds

KEY_ID = "0190a5c8-5f5e-7c3e-9f7b-0a4b5c6d7e8f"
ALERT_ID = "0190a5c8-7f5e-7c3e-9f7b-0a4b5c6d7e8f"


class AlertKind(StrEnum):
    """What has happened."""

    BUDGET_WARNING = "budget.warning"
    BUDGET_EXHAUSTED = "budget.exhausted"
    BUDGET_HALTED = "budget.halted"
    KEY_INVALID = "key.invalid"


class BudgetAlertV1(Record):
    """A budget stands at 80 % of a cap, at its end, or was halted because a call cost more than was held for it.

    Once per budget, period, unit and kind. ``alert_id`` (UUID) is the same however often it is told.
    """

    subject: ClassVar[str] = "ai.alerts.budget.v1"
    owner: ClassVar[Service] = Service.METERING
    stream: ClassVar[str] = "ALERTS"
    consumer: ClassVar[Service] = Service.API
    example: ClassVar[dict[str, Any]] = {
        "alert_id": ALERT_ID, "kind": "budget.warning", "workspace_id": 1, "scope": "key", "key_id": KEY_ID,
        "period": "month", "period_start": "2026-11-01T00:00:00Z", "resets_at": "2026-12-01T00:00:00Z",
        "unit": "usd_micros", "cap": 5_000_000, "used": 4_100_000, "at": "2026-11-23T10:00:00Z",
    }  # fmt: skip

    alert_id: str
    kind: AlertKind
    workspace_id: int
    scope: Literal["key", "workspace"]
    key_id: str | None = None
    funds: Funds = Funds.OWN
    period: Literal["month", "day"]
    period_start: datetime
    resets_at: datetime
    unit: Unit
    cap: int | None = Field(default=None, ge=0)
    used: int = Field(ge=0)
    attempt_id: str | None = None
    at: datetime

    def message_id(self) -> str:
        """One fact per alert."""
        return self.alert_id


class KeyAlertV1(Record):
    """A provider refuses a key that it took before. Once per key version."""

    subject: ClassVar[str] = "ai.alerts.key.v1"
    owner: ClassVar[Service] = Service.VAULT
    stream: ClassVar[str] = "ALERTS"
    consumer: ClassVar[Service] = Service.API
    example: ClassVar[dict[str, Any]] = {
        "alert_id": ALERT_ID, "workspace_id": 1, "key_id": KEY_ID, "provider": "openai", "version": 1,
        "reason": "refused_by_provider", "at": "2026-11-23T10:00:00Z",
    }  # fmt: skip

    alert_id: str
    kind: Literal[AlertKind.KEY_INVALID] = AlertKind.KEY_INVALID
    workspace_id: int
    key_id: str
    provider: str
    version: int
    reason: str | None = None
    at: datetime

    def message_id(self) -> str:
        """One fact per alert."""
        return self.alert_id
