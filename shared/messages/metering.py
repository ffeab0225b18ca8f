"""Contracts of metering: budgets, reservations, and what has been used.

Amounts are integer micro-dollars. A cap of None means no limit; 0 means nothing may be spent.
"""

from datetime import datetime
from enum import StrEnum
from typing import Any, ClassVar, Literal

from pydantic import Field

from shared.messages.base import Part, Request, Service
from shared.messages.vocabulary import Funds
from shared.money import format_usd

KEY_ID = "0190a5c8-5f5e-7c3e-9f7b-0a4b5c6d7e8f"
ATTEMPT_ID = "0190a5c8-6f5e-7c3e-9f7b-0a4b5c6d7e8f"
Unit = Literal["usd_micros", "tokens", "requests"]
Credits = Literal["off", "allowed"]
"""Whether a workspace wants its platform credits used at all."""
_API, _ROUTER = (Service.API,), (Service.ROUTER,)


class CapsV1(Part):
    """Limits for one period."""

    usd_micros: int | None = Field(default=None, ge=0)
    tokens: int | None = Field(default=None, ge=0)
    requests: int | None = Field(default=None, ge=0)


class AmountsV1(Part):
    """Quantities in the three units of a budget."""

    usd_micros: int = 0
    tokens: int = 0
    requests: int = 0


class BudgetV1(Part):
    """One budget in its current period. Nothing above ``caps`` is ever ``spent`` plus ``held``.

    ``halted``: why nothing more is admitted until somebody resumes it (a call cost more than was held for it); None:
    it is not. ``credits``: of platform credits, whether the workspace uses them; None: these are none. Days and months
    begin at 00:00 UTC.
    """

    workspace_id: int
    scope: Literal["key", "workspace"]
    key_id: str | None
    caps: CapsV1
    spent: AmountsV1
    held: AmountsV1
    funds: Funds = Funds.OWN
    period: Literal["month", "day"] = "month"
    period_start: datetime
    resets_at: datetime
    blocked: bool = False
    halted: str | None = None
    credits: Credits | None = None

    def public(self) -> dict[str, object]:
        """As the edge shows it: money as decimal strings of USD."""
        view: dict[str, object] = {"scope": self.scope, "key_id": self.key_id, "funds": self.funds.value}
        view |= {"period": self.period, "halted": self.halted}
        if self.credits is not None:
            view["credits"] = self.credits
        for name, amounts in (("cap", self.caps), ("spent", self.spent), ("held", self.held)):
            view[f"{name}_usd"] = format_usd(amounts.usd_micros)
            view[f"{name}_tokens"] = amounts.tokens
            view[f"{name}_requests"] = amounts.requests
        return view | {"period_start": self.period_start.isoformat(), "resets_at": self.resets_at.isoformat()}


class BudgetsV1(Part):
    """Budgets of a workspace."""

    items: tuple[BudgetV1, ...]


class SetKeyBudgetV1(Request):
    """Create a key's budget or change some of its caps (None removes one); what is spent stays spent.

    A key without a budget cannot be used: this comes before the key itself is stored.
    """

    subject: ClassVar[str] = "ai.metering.budgets.set.v1"
    owner: ClassVar[Service] = Service.METERING
    callers: ClassVar[tuple[Service, ...]] = _API
    reply: ClassVar[type[Part]] = BudgetV1
    example: ClassVar[dict[str, Any]] = {"workspace_id": 1, "key_id": KEY_ID, "caps": {"usd_micros": 5_000_000}}

    workspace_id: int
    key_id: str
    caps: dict[Unit, int | None] = Field(default={})
    day_caps: dict[Unit, int | None] = Field(default={})


class SetWorkspaceBudgetV1(Request):
    """Change some caps of a workspace's own budget or of its platform credits; what is spent stays spent.

    Credits without any cap are none: to remove their last cap takes the grant back.
    """

    subject: ClassVar[str] = "ai.metering.budgets.workspace.v1"
    owner: ClassVar[Service] = Service.METERING
    callers: ClassVar[tuple[Service, ...]] = _API
    reply: ClassVar[type[Part]] = BudgetsV1
    example: ClassVar[dict[str, Any]] = {"workspace_id": 1, "caps": {"usd_micros": 50_000_000}}

    workspace_id: int
    funds: Funds = Funds.OWN
    caps: dict[Unit, int | None] = Field(default={})
    day_caps: dict[Unit, int | None] = Field(default={})


