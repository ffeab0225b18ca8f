"""Live events for other OmniPost services, on core NATS below ``ai.events.<workspace>``: heard now or never.

Each carries the alert that a webhook carries as well; whoever must miss none takes a webhook. A service of OmniPost
beside these four hears those of the workspaces it is given (``shared/permissions.py``).
"""

from typing import Any, ClassVar

from shared.messages.alerts import BudgetAlertV1, KeyAlertV1
from shared.messages.base import Event, Service

_BUDGET = BudgetAlertV1.example
_KEY = KeyAlertV1.example
_ELSEWHERE: tuple[Service, ...] = ()


class BudgetWarningV1(Event):
    """A budget stands at 80 % of a cap."""

    subject: ClassVar[str] = "ai.events.{workspace_id}.budget_warning.v1"
    owner: ClassVar[Service] = Service.API
    listeners: ClassVar[tuple[Service, ...]] = _ELSEWHERE
    for_guests: ClassVar[bool] = True
    example: ClassVar[dict[str, Any]] = {"workspace_id": 1, "alert": _BUDGET}

    workspace_id: int
    alert: BudgetAlertV1


class BudgetExhaustedV1(Event):
    """A budget is used up."""

    subject: ClassVar[str] = "ai.events.{workspace_id}.budget_exhausted.v1"
    owner: ClassVar[Service] = Service.API
    listeners: ClassVar[tuple[Service, ...]] = _ELSEWHERE
    for_guests: ClassVar[bool] = True
    example: ClassVar[dict[str, Any]] = {"workspace_id": 1, "alert": _BUDGET | {"kind": "budget.exhausted"}}

    workspace_id: int
    alert: BudgetAlertV1


class BudgetHaltedV1(Event):
    """A call cost more than was held for it; nothing is admitted on its budget until somebody resumes it."""

    subject: ClassVar[str] = "ai.events.{workspace_id}.budget_halted.v1"
    owner: ClassVar[Service] = Service.API
    listeners: ClassVar[tuple[Service, ...]] = _ELSEWHERE
    for_guests: ClassVar[bool] = True
    example: ClassVar[dict[str, Any]] = {"workspace_id": 1, "alert": _BUDGET | {"kind": "budget.halted"}}

    workspace_id: int
    alert: BudgetAlertV1


class KeyInvalidV1(Event):
    """A provider refuses a key that it took before."""

    subject: ClassVar[str] = "ai.events.{workspace_id}.key_invalid.v1"
    owner: ClassVar[Service] = Service.API
    listeners: ClassVar[tuple[Service, ...]] = _ELSEWHERE
    for_guests: ClassVar[bool] = True
    example: ClassVar[dict[str, Any]] = {"workspace_id": 1, "alert": _KEY}

    workspace_id: int
    alert: KeyAlertV1
