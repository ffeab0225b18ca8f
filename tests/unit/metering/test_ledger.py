"""Admission and settlement as one machine: whatever happens, no cap is passed and the books balance."""

from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.metering.domain.ledger import Account, Amounts, Ask, Caps, Owner, decide, near_cap, owners_of
from services.metering.domain.settlement import (
    Bar,
    Reservation,
    Settlement,
    State,
    Stray,
    expire,
    settle,
)
from services.metering.domain.usage import Counters, hour_after, hour_of, roll_up
from shared.messages.metering import Refusal
from shared.messages.router import CallFinishedV1, TokensV1
from shared.messages.vocabulary import Billing, Outcome

NOW = datetime(2026, 11, 23, 10, 30, tzinfo=UTC)
KEYS = (UUID(int=1), UUID(int=2), UUID(int=3))
UNITS = ("usd_micros", "tokens", "requests")


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
    )


def books(caps: Caps = Caps(), workspace: Caps = Caps(), *, blocked: bool = False) -> dict[Owner, Account]:  # noqa: B008 - frozen
    return {
        (1, KEYS[0]): Account(1, 1, KEYS[0], caps, blocked=blocked),
        (1, None): Account(2, 1, None, workspace),
    }


def reservation(wish: Ask) -> Reservation:
    return Reservation(
        wish.attempt_id, wish.call_id, wish.workspace_id, wish.key_id, wish.provider, wish.model, wish.alias_name,
        wish.capability, wish.attempt_index, wish.trace_id, wish.usd_micros, wish.tokens, 1, State.HELD,
        date(2026, 11, 1), NOW,
    )  # fmt: skip


def event(held: Reservation, **changes: object) -> CallFinishedV1:
    fields = {
        "attempt_id": str(held.attempt_id), "workspace_id": held.workspace_id, "key_id": str(held.key_id), "sent": True,
        "started_at": NOW, "finished_at": NOW,
    }  # fmt: skip
    return CallFinishedV1.model_validate(CallFinishedV1.example | fields | changes)


# -- admission


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("whose", ["key", "workspace"])
def test_a_cap_admits_up_to_itself_and_no_further(unit: str, whose: str) -> None:
    caps = Caps(**{unit: getattr(ask().amounts, unit) * 3})
    accounts = books(caps) if whose == "key" else books(workspace=caps)
    decisions, holds = decide([ask() for _ in range(5)], accounts)
    assert [decision.granted for decision in decisions] == [True] * 3 + [False] * 2
    stopped = decisions[3]
    assert (stopped.refusal, stopped.unit) == (Refusal.BUDGET_EXCEEDED, unit)
    assert stopped.account
    assert (stopped.account.key_id is None) == (whose == "workspace")
    assert getattr(stopped.account.held, unit) == getattr(caps, unit)
    assert holds[1, KEYS[0]] == holds[1, None] == Amounts(300, 30, 3)


def test_a_smaller_one_behind_a_refused_one_may_still_fit() -> None:
    decisions, _ = decide([ask(usd_micros=90), ask(usd_micros=20), ask(usd_micros=10)], books(Caps(usd_micros=100)))
    assert [decision.granted for decision in decisions] == [True, False, True]


def test_a_cap_of_zero_admits_nothing_that_costs() -> None:
    decisions, _ = decide([ask(usd_micros=1), ask(usd_micros=0)], books(Caps(usd_micros=0)))
    assert [decision.granted for decision in decisions] == [False, True]


def test_a_blocked_key_and_one_without_a_budget_get_nothing() -> None:
    assert decide([ask()], books(blocked=True))[0][0].refusal is Refusal.KEY_BLOCKED
    assert decide([ask(KEYS[1])], books())[0][0].refusal is Refusal.KEY_BLOCKED
    accounts = books()
    del accounts[1, None]
    assert decide([ask()], accounts)[0][0].refusal is Refusal.KEY_BLOCKED


def test_without_a_price_only_budgets_without_a_dollar_cap_admit() -> None:
    (granted,), holds = decide([ask(usd_micros=None)], books(Caps(tokens=10)))
    assert granted.granted
    assert holds[1, None] == Amounts(0, 10, 1)
    for accounts in (books(Caps(usd_micros=10**9)), books(workspace=Caps(usd_micros=10**9))):
        assert decide([ask(usd_micros=None)], accounts)[0][0].refusal is Refusal.UNPRICED


