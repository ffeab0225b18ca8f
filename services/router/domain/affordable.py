"""Whether an attempt would be granted a reservation as budgets stand: what metering decides, said without holding."""

from collections.abc import Sequence
from typing import get_args

from shared.messages.metering import BudgetV1, Unit
from shared.messages.vocabulary import Outcome


def refused(
    budgets: Sequence[BudgetV1], key_id: str, usd_micros: int | None, tokens: int
) -> tuple[Outcome, str] | None:
    """Why an attempt with this key that costs at most so much would be refused; None when it would be granted.

    ``budgets``: all of the workspace. ``usd_micros`` None: the model has no price. The reason is the unit whose cap
    would be passed, or that there is no price under a $ cap, or that the key has ended.
    """
    key = next((one for one in budgets if one.scope == "key" and one.key_id == key_id), None)
    workspace = next((one for one in budgets if one.scope == "workspace"), None)
    # A key's budget that is not there cannot say yes. A workspace gets its own, without caps, when it first reserves.
    if key is None:
        return Outcome.MISSING_KEY, "key_revoked"
    for budget in (key, workspace):
        if budget is None:
            continue
        if budget.blocked:
            return Outcome.MISSING_KEY, "key_revoked"
        if usd_micros is None and budget.caps.usd_micros is not None:
            return Outcome.BUDGET_EXCEEDED, "model_without_price"
        amounts: dict[Unit, int] = {"usd_micros": usd_micros or 0, "tokens": tokens, "requests": 1}
        unit = next((unit for unit in get_args(Unit) if _passes_cap(budget, unit, amounts[unit])), None)
        if unit is not None:
            return Outcome.BUDGET_EXCEEDED, unit
    return None


def _passes_cap(budget: BudgetV1, unit: Unit, amount: int) -> bool:
    cap = getattr(budget.caps, unit)
    return cap is not None and getattr(budget.spent, unit) + getattr(budget.held, unit) + amount > cap
