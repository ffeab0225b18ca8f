"""Admission and settlement as one machine: whatever happens, no cap is passed and the books balance.

Two windows, two kinds of funds, days that end while calls are under way, and asks that wait.
"""

from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from uuid import UUID, uuid4

from hypothesis import given
from hypothesis import strategies as st

from services.metering.domain.admission import decide
from services.metering.domain.ledger import (
    NOTHING,
    Account,
    Amounts,
    Ask,
    Caps,
    Owner,
    Place,
    Span,
    Window,
    owners_of,
    starts_of,
)
from services.metering.domain.settlement import Reservation, Settlement, State, expire, settle
from shared.messages.router import CallFinishedV1, TokensV1
from shared.messages.vocabulary import Billing, Funds

START = datetime(2026, 11, 29, 22, 0, tzinfo=UTC)
KEYS = (UUID(int=1), UUID(int=2))
OWNERS = tuple(
    dict.fromkeys(owner for key in KEYS for funds in Funds for owner in owners_of(1, key, funds))
)  # in the order of first mention
UNITS = ("usd_micros", "tokens", "requests")
Balance = tuple[Owner, Span, date]


@dataclass
class Machine:
    """What the database does, in memory."""

    limits: dict[Owner, tuple[Caps, Caps]]
    now: datetime = START
    spent: dict[Balance, Amounts] = field(default_factory=dict)
    held: dict[Balance, Amounts] = field(default_factory=dict)
    reservations: dict[UUID, Reservation] = field(default_factory=dict)
    charged: dict[UUID, Amounts] = field(default_factory=dict)
    waiting: list[Ask] = field(default_factory=list)
    lines: dict[Owner, tuple[Place, ...]] = field(default_factory=dict)

    def accounts(self) -> dict[Owner, Account]:
        starts = {span: start.date() for span, start in starts_of(self.now).items()}

        def window(owner: Owner, span: Span, caps: Caps) -> Window:
            place = owner, span, starts[span]
            return Window(caps, self.spent.get(place, NOTHING), self.held.get(place, NOTHING))

        return {
            owner: Account(
                number,
                *owner,
                window(owner, "month", month),
                window(owner, "day", day),
                line=self.lines.get(owner, ()),
            )
            for number, (owner, (month, day)) in enumerate(self.limits.items())
        }

    def reserve(self, asks: list[Ask]) -> None:
        asked = [*self.waiting, *asks]
        admitted = decide(asked, self.accounts(), self.now)
        self.lines |= admitted.lines
        verdicts = {decision.attempt_id: decision for decision in admitted.decisions}
        self.waiting = [ask for ask in asked if verdicts[ask.attempt_id].fits_later and ask.wait_s]
        for ask in asked:
            if verdicts[ask.attempt_id].granted:
                held = self.reservations[ask.attempt_id] = _reservation(ask, self.now)
                self._move(held, held.amounts, NOTHING)

    def end(self, end: object) -> None:
        if not isinstance(end, Settlement):
            return
        held = end.reservation
        self.reservations[held.attempt_id] = held._replace(state=end.state)
        self.charged[held.attempt_id] = end.charged
        self._move(held, NOTHING - held.amounts, end.charged)

    def check(self) -> None:
        """No cap is passed, and every balance is the sum of what it is made of."""
        held: dict[Balance, Amounts] = {}
        spent: dict[Balance, Amounts] = {}
        for item in self.reservations.values():
            for place in _places(item):
                if item.state == State.HELD:
                    held[place] = held.get(place, NOTHING) + item.amounts
                spent[place] = spent.get(place, NOTHING) + self.charged.get(item.attempt_id, NOTHING)
        for place in self.held:
            assert self.held[place] == held.get(place, NOTHING)
            assert self.spent[place] == spent.get(place, NOTHING)
            owner, span, _ = place
            caps = self.limits[owner][span == "day"]
            for unit in UNITS:
                cap, used = getattr(caps, unit), getattr(self.held[place] + self.spent[place], unit)
                assert cap is None or used <= cap

    def _move(self, item: Reservation, held: Amounts, spent: Amounts) -> None:
        for place in _places(item):
            self.held[place] = self.held.get(place, NOTHING) + held
            self.spent[place] = self.spent.get(place, NOTHING) + spent


def _places(item: Reservation) -> list[Balance]:
    owners = owners_of(item.workspace_id, item.key_id, Funds(item.funds))
    windows: tuple[tuple[Span, date], ...] = (("month", item.period_start), ("day", item.day))
    return [(owner, *window) for owner in owners for window in windows]


def _reservation(ask: Ask, now: datetime) -> Reservation:
    return Reservation(
        ask.attempt_id, ask.call_id, ask.workspace_id, ask.key_id, ask.provider, ask.model, ask.alias_name,
        ask.capability, ask.attempt_index, ask.trace_id, ask.usd_micros, ask.tokens, 1, State.HELD,
        starts_of(now)["month"].date(), now, ask.funds.value,
    )  # fmt: skip


