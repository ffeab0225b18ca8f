"""How reservations end, and what rollups count; with admission it is tried in ``test_ledger_machine.py``."""

from datetime import UTC, date, datetime, timedelta
from uuid import UUID, uuid4

import pytest

from services.metering.domain.ledger import Amounts
from services.metering.domain.settlement import (
    Bar,
    Reservation,
    Settlement,
    State,
    Stray,
    expire,
    settle,
)
from services.metering.domain.usage import roll_up, total
from shared.messages.catalogue import TargetV1
from shared.messages.router import CallFinishedV1, TokensV1
from shared.messages.vocabulary import Outcome

NOW = datetime(2026, 11, 23, 10, 30, tzinfo=UTC)


def reservation(usd_micros: int | None) -> Reservation:
    return Reservation(
        uuid4(), "call", 1, UUID(int=1), "openai", "gpt-4o-mini", "fast-drafts", "chat", 0, None, usd_micros, 1100, 1,
        State.HELD, date(2026, 11, 1), NOW,
    )  # fmt: skip


def event(held: Reservation, **changes: object) -> CallFinishedV1:
    fields = {
        "attempt_id": str(held.attempt_id), "workspace_id": held.workspace_id, "key_id": str(held.key_id), "sent": True,
        "started_at": NOW, "finished_at": NOW,
    }  # fmt: skip
    return CallFinishedV1.model_validate(CallFinishedV1.example | fields | changes)


HELD = reservation(700)
UNPRICED = reservation(None)


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
    assert end.overrun is None


@pytest.mark.parametrize(
    ("held", "changes", "overrun"),
    [
        (HELD, {"cost_usd_micros": 700}, None),
        (HELD, {"cost_usd_micros": 701}, "usd_micros"),
        (HELD, {"tokens": TokensV1(input_tokens=1000, output_tokens=101)}, "tokens"),
        (HELD, {"billing": "unknown"}, None),
        (UNPRICED, {"cost_usd_micros": 5}, None),
    ],
)
def test_what_a_hold_was_too_small_for(held: Reservation, changes: dict[str, object], overrun: str | None) -> None:
    end = settle(held, event(held, **changes))
    assert isinstance(end, Settlement)
    assert end.overrun == overrun
    assert end.call
    assert end.call.reserved_usd_micros == held.usd_micros


def test_the_row_names_the_first_choice_and_the_funds() -> None:
    first = TargetV1(provider="groq", model="llama")
    end = settle(HELD._replace(funds="platform"), event(HELD, fallback_from=first, first_token_ms=120))
    assert isinstance(end, Settlement)
    assert end.call
    assert (end.call.fallback_from, end.call.first_token_ms, end.call.funds) == ("groq/llama", 120, "platform")


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
    assert settle(HELD._replace(state=state), event(HELD, sent=sent)) == (Stray(reason) if reason else None)


def test_an_event_without_a_reservation() -> None:
    assert settle(None, event(HELD)) == Stray("no reservation")
    given_up = settle(None, event(HELD, sent=False))
    assert isinstance(given_up, Bar)
    assert given_up.reservation.state == State.VOID


@pytest.mark.parametrize("change", [{"workspace_id": 2}, {"key_id": str(uuid4())}])
def test_an_event_of_another_owner_moves_nothing(change: dict[str, object]) -> None:
    assert isinstance(settle(HELD, event(HELD, **change)), Stray)


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
    assert {key.at.hour for key in sums} == {10, 11}
    assert total(sums.values())[:10] == (4, 2, 2, 1, 16, 18, 14, 714, 1, 4 * 412)