@pytest.mark.parametrize(("used", "near"), [(79, False), (80, True), (100, True)])
def test_near_a_cap_from_eighty_percent(used: int, *, near: bool) -> None:
    (decision,), _ = decide([ask(usd_micros=used)], books(Caps(usd_micros=100, requests=10)))
    assert [account.key_id for account in decision.near_cap] == [KEYS[0]] * near
    assert not near_cap(1, KEYS[0], books(Caps(usd_micros=0)))


# -- settlement

HELD = reservation(ask(usd_micros=700, tokens=1100))
UNPRICED = reservation(ask(usd_micros=None, tokens=1100))


@pytest.mark.parametrize(
    ("held", "changes", "charged", "cost"),
    [
        (HELD, {}, Amounts(7, 17, 1), 7),
        (HELD, {"cost_usd_micros": 0}, Amounts(0, 17, 1), 0),
        (HELD, {"cost_usd_micros": 9000}, Amounts(9000, 17, 1), 9000),
        (HELD, {"cost_usd_micros": None}, Amounts(700, 17, 1), None),
        (HELD, {"tokens": TokensV1()}, Amounts(7, 1100, 1), 7),
        (HELD, {"tokens": TokensV1(input_tokens=2000)}, Amounts(7, 2000, 1), 7),
        (HELD, {"billing": "nothing", "cost_usd_micros": None}, Amounts(0, 0, 1), 0),
        (HELD, {"billing": "unknown"}, Amounts(700, 1100, 1), None),
        (UNPRICED, {"cost_usd_micros": None}, Amounts(0, 17, 1), None),
        (UNPRICED, {"billing": "unknown", "cost_usd_micros": None}, Amounts(0, 1100, 1), None),
    ],
)
def test_what_is_charged(held: Reservation, changes: dict[str, object], charged: Amounts, cost: int | None) -> None:
    end = settle(held, event(held, **changes))
    assert isinstance(end, Settlement)
    assert (end.state, end.charged) == (State.SETTLED, charged)
    assert end.call
    assert (end.call.cost_usd_micros, end.call.charged_usd_micros) == (cost, charged.usd_micros)


def test_never_sent_is_void_and_has_no_row() -> None:
    end = settle(HELD, event(HELD, sent=False, billing="nothing"))
    assert end == Settlement(HELD, State.VOID, Amounts(), None)


def test_expiry_charges_the_maximum_and_knows_nothing() -> None:
    end = expire(HELD, NOW + timedelta(hours=1))
    assert (end.state, end.charged) == (State.EXPIRED, HELD.amounts)
    assert end.call
    assert (end.call.outcome, end.call.billing, end.call.cost_usd_micros) == ("unknown", "unknown", None)
    assert (end.call.input_tokens, end.call.status, end.call.latency_ms) == (None, None, None)


@pytest.mark.parametrize(
    ("state", "sent", "reason"),
    [
        (State.SETTLED, True, None),
        (State.SETTLED, False, None),
        (State.VOID, False, None),
        (State.VOID, True, "late: reservation already void"),
        (State.EXPIRED, True, "late: reservation already expired"),
        (State.EXPIRED, False, "late: reservation already expired"),
    ],
)
def test_final_states_are_final(state: State, *, sent: bool, reason: str | None) -> None:
    assert settle(replace(HELD, state=state), event(HELD, sent=sent)) == (Stray(reason) if reason else None)


def test_an_event_without_a_reservation() -> None:
    assert settle(None, event(HELD)) == Stray("no reservation")
    given_up = settle(None, event(HELD, sent=False))
    assert isinstance(given_up, Bar)
    assert given_up.reservation.state == State.VOID


@pytest.mark.parametrize("change", [{"workspace_id": 2}, {"key_id": str(uuid4())}])
def test_an_event_of_another_owner_moves_nothing(change: dict[str, object]) -> None:
    assert isinstance(settle(HELD, event(HELD, **change)), Stray)


# -- the whole machine