amount = st.integers(0, 500)
cap = st.none() | st.integers(0, 2000)
caps = st.builds(Caps, cap, cap, st.none() | st.integers(0, 12))
wish = st.tuples(st.sampled_from(KEYS), st.none() | amount, amount, st.sampled_from(Funds), st.sampled_from([0.0, 2.0]))
step = st.one_of(
    st.tuples(st.just("reserve"), st.lists(wish, max_size=6)),
    st.tuples(
        st.just("finish"), st.tuples(st.integers(0, 30), st.booleans(), st.sampled_from(Billing), st.none() | amount)
    ),
    st.tuples(st.just("expire"), st.integers(0, 30)),
    st.tuples(st.just("pass"), st.sampled_from([0.1, 1.0, 3600.0, 7200.0, 86400.0])),
)


@given(st.lists(st.tuples(caps, caps), min_size=len(OWNERS), max_size=len(OWNERS)), st.lists(step, max_size=25))
def test_no_sequence_passes_a_cap_or_unbalances_the_books(
    limits: list[tuple[Caps, Caps]], steps: list[tuple[str, object]]
) -> None:
    machine = Machine(dict(zip(OWNERS, limits, strict=True)))
    for kind, detail in steps:
        _take(machine, kind, detail)
        machine.check()


def _take(machine: Machine, kind: str, detail: object) -> None:
    if kind == "reserve":
        assert isinstance(detail, list)
        machine.reserve([_ask(machine.now, *one) for one in detail])
        return
    if kind == "pass":
        assert isinstance(detail, float)
        machine.now += timedelta(seconds=detail)
        return
    known = list(machine.reservations.values())
    if not known:
        return
    if isinstance(detail, int):
        chosen = known[detail % len(known)]
        if chosen.state == State.HELD:
            machine.end(expire(chosen, machine.now))
        return
    assert isinstance(detail, tuple)
    number, sent, billing, part = detail
    chosen = known[number % len(known)]
    # The estimate bounds the cost: what is booked lies at or below the hold.
    cost = None if part is None or chosen.usd_micros is None else min(part, chosen.usd_micros)
    tokens = TokensV1() if part is None else TokensV1(input_tokens=0, output_tokens=min(part, chosen.tokens))
    told = {"sent": sent, "billing": billing, "cost_usd_micros": cost, "tokens": tokens}
    machine.end(settle(chosen, _event(chosen, machine.now, told)))


def _ask(now: datetime, key: UUID, usd_micros: int | None, tokens: int, funds: Funds, wait_s: float) -> Ask:
    return Ask(uuid4(), "c", 1, key, "p", "m", "a", "chat", 0, None, usd_micros, tokens, 60, now, wait_s, funds)


def _event(held: Reservation, now: datetime, told: dict[str, object]) -> CallFinishedV1:
    fields = {
        "attempt_id": str(held.attempt_id), "workspace_id": held.workspace_id, "key_id": str(held.key_id),
        "started_at": now, "finished_at": now, "funds": held.funds,
    }  # fmt: skip
    return CallFinishedV1.model_validate(CallFinishedV1.example | fields | told)


@given(st.lists(st.tuples(st.integers(1, 100), st.integers(1, 100)), min_size=2, max_size=12))
def test_nobody_waits_for_ever_and_each_account_serves_in_order(calls: list[tuple[int, int]]) -> None:
    """One key with room for 100: whoever waits is granted in the order of coming, once those before have ended."""
    machine = Machine({owner: (Caps(usd_micros=10**6) if owner[1] else Caps(), Caps()) for owner in OWNERS})
    machine.limits[OWNERS[0]] = (Caps(tokens=100 + sum(cost for _, cost in calls)), Caps())
    order: list[UUID] = []
    asks = [_ask(START + timedelta(seconds=n), KEYS[0], 0, size, Funds.OWN, 2.0) for n, (size, _) in enumerate(calls)]
    costs = {ask.attempt_id: min(cost, ask.tokens) for ask, (_, cost) in zip(asks, calls, strict=True)}
    while asks or machine.waiting:
        machine.now += timedelta(seconds=1)
        machine.reserve([asks.pop(0)] if asks else [])
        order += [attempt for attempt in machine.reservations if attempt not in order]
        held = [item for item in machine.reservations.values() if item.state == State.HELD]
        assert held or not machine.waiting, "somebody waits although nothing is under way"
        if held and (machine.waiting or not asks):
            tokens = TokensV1(input_tokens=0, output_tokens=costs[held[0].attempt_id])
            told = {"sent": True, "billing": Billing.COST, "cost_usd_micros": 0, "tokens": tokens}
            machine.end(settle(held[0], _event(held[0], machine.now, told)))
        machine.check()
    assert len(order) == len(calls), "all were served"
    assert order == list(machine.reservations)
