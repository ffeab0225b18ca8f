"""What explain says of budgets is what metering would decide: both are asked, on the same accounts."""

from datetime import UTC, datetime
from uuid import UUID

from hypothesis import given, settings
from hypothesis import strategies as st

from services.metering.domain.ledger import Account, Amounts, Ask, Caps, decide
from services.router.domain.affordable import refused
from shared.messages.metering import AmountsV1, BudgetV1, CapsV1, Refusal
from shared.messages.vocabulary import Outcome

NOW = datetime(2026, 11, 23, tzinfo=UTC)
KEY = UUID(int=1)
SMALL = st.integers(0, 4)
OUTCOMES = {
    Refusal.KEY_BLOCKED: Outcome.MISSING_KEY,
    Refusal.UNPRICED: Outcome.BUDGET_EXCEEDED,
    Refusal.BUDGET_EXCEEDED: Outcome.BUDGET_EXCEEDED,
}
DETAILS = {Refusal.KEY_BLOCKED: "key_revoked", Refusal.UNPRICED: "model_without_price"}


def accounts(key_id: UUID | None) -> st.SearchStrategy[Account]:
    cap = st.none() | SMALL
    amounts = st.builds(Amounts, SMALL, SMALL, SMALL)
    return st.builds(
        Account,
        st.just(1),
        st.just(1),
        st.just(key_id),
        st.builds(Caps, cap, cap, cap),
        amounts,
        amounts,
        st.booleans(),
    )


def budget(account: Account) -> BudgetV1:
    caps, spent, held = account.caps, account.spent, account.held
    return BudgetV1(
        workspace_id=1, scope="workspace" if account.key_id is None else "key",
        key_id=str(account.key_id) if account.key_id else None, blocked=account.blocked,
        caps=CapsV1(usd_micros=caps.usd_micros, tokens=caps.tokens, requests=caps.requests),
        spent=AmountsV1(usd_micros=spent.usd_micros, tokens=spent.tokens, requests=spent.requests),
        held=AmountsV1(usd_micros=held.usd_micros, tokens=held.tokens, requests=held.requests),
        period_start=NOW, resets_at=NOW,
    )  # fmt: skip


@settings(max_examples=500)
@given(st.none() | accounts(KEY), st.none() | accounts(None), st.none() | SMALL, SMALL)
def test_it_is_refused_exactly_when_metering_would_refuse_and_for_the_same_reason(
    key: Account | None, workspace: Account | None, usd_micros: int | None, tokens: int
) -> None:
    standing = [account for account in (workspace, key) if account is not None]
    ask = Ask(UUID(int=9), "c", 1, KEY, "p", "m", "a", "chat", 0, None, usd_micros, tokens, 1.0)
    # Metering gives a workspace its budget, without caps, when it is first asked to reserve.
    known = {account.owner: account for account in (Account(1, 1, None), *standing)}
    [decision], _ = decide([ask], known)
    found = refused([budget(account) for account in standing], str(KEY), usd_micros, tokens)
    if decision.refusal is None:
        assert found is None
    else:
        assert found == (OUTCOMES[decision.refusal], DETAILS.get(decision.refusal, decision.unit))
