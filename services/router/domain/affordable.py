"""Whether an attempt would be granted a reservation as budgets stand: what metering decides, said without holding."""

from collections.abc import Sequence
from typing import get_args

from services.router.domain.credits import CREDITS_OFF, NO_CREDITS
from shared.messages.metering import BudgetV1, Unit
from shared.messages.vocabulary import Funds, Outcome


def refused(
    budgets: Sequence[BudgetV1], key_id: str, usd_micros: int | None, tokens: int, funds: Funds = Funds.OWN
) -> tuple[Outcome, str] | None:
    """Why an attempt with this key that costs at most so much would be refused; None when it would be granted.

    A key of the platform (``funds``) is held to the workspace's credits only; its own account is nobody's to see.

    ``budgets``: all of the workspace, a month's and a day's of each. ``usd_micros`` None: the model has no price. The
    reason is the unit whose cap would be passed, or that there is no price under a $ cap, or that the key has ended, or
    that the budget was halted. That it might fit once calls under way have settled is not foreseen.
    """
    if funds is Funds.PLATFORM:
        given = [one for one in budgets if one.funds is Funds.PLATFORM]
        return _without_credits(given) or _stopped([], given, usd_micros, tokens)
    key = [one for one in budgets if one.scope == "key" and one.key_id == key_id]
    # A key's budget that is not there cannot say yes. A workspace gets its own, without caps, when it first reserves.
    if not key:
        return Outcome.MISSING_KEY, "key_revoked"
    involved = key + [one for one in budgets if one.scope == "workspace" and one.funds is Funds.OWN]
    return _stopped(key, involved, usd_micros, tokens)


def _without_credits(given: Sequence[BudgetV1]) -> tuple[Outcome, str] | None:
    if not any(getattr(one.caps, unit) is not None for one in given for unit in get_args(Unit)):
        return Outcome.BUDGET_EXCEEDED, NO_CREDITS
    return None if given[0].credits == "allowed" else (Outcome.BUDGET_EXCEEDED, CREDITS_OFF)


def _stopped(
    key: Sequence[BudgetV1], involved: Sequence[BudgetV1], usd_micros: int | None, tokens: int
) -> tuple[Outcome, str] | None:
    amounts: dict[Unit, int] = {"usd_micros": usd_micros or 0, "tokens": tokens, "requests": 1}
    for found in (_closed(key, usd_micros), _closed(involved, usd_micros), _unit(involved, amounts)):
        if found is not None:
            return found
    return None


def _closed(budgets: Sequence[BudgetV1], usd_micros: int | None) -> tuple[Outcome, str] | None:
    if any(one.blocked for one in budgets):
        return Outcome.MISSING_KEY, "key_revoked"
    if any(one.halted is not None for one in budgets):
        return Outcome.BUDGET_EXCEEDED, "halted"
    if usd_micros is None and any(one.caps.usd_micros is not None or one.funds is Funds.PLATFORM for one in budgets):
        return Outcome.BUDGET_EXCEEDED, "model_without_price"
    return None


def _unit(budgets: Sequence[BudgetV1], amounts: dict[Unit, int]) -> tuple[Outcome, str] | None:
    # What no waiting would help against is named before what only calls under way stand against.
    for counts_held in (False, True):
        for budget in budgets:
            for unit in get_args(Unit):
                if _passes_cap(budget, unit, amounts[unit], counts_held=counts_held):
                    return Outcome.BUDGET_EXCEEDED, unit
    return None


def _passes_cap(budget: BudgetV1, unit: Unit, amount: int, *, counts_held: bool) -> bool:
    cap, held = getattr(budget.caps, unit), getattr(budget.held, unit) if counts_held else 0
    return cap is not None and getattr(budget.spent, unit) + held + amount > cap
