"""Admission, waiting and alerts, one rule at a time; with settlement they are tried in ``test_ledger_machine.py``."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count
from uuid import UUID, uuid4

import pytest

from services.metering.domain.admission import decide, near_cap
from services.metering.domain.alerting import by_level, by_refusals
from services.metering.domain.ledger import Account, Amounts, Ask, Caps, Decision, Owner, Window, owners_of
from shared.messages.metering import Refusal
from shared.messages.vocabulary import Funds

NOW = datetime(2026, 11, 23, 10, 30, tzinfo=UTC)
KEYS = (UUID(int=1), UUID(int=2), UUID(int=3))
KEY, WORKSPACE = owners_of(1, KEYS[0])
UNITS = ("usd_micros", "tokens", "requests")
_COMING = count()


def ask(key: UUID = KEYS[0], *, usd_micros: int | None = 100, tokens: int = 10, attempt: UUID | None = None) -> Ask:
    return Ask(
        attempt or uuid4(),
        "call",
        1,
        key,
        "openai",
        "gpt-4o-mini",
        "fast-drafts",
        "chat",
        0,
        None,
        usd_micros,
        tokens,
        60,
        NOW - timedelta(minutes=1) + timedelta(microseconds=next(_COMING)),
    )


def decided(asks: Sequence[Ask], accounts: Mapping[Owner, Account]) -> tuple[list[Decision], dict[Owner, Amounts]]:
    admitted = decide(asks, accounts, NOW)
    decisions = {decision.attempt_id: decision for decision in admitted.decisions}
    return [decisions[ask.attempt_id] for ask in asks], admitted.holds


def books(caps: Caps = Caps(), workspace: Caps = Caps(), *, blocked: bool = False) -> dict[Owner, Account]:  # noqa: B008 - frozen
    return {
        KEY: Account(1, 1, KEYS[0], month=Window(caps), blocked=blocked),
        WORKSPACE: Account(2, 1, None, month=Window(workspace)),
    }


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("whose", ["key", "workspace"])
def test_a_cap_admits_up_to_itself_and_no_further(unit: str, whose: str) -> None:
    caps = Caps(**{unit: getattr(ask().amounts, unit) * 3})
    accounts = books(caps) if whose == "key" else books(workspace=caps)
    decisions, holds = decided([ask() for _ in range(5)], accounts)
    assert [decision.granted for decision in decisions] == [True] * 3 + [False] * 2
    stopped = decisions[3]
    assert (stopped.refusal, stopped.unit) == (Refusal.BUDGET_EXCEEDED, unit)
    assert stopped.account
    assert (stopped.account.key_id is None) == (whose == "workspace")
    assert getattr(stopped.account.month.held, unit) == getattr(caps, unit)
    assert holds[KEY] == holds[WORKSPACE] == Amounts(300, 30, 3)


def test_a_smaller_one_behind_a_refused_one_may_still_fit() -> None:
    decisions, _ = decided([ask(usd_micros=90), ask(usd_micros=20), ask(usd_micros=10)], books(Caps(usd_micros=100)))
    assert [decision.granted for decision in decisions] == [True, False, True]


def test_a_cap_of_zero_admits_nothing_that_costs() -> None:
    decisions, _ = decided([ask(usd_micros=1), ask(usd_micros=0)], books(Caps(usd_micros=0)))
    assert [decision.granted for decision in decisions] == [False, True]


def test_a_blocked_key_and_one_without_a_budget_get_nothing() -> None:
    assert decided([ask()], books(blocked=True))[0][0].refusal is Refusal.KEY_BLOCKED
    assert decided([ask(KEYS[1])], books())[0][0].refusal is Refusal.KEY_BLOCKED
    accounts = books()
    del accounts[WORKSPACE]
    assert decided([ask()], accounts)[0][0].refusal is Refusal.KEY_BLOCKED


def test_without_a_price_only_budgets_without_a_dollar_cap_admit() -> None:
    (granted,), holds = decided([ask(usd_micros=None)], books(Caps(tokens=10)))
    assert granted.granted
    assert holds[WORKSPACE] == Amounts(0, 10, 1)
    for accounts in (books(Caps(usd_micros=10**9)), books(workspace=Caps(usd_micros=10**9))):
        assert decided([ask(usd_micros=None)], accounts)[0][0].refusal is Refusal.UNPRICED


@pytest.mark.parametrize(("used", "near"), [(79, False), (80, True), (100, True)])
def test_near_a_cap_from_eighty_percent(used: int, *, near: bool) -> None:
    (decision,), _ = decided([ask(usd_micros=used)], books(Caps(usd_micros=100, requests=10)))
    assert [account.key_id for account, _ in decision.near_cap] == [KEYS[0]] * near
    assert not near_cap(ask(), books(Caps(usd_micros=0)))


@pytest.mark.parametrize("span", ["month", "day"])
def test_month_and_day_bind_together(span: str) -> None:
    accounts = books()
    tight = Window(Caps(requests=2), spent=Amounts(0, 0, 1))
    account = accounts[KEY]
    accounts[KEY] = replace(account, month=tight) if span == "month" else replace(account, day=tight)
    decisions, _ = decided([ask(), ask()], accounts)
    assert [decision.granted for decision in decisions] == [True, False]
    assert (decisions[1].span, decisions[1].unit, decisions[1].fits_later) == (span, "requests", True)


def test_platform_funds_have_accounts_of_their_own() -> None:
    paid = replace(ask(), funds=Funds.PLATFORM)
    key, credits_ = paid.owners
    assert (key, credits_) == ((0, KEYS[0], "platform"), (1, None, "platform"))
    accounts = books(Caps(usd_micros=0)) | {key: Account(3, 0, KEYS[0], Funds.PLATFORM)}
    (refused,), _ = decided([paid], accounts)
    assert (refused.refusal, refused.account) == (Refusal.NO_CREDITS, None), "nobody has given it credits"
    given = Account(4, 1, None, Funds.PLATFORM, month=Window(Caps(usd_micros=100)), credits_allowed=True)
    for why, account in (
        (Refusal.CREDITS_OFF, replace(given, credits_allowed=False)),
        (Refusal.NO_CREDITS, replace(given, month=Window())),
    ):
        (refused,), holds = decided([paid], accounts | {credits_: account})
        assert (refused.refusal, refused.fits_later, holds) == (why, False, {}), "an account without a cap is no grant"
    accounts[credits_] = replace(given, month=Window(), day=Window(Caps(usd_micros=100)))
    assert decided([paid], accounts)[0][0].granted
    accounts[credits_] = given
    (granted, refused), holds = decided([paid, replace(ask(), funds=Funds.PLATFORM)], accounts)
    assert granted.granted
    assert refused.fits_later
    assert set(holds) == {key, credits_}, "own accounts are not touched"
    (own,), _ = decided([ask()], accounts)
    assert own.refusal is Refusal.BUDGET_EXCEEDED, "credits do not help out where own caps are reached"


def test_a_halted_budget_admits_nothing() -> None:
    for owner in (KEY, WORKSPACE):
        accounts = books()
        accounts[owner] = replace(accounts[owner], halted="A call took more than was held for it.")
        (refused,), holds = decided([ask()], accounts)
        assert (refused.refusal, refused.account, holds) == (Refusal.HALTED, accounts[owner], {})


# -- waiting


def waiting(since_s: float, usd_micros: int = 100, key: UUID = KEYS[0]) -> Ask:
    return replace(ask(key, usd_micros=usd_micros), since=NOW - timedelta(seconds=since_s), wait_s=2.0)


def full(held: int = 0, spent: int = 0, cap: int = 100) -> dict[Owner, Account]:
    accounts = books()
    window = Window(Caps(usd_micros=cap), Amounts(spent), Amounts(held))
    return accounts | {KEY: replace(accounts[KEY], month=window)}


def test_what_only_calls_under_way_stand_against_fits_later() -> None:
    (later,), _ = decided([ask(usd_micros=50)], full(held=60))
    (never,), _ = decided([ask(usd_micros=50)], full(spent=60))
    assert [later.fits_later, never.fits_later] == [True, False]
    assert not decide([ask(usd_micros=50)], full(held=60), NOW).lines, "who does not wait takes no place"


def test_whoever_has_waited_longest_is_served_first_and_nobody_overtakes() -> None:
    large, small, tiny = waiting(3, 90), waiting(2, 30), waiting(1, 5)
    decisions, _ = decided([tiny, small, large], full(held=60))
    assert [decision.granted for decision in decisions] == [False] * 3, "all would have to wait behind the large one"
    decisions, _ = decided([tiny, small, large], full())
    assert [decision.granted for decision in decisions] == [False, False, True], "and the tiny one behind the small one"


def test_the_line_holds_between_replicas_until_its_time_is_over() -> None:
    first = decide([waiting(3, 90)], full(held=60), NOW)
    (place,) = first.lines[KEY]
    there = {
        KEY: replace(first.standing[KEY], month=Window(Caps(usd_micros=100))),
        WORKSPACE: first.standing[WORKSPACE],
    }
    (behind,), _ = decided([waiting(1, 5)], there)
    assert (behind.granted, behind.fits_later) == (False, True)
    (older,), _ = decided([waiting(5, 5)], there)
    assert older.granted
    assert decide([waiting(1, 5)], there, place.until).decisions[0].granted, "who does not come back loses its place"


def test_the_first_leaves_the_line_when_it_is_served_or_can_be_no_more() -> None:
    wish = waiting(3, 90)
    standing = decide([wish], full(held=60), NOW).standing
    for window in (Window(Caps(usd_micros=100)), Window(Caps(usd_micros=80))):
        admitted = decide([wish], standing | {KEY: replace(standing[KEY], month=window)}, NOW)
        assert admitted.lines == {KEY: ()}


def test_other_accounts_are_not_delayed() -> None:
    accounts = full(held=60) | {
        owner: Account(9, 1, KEYS[1]) for owner in owners_of(1, KEYS[1]) if owner[1] is not None
    }
    decisions, _ = decided([waiting(3, 90), waiting(1, 90, KEYS[1])], accounts)
    assert [decision.granted for decision in decisions] == [False, True]


# -- alerts


def test_levels_are_told_once_per_window_unit_and_kind() -> None:
    window = Window(Caps(usd_micros=100, tokens=10, requests=0), Amounts(60, 10, 0), Amounts(25))
    account = Account(1, 1, KEYS[0], month=window)
    alerts = by_level(account)
    assert [(alert.unit, alert.kind.value, alert.used) for alert in alerts] == [
        ("usd_micros", "budget.warning", 85),
        ("tokens", "budget.warning", 10),
        ("tokens", "budget.exhausted", 10),
    ]
    told = replace(window, raised=sum(alert.bit for alert in alerts))
    assert not by_level(replace(account, month=told))
    assert len(by_level(replace(account, month=told, day=window))) == 3, "the day is another window"


@pytest.mark.parametrize(("spent", "told"), [(80, True), (79, False)])
def test_a_refusal_near_the_end_is_the_end(spent: int, *, told: bool) -> None:
    decisions, _ = decided([ask(usd_micros=50), ask(usd_micros=60)], full(spent=spent))
    alerts = by_refusals(decisions)
    assert [(alert.kind.value, alert.used) for alert in alerts] == [("budget.exhausted", spent)] * told