@dataclass
class Machine:
    """What the database does, in memory."""

    accounts: dict[Owner, Account]
    reservations: dict[UUID, Reservation] = field(default_factory=dict)
    charged: dict[UUID, Amounts] = field(default_factory=dict)

    def reserve(self, wishes: list[Ask]) -> None:
        decisions, holds = decide(wishes, self.accounts)
        for wish, decision in zip(wishes, decisions, strict=True):
            if decision.granted:
                self.reservations[wish.attempt_id] = reservation(wish)
        for owner, amounts in holds.items():
            self.accounts[owner] = self.accounts[owner].holding(amounts)

    def end(self, end: Settlement | Bar | Stray | None) -> None:
        if not isinstance(end, Settlement):
            return
        attempt = end.reservation.attempt_id
        self.reservations[attempt] = replace(end.reservation, state=end.state)
        self.charged[attempt] = end.charged
        for owner in owners_of(end.reservation.workspace_id, end.reservation.key_id):
            account = self.accounts[owner]
            self.accounts[owner] = replace(
                account, held=account.held - end.reservation.amounts, spent=account.spent + end.charged
            )

    def check(self) -> None:
        for (_, key), account in self.accounts.items():
            mine = [item for item in self.reservations.values() if key in (None, item.key_id)]
            held = [item.amounts for item in mine if item.state == State.HELD]
            assert account.held == sum(held, Amounts())
            assert account.spent == sum((self.charged.get(item.attempt_id, Amounts()) for item in mine), Amounts())
            for unit in UNITS:
                cap, used = getattr(account.caps, unit), getattr(account.spent + account.held, unit)
                assert getattr(account.held, unit) >= 0
                assert cap is None or used <= cap


amount = st.integers(0, 500)
cap = st.none() | st.integers(0, 2000)
caps = st.builds(Caps, cap, cap, st.none() | st.integers(0, 12))
wish = st.tuples(st.sampled_from(KEYS), st.none() | amount, amount)
step = st.one_of(
    st.tuples(st.just("reserve"), st.lists(wish, max_size=6)),
    st.tuples(
        st.just("finish"), st.tuples(st.integers(0, 30), st.booleans(), st.sampled_from(Billing), st.none() | amount)
    ),
    st.tuples(st.just("expire"), st.integers(0, 30)),
)


@given(st.tuples(caps, caps, caps, caps), st.lists(step, max_size=25))
def test_no_sequence_passes_a_cap_or_unbalances_the_books(
    limits: tuple[Caps, ...], steps: list[tuple[str, object]]
) -> None:
    owners: list[Owner] = [(1, None), *((1, key) for key in KEYS)]
    machine = Machine({owner: Account(n, *owner, limits[n]) for n, owner in enumerate(owners)})
    for kind, detail in steps:
        _take(machine, kind, detail)
        machine.check()


def _take(machine: Machine, kind: str, detail: object) -> None:
    if kind == "reserve":
        assert isinstance(detail, list)
        machine.reserve([ask(key, usd_micros=usd, tokens=tokens) for key, usd, tokens in detail])
        return
    known = list(machine.reservations.values())
    if not known:
        return
    if isinstance(detail, int):
        chosen = known[detail % len(known)]
        if chosen.state == State.HELD:
            machine.end(expire(chosen, NOW))
        return
    assert isinstance(detail, tuple)
    number, sent, billing, part = detail
    chosen = known[number % len(known)]
    # The estimate bounds the cost: what is booked lies at or below the hold.
    cost = None if part is None or chosen.usd_micros is None else min(part, chosen.usd_micros)
    tokens = TokensV1() if part is None else TokensV1(input_tokens=0, output_tokens=min(part, chosen.tokens))
    machine.end(settle(chosen, event(chosen, sent=sent, billing=billing, cost_usd_micros=cost, tokens=tokens)))


# -- rollups


def test_rollups_are_the_sums_of_the_rows() -> None:
    ends = [
        settle(HELD, event(HELD)),
        settle(HELD, event(HELD, outcome=Outcome.TIMEOUT, billing="unknown", tokens=TokensV1())),
        settle(HELD, event(HELD, outcome=Outcome.RATE_LIMITED, billing="nothing", tokens=TokensV1())),
        settle(HELD, event(HELD, fallback_reason=Outcome.TIMEOUT, started_at=NOW + timedelta(hours=1))),
    ]
    calls = [end.call for end in ends if isinstance(end, Settlement) and end.call]
    sums = roll_up(calls)
    assert [key[1].hour for key in sums] == [10, 11]
    assert sum(sums.values(), Counters()) == Counters(4, 2, 2, 1, 16, 18, 14, 714, 1, 4 * 412)


def test_hours() -> None:
    assert hour_of(NOW) == datetime(2026, 11, 23, 10, tzinfo=UTC)
    assert hour_after(NOW) == datetime(2026, 11, 23, 11, tzinfo=UTC)
    assert hour_after(hour_of(NOW)) == hour_of(NOW)
