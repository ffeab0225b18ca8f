"""When an alias with ``own_then_platform`` goes on with the platform's credits: where own keys or budgets were lacking.

Never because a provider failed: that would spend credits without anybody's key or budget being short.
"""

from collections.abc import Mapping, Sequence

from services.router.domain.plan import Step
from shared.messages.catalogue import AliasFunds, TargetV1
from shared.messages.vocabulary import Funds, Outcome

NO_CREDITS, CREDITS_OFF = "no_credits", "credits_off"
"""Why credits are refused: none were granted, or the workspace has not switched them on."""

OWN_KEYS_FIRST = "own_keys_first"
"""Why credits would not be used: own keys and budgets are not what is lacking."""

ROUNDS: Mapping[AliasFunds, tuple[Funds, ...]] = {
    "own": (Funds.OWN,),
    "platform": (Funds.PLATFORM,),
    "own_then_platform": (Funds.OWN, Funds.PLATFORM),
}
"""Whose keys the chain is gone along with, one after the other."""

Told = tuple[TargetV1, Outcome | None, str | None]
_LACKING = frozenset({Outcome.MISSING_KEY, Outcome.INVALID_KEY, Outcome.BUDGET_EXCEEDED})
# What lies in the target or in what an own key's owner does not want, whoever pays.
_INDIFFERENT = frozenset({Outcome.UNSUPPORTED_SCOPE, Outcome.UNSUPPORTED_OPTION, Outcome.UNAVAILABLE})


# The brake after a call that cost more than was held for it is not let go by another purse.
_HALTED = (Outcome.BUDGET_EXCEEDED, "halted")
_UNPRICED = (Outcome.BUDGET_EXCEEDED, "model_without_price")


def second_round(steps: Sequence[Step], told: Sequence[Told]) -> tuple[Step, ...]:
    """Those of ``steps`` (on credits) that may be tried after the round with own keys.

    ``told``: how each own attempt ended and in detail, or why it was not made; None: it would be made. When one of
    them says anything but that a key or a budget lacks, or that the target would not do for anybody, there is no second
    round. A target that own keys exclude by their scopes, models or regions is not taken with other keys either.
    """
    if any(outcome not in _LACKING | _INDIFFERENT or (outcome, detail) == _HALTED for _, outcome, detail in told):
        return ()
    lacking = {target for target, outcome, detail in told if outcome in _LACKING and (outcome, detail) != _UNPRICED}
    return tuple(step for step in steps if step.target in lacking)
