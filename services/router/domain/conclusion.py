"""What to tell the caller: the one error that helps most when nothing answered, the warnings when something did."""

from collections.abc import Sequence
from math import ceil

from services.router.domain.credits import CREDITS_OFF, NO_CREDITS
from shared.errors import (
    ADD_A_KEY,
    BUDGET_REACHED,
    ROUTED_TO_FALLBACK,
    Code,
    OmniError,
    scope_refused,
)
from shared.messages.catalogue import AliasV1
from shared.messages.metering import BudgetV1
from shared.messages.router import AttemptV1, WarningV1
from shared.messages.vocabulary import Funds, Outcome

_RESTRICTED = {
    "model": "This key doesn't allow the model {attempt.model}. Add it to the key's models or pick another alias.",
    "region": (
        "This key doesn't allow the region of {attempt.provider}. Add it to the key's regions or pick another alias."
    ),
}
# What says nothing of a provider. A call that a revocation has cut off counts like one without a key.
_UNTELLING = frozenset(
    {
        Outcome.KEY_REVOKED,
        Outcome.MISSING_KEY,
        Outcome.UNSUPPORTED_SCOPE,
        Outcome.UNSUPPORTED_OPTION,
        Outcome.BUDGET_EXCEEDED,
        Outcome.UNAVAILABLE,
    }
)
_WHY_REFUSED = {
    "halted": (
        "This budget is halted: a call cost more than was held for it. Look at its row in the call log, then resume "
        "the budget in Settings → AI Budgets."
    ),
    NO_CREDITS: "This workspace has no platform credits. Ask the platform's admin for some, or use keys of your own.",
    CREDITS_OFF: (
        "Platform credits are switched off in this workspace. An admin of it may allow them in Settings → AI Budgets."
    ),
}
_NO_PLATFORM_KEY = "The platform has no working key for this provider. Pick another alias, or use keys of your own."
_ON_CREDITS = "No key or budget of your own could be used, so this was paid with platform credits."
_OF_PERIOD = {"month": "monthly", "day": "daily"}
_SAME_FOR_ALL = {
    Outcome.TIMEOUT: (Code.TIMEOUT, "No target of this alias answered in time; try again or raise its time limits."),
    Outcome.RATE_LIMITED: (Code.RATE_LIMITED, "Every target of this alias is rate limited now; try again later."),
    Outcome.CONTEXT_LENGTH_EXCEEDED: (
        Code.CONTEXT_LENGTH_EXCEEDED,
        "The messages are too long for every target of this alias; shorten them or use a model with a larger window.",
    ),
    Outcome.INVALID_REQUEST: (Code.INVALID_REQUEST, "Every target of this alias refused the request as it is written."),
}


def conclude(alias: AliasV1, call_id: str, attempts: Sequence[AttemptV1], budget: BudgetV1 | None) -> OmniError:
    """The error of a call no target has answered. ``budget``: the one that stopped a target, if one did."""
    error = _called(attempts) or _not_called(alias, attempts, budget)
    waits = [attempt.retry_after_s for attempt in attempts if attempt.retry_after_s is not None]
    if waits and error.code in (Code.RATE_LIMITED, Code.PROVIDER_ERROR):
        error.extra["retry_after_s"] = ceil(min(waits))
    return interrupted(error, alias, call_id, attempts)


def interrupted(error: OmniError, alias: AliasV1, call_id: str, attempts: Sequence[AttemptV1]) -> OmniError:
    """``error`` with what is known of the call it ended: attempts made before it may have cost something."""
    error.extra |= {
        "alias_name": alias.alias_name,
        "call_id": call_id,
        "attempts": [attempt.public() for attempt in attempts],
    }
    return error