class ResumeBudgetV1(Request):
    """Admit calls again on a budget that was halted. ``key_id`` None: the workspace's. Idempotent."""

    subject: ClassVar[str] = "ai.metering.budgets.resume.v1"
    owner: ClassVar[Service] = Service.METERING
    callers: ClassVar[tuple[Service, ...]] = _API
    reply: ClassVar[type[Part]] = BudgetsV1
    example: ClassVar[dict[str, Any]] = {"workspace_id": 1, "key_id": KEY_ID}

    workspace_id: int
    key_id: str | None = None
    funds: Funds = Funds.OWN


class ListBudgetsV1(Request):
    """Every budget of a workspace, in its current period."""

    subject: ClassVar[str] = "ai.metering.budgets.list.v1"
    owner: ClassVar[Service] = Service.METERING
    callers: ClassVar[tuple[Service, ...]] = (Service.API, Service.ROUTER)
    reply: ClassVar[type[Part]] = BudgetsV1
    example: ClassVar[dict[str, Any]] = {"workspace_id": 1}

    workspace_id: int


class BlockedV1(Part):
    """The key is blocked (committed). ``held``: reservations granted before that which have not ended yet."""

    held: int


class BlockKeyV1(Request):
    """No reservation for this key is granted after the answer. Idempotent; there is no unblock."""

    subject: ClassVar[str] = "ai.metering.keys.block.v1"
    owner: ClassVar[Service] = Service.METERING
    callers: ClassVar[tuple[Service, ...]] = (Service.VAULT,)
    reply: ClassVar[type[Part]] = BlockedV1
    example: ClassVar[dict[str, Any]] = {"workspace_id": 1, "key_id": KEY_ID}

    workspace_id: int
    key_id: str


class Refusal(StrEnum):
    """Why a reservation was not granted.

    Of platform funds only: ``NO_CREDITS``, nothing was granted (a grant has a cap), or ``CREDITS_OFF``, the workspace
    has not switched them on.
    """

    BUDGET_EXCEEDED = "budget_exceeded"
    KEY_BLOCKED = "key_blocked"
    HALTED = "halted"
    UNPRICED = "unpriced"
    NO_CREDITS = "no_credits"
    CREDITS_OFF = "credits_off"


class ReservationV1(Part):
    """``granted``, or why not: ``refusal`` and the budget (as it stands) and unit that stopped it.

    ``near_cap``: budgets at 80 % or more of a cap once this reservation is counted. ``fits_later``: only what is held
    for calls under way stands against it, so it may be asked again.
    """

    attempt_id: str
    granted: bool
    refusal: Refusal | None = None
    budget: BudgetV1 | None = None
    unit: Unit | None = None
    fits_later: bool = False
    near_cap: tuple[BudgetV1, ...] = ()


class ReserveV1(Request):
    """May this attempt be paid for? Holds an upper bound of its cost until it is settled or expires.

    ``usd_micros`` None: the model has no price, which only budgets without a $ cap admit.
    ``attempt_id`` (UUID) is the reservation's id everywhere; asking again gives the same answer.
    ``wait_s``: how long the asker can wait for calls under way to settle when only they stand against it; ``waited_s``:
    how long it has waited with earlier questions, so that it keeps its place. ``funds`` never change silently.
    """

    subject: ClassVar[str] = "ai.metering.reserve.v1"
    owner: ClassVar[Service] = Service.METERING
    callers: ClassVar[tuple[Service, ...]] = _ROUTER
    reply: ClassVar[type[Part]] = ReservationV1
    example: ClassVar[dict[str, Any]] = {
        "attempt_id": ATTEMPT_ID, "call_id": ATTEMPT_ID, "workspace_id": 1, "key_id": KEY_ID, "provider": "openai",
        "model": "gpt-4o-mini", "alias_name": "fast-drafts", "capability": "chat",
        "usd_micros": 700, "tokens": 1100, "ttl_s": 360,
    }  # fmt: skip

    attempt_id: str
    call_id: str
    workspace_id: int
    key_id: str
    provider: str
    model: str
    alias_name: str
    capability: str
    usd_micros: int | None = Field(default=None, ge=0)
    tokens: int = Field(ge=0)
    ttl_s: float = Field(gt=0, le=3600)
    funds: Funds = Funds.OWN
    wait_s: float = Field(default=0.0, ge=0, le=30)
    waited_s: float = Field(default=0.0, ge=0, le=600)
    attempt_index: int = 0
    trace_id: str | None = None
