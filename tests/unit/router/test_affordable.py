"""What explain says of budgets is what metering would decide: both are asked, on the same accounts."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import get_args
from uuid import UUID

from hypothesis import given, settings
from hypothesis import strategies as st

from services.metering.domain.admission import decide
from services.metering.domain.ledger import Account, Amounts, Ask, Caps, Window
from services.metering.published import budgets
from services.router.domain.affordable import refused
from shared.messages.metering import Credits, Refusal
from shared.messages.vocabulary import Funds, Outcome

NOW = datetime(2026, 11, 23, tzinfo=UTC)
KEY = UUID(int=1)
SMALL = st.integers(0, 4)
OUTCOMES = {
    Refusal.KEY_BLOCKED: Outcome.MISSING_KEY,
    Refusal.UNPRICED: Outcome.BUDGET_EXCEEDED,
    Refusal.BUDGET_EXCEEDED: Outcome.BUDGET_EXCEEDED,
    Refusal.HALTED: Outcome.BUDGET_EXCEEDED,
    Refusal.NO_CREDITS: Outcome.BUDGET_EXCEEDED,
    Refusal.CREDITS_OFF: Outcome.BUDGET_EXCEEDED,
}
DETAILS = {
    Refusal.KEY_BLOCKED: "key_revoked", Refusal.UNPRICED: "model_without_price", Refusal.HALTED: "halted",
    Refusal.NO_CREDITS: "no_credits", Refusal.CREDITS_OFF: "credits_off",
}  # fmt: skip


def accounts(key_id: UUID | None) -> st.SearchStrategy[Account]:
    cap = st.none() | SMALL
    amounts = st.builds(Amounts, SMALL, SMALL, SMALL)
    window = st.builds(Window, st.builds(Caps, cap, cap, cap), amounts, amounts)
    return st.builds(
        Account,
        st.just(1),
        st.just(1),
        st.just(key_id),
        st.just(Funds.OWN),
        window,
        st.just(Window()) | window,
        st.booleans(),
        st.none() | st.just("Too small a hold."),
    )


@settings(max_examples=500)
@given(st.none() | accounts(KEY), st.none() | accounts(None), st.none() | SMALL, SMALL)
def test_it_is_refused_exactly_when_metering_would_refuse_and_for_the_same_reason(
    key: Account | None, workspace: Account | None, usd_micros: int | None, tokens: int
) -> None:
    standing = [account for account in (workspace, key) if account is not None]
    ask = Ask(UUID(int=9), "c", 1, KEY, "p", "m", "a", "chat", 0, None, usd_micros, tokens, 1.0, NOW)
    # Metering gives a workspace its budget, without caps, when it is first asked to reserve.
    known = {account.owner: account for account in (Account(1, 1, None), *standing)}
    [decision] = decide([ask], known, NOW).decisions
    found = refused([one for account in standing for one in budgets(account, NOW)], str(KEY), usd_micros, tokens)
    if decision.refusal is None:
        assert found is None
    else:
        assert found == (OUTCOMES[decision.refusal], DETAILS.get(decision.refusal, decision.unit))


@settings(max_examples=500)
@given(st.none() | accounts(None), accounts(None), st.sampled_from(get_args(Credits)), st.none() | SMALL, SMALL)
def test_credits_are_refused_exactly_when_metering_would_refuse_them(
    given_: Account | None, own: Account, switch: Credits, usd_micros: int | None, tokens: int
) -> None:
    credits_ = given_ and replace(given_, budget_id=2, funds=Funds.PLATFORM, credits_allowed=switch == "allowed")
    standing = [own] if credits_ is None else [own, credits_]
    ask = Ask(UUID(int=9), "c", 1, KEY, "p", "m", "a", "chat", 0, None, usd_micros, tokens, 1.0, NOW)
    ask = replace(ask, funds=Funds.PLATFORM)
    platforms = Account(3, 0, KEY, Funds.PLATFORM)
    [decision] = decide([ask], {account.owner: account for account in (platforms, *standing)}, NOW).decisions
    told = [one for account in standing for one in budgets(account, NOW)]
    found = refused(told, str(KEY), usd_micros, tokens, Funds.PLATFORM)
    if decision.refusal is None:
        assert found is None
    else:
        assert found == (OUTCOMES[decision.refusal], DETAILS.get(decision.refusal, decision.unit))