def cut_short(alias: AliasV1, call_id: str, attempts: Sequence[AttemptV1], cut: AttemptV1) -> OmniError:
    """The error of an answer that broke off after a part of it was delivered. ``cut``: the attempt that broke off."""
    extra: dict[str, object] = {"provider": cut.provider, "reason": cut.detail or cut.outcome.value, "incomplete": True}
    if cut.outcome is Outcome.CONTENT_POLICY:
        detail = f"{cut.provider} stopped the answer because of its content policy; what was delivered is incomplete."
        return interrupted(OmniError(Code.CONTENT_POLICY, detail, extra=extra), alias, call_id, attempts)
    code = Code.TIMEOUT if cut.outcome is Outcome.TIMEOUT else Code.PROVIDER_ERROR
    detail = "The answer was cut off and is not gone on with; what was delivered is incomplete. Try again."
    return interrupted(OmniError(code, detail, extra=extra), alias, call_id, attempts)


def fallback_reason(attempts: Sequence[AttemptV1], by: AttemptV1 | None) -> Outcome | None:
    """Why another than the first choice answers; None when the first choice does, be it at the second try.

    ``by``: the attempt that answers, or is about to be made; None when none is.
    """
    first = passed_by(attempts, by)
    return first.outcome if first is not None else None


def passed_by(attempts: Sequence[AttemptV1], by: AttemptV1 | None) -> AttemptV1 | None:
    """The first choice that did not answer, so that ``by`` answers in its place; None when it answers itself."""
    return next((one for one in attempts if one.outcome is not Outcome.SUCCESS and not _same(one, by)), None)


def _same(one: AttemptV1, by: AttemptV1 | None) -> bool:
    return by is not None and (one.provider, one.model, one.key_id) == (by.provider, by.model, by.key_id)


def warnings(attempts: Sequence[AttemptV1], near_cap: Sequence[BudgetV1]) -> tuple[WarningV1, ...]:
    """What a caller with an answer should still know: the fallback, who pays for it, and budgets at 80 % or more."""
    found = []
    answered = attempts[-1] if attempts else None
    if (passed := passed_by(attempts, answered)) is not None:
        found.append(_fallback_warning(passed))
    if answered is not None and answered.funds is Funds.PLATFORM and any(one.funds is Funds.OWN for one in attempts):
        found.append(WarningV1(code="platform_credits_used", detail=_ON_CREDITS))
    found += [WarningV1(code="budget_warning", detail=_usage(budget)) for budget in near_cap]
    return tuple(found)


def _fallback_warning(first: AttemptV1) -> WarningV1:
    reason = first.outcome
    if reason in (Outcome.MISSING_KEY, Outcome.INVALID_KEY, Outcome.KEY_REVOKED):
        return WarningV1(code=reason, detail=ADD_A_KEY)
    if reason is Outcome.BUDGET_EXCEEDED:
        return WarningV1(code=reason, detail=BUDGET_REACHED)
    if reason is Outcome.UNSUPPORTED_SCOPE:
        return WarningV1(code=reason, detail=_scope_refused(first, first.detail or "this"))
    return WarningV1(code=Code.PROVIDER_ERROR, detail=ROUTED_TO_FALLBACK)


def _called(attempts: Sequence[AttemptV1]) -> OmniError | None:
    called = [attempt for attempt in attempts if attempt.outcome not in _UNTELLING]
    called = [attempt for attempt in called if attempt.status is not None or attempt.outcome is not Outcome.INVALID_KEY]
    if not called:
        return None
    last = called[-1]
    if last.outcome is Outcome.CONTENT_POLICY:
        detail = f"{last.provider} refused to answer because of its content policy."
        return OmniError(Code.CONTENT_POLICY, detail, extra={"provider": last.provider, "reason": last.detail})
    outcomes = {attempt.outcome for attempt in called}
    if outcomes == {Outcome.INVALID_KEY}:
        return _invalid_key(last)
    unknown_model = any(attempt.detail == "unknown_model" for attempt in called)
    if len(outcomes) == 1 and last.outcome in _SAME_FOR_ALL and not unknown_model:
        code, detail = _SAME_FOR_ALL[last.outcome]
        return OmniError(code, detail)
    return OmniError(Code.PROVIDER_ERROR, ROUTED_TO_FALLBACK, extra={"provider": last.provider})


def _not_called(alias: AliasV1, attempts: Sequence[AttemptV1], budget: BudgetV1 | None) -> OmniError:
    # Where own keys come first, that there are no credits either helps nobody.
    helpful = [one for one in attempts if one.detail not in (NO_CREDITS, CREDITS_OFF)] or attempts
    by_outcome = {attempt.outcome: attempt for attempt in reversed(helpful)}
    if Outcome.BUDGET_EXCEEDED in by_outcome:
        return _over_budget(by_outcome[Outcome.BUDGET_EXCEEDED], budget)
    if refused := by_outcome.get(Outcome.UNSUPPORTED_SCOPE):
        return _unsupported_scope(alias, refused)
    if refused := by_outcome.get(Outcome.INVALID_KEY):
        return _invalid_key(refused)
    if refused := by_outcome.get(Outcome.KEY_REVOKED) or by_outcome.get(Outcome.MISSING_KEY):
        return _missing_key(refused)
    if refused := by_outcome.get(Outcome.UNSUPPORTED_OPTION):
        detail = f"No target of this alias takes the option '{refused.detail}'; leave it out or change the alias."
        return OmniError(Code.INVALID_REQUEST, detail, extra={"option": refused.detail})
    detail = f"None of this alias's targets can do {alias.capability} yet; pick another alias or change its chain."
    return OmniError(Code.UNAVAILABLE, detail)


def _missing_key(attempt: AttemptV1) -> OmniError:
    extra = {"provider": attempt.provider}
    if attempt.funds is Funds.PLATFORM:
        return OmniError(Code.MISSING_KEY, _NO_PLATFORM_KEY, extra=extra | {"funds": attempt.funds.value})
    if attempt.detail == "key_revoked":
        extra |= {"key_id": str(attempt.key_id), "key_status": "revoked"}
    return OmniError(Code.MISSING_KEY, ADD_A_KEY, extra=extra)


def _unsupported_scope(alias: AliasV1, refused: AttemptV1) -> OmniError:
    extra: dict[str, object] = {"key_id": refused.key_id}
    if refused.detail in _RESTRICTED:
        extra |= {"restriction": refused.detail, "provider": refused.provider, "model": refused.model}
    else:
        extra["scope"] = alias.modality.value
    return OmniError(Code.UNSUPPORTED_SCOPE, _scope_refused(refused, alias.modality.value), extra=extra)


def _scope_refused(refused: AttemptV1, modality: str) -> str:
    restricted = _RESTRICTED.get(refused.detail or "")
    return restricted.format(attempt=refused) if restricted else scope_refused(modality)


def _invalid_key(attempt: AttemptV1) -> OmniError:
    if attempt.funds is Funds.PLATFORM:
        return _missing_key(attempt)
    extra = {
        "provider": attempt.provider,
        "key_id": attempt.key_id,
        "key_status": "invalid",
        "reason": attempt.detail,
        "hint": f"{attempt.provider} refuses this key. Enter a new one in Settings → AI Keys.",
    }
    return OmniError(Code.MISSING_KEY, ADD_A_KEY, extra=extra)


def _over_budget(attempt: AttemptV1, budget: BudgetV1 | None) -> OmniError:
    extra: dict[str, object] = {"key_id": attempt.key_id, "provider": attempt.provider, "funds": attempt.funds.value}
    if attempt.detail:
        extra["reason"] = attempt.detail
    if budget is not None:
        extra["budget"] = budget.public()
        extra["resets_at"] = budget.resets_at.isoformat()
    detail = _WHY_REFUSED.get(attempt.detail or "", BUDGET_REACHED)
    return OmniError(Code.BUDGET_EXCEEDED, detail, extra=extra)


def _usage(budget: BudgetV1) -> str:
    shares = [
        (100 * (spent + held) // cap, unit)
        for unit, cap, spent, held in (
            ("$", budget.caps.usd_micros, budget.spent.usd_micros, budget.held.usd_micros),
            ("token", budget.caps.tokens, budget.spent.tokens, budget.held.tokens),
            ("request", budget.caps.requests, budget.spent.requests, budget.held.requests),
        )
        if cap
    ]
    share, unit = max(shares, default=(100, "$"))
    what = f"{unit} budget" if budget.funds is Funds.OWN else f"{unit} platform credits"
    return f"This {budget.scope} has used {share} % of its {_OF_PERIOD[budget.period]} {what}; calls stop at 100 %."
