"""Which alerts a budget's state calls for: at 80 %, at the end, halted. Pure; each once per window, unit and kind."""

from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID

from services.metering.domain.ledger import Account, Decision, Span, Window, is_near
from shared.messages.alerts import AlertKind
from shared.messages.metering import Refusal, Unit

_BITS: dict[tuple[Unit, AlertKind], int] = {
    ("usd_micros", AlertKind.BUDGET_WARNING): 1,
    ("usd_micros", AlertKind.BUDGET_EXHAUSTED): 2,
    ("tokens", AlertKind.BUDGET_WARNING): 4,
    ("tokens", AlertKind.BUDGET_EXHAUSTED): 8,
    ("requests", AlertKind.BUDGET_WARNING): 16,
    ("requests", AlertKind.BUDGET_EXHAUSTED): 32,
}
"""How ``Window.raised`` remembers an alert; stored, so never change one."""


@dataclass(frozen=True, slots=True)
class Alert:
    """One thing to tell about a window of an account. ``cap`` None: it has none in this unit."""

    account: Account
    span: Span
    unit: Unit
    kind: AlertKind
    cap: int | None
    used: int
    attempt_id: UUID | None = None

    @property
    def bit(self) -> int:
        """What ``Window.raised`` remembers it by; 0: nothing, it may be told again."""
        return _BITS.get((self.unit, self.kind), 0)


def by_level(account: Account) -> list[Alert]:
    """What the levels of ``account`` call for and nobody has been told in this period."""
    return [
        Alert(account, span, unit, kind, cap, used)
        for span, window in account.windows
        for unit, cap, used in window.levels()
        for kind in _kinds(cap, used)
        if not window.raised & _BITS[unit, kind]
    ]


def by_refusals(decisions: Iterable[Decision]) -> list[Alert]:
    """A budget that had to refuse near its end is at its end, although the last cents remain unspent."""
    alerts: dict[tuple[int, Span, Unit], Alert] = {}
    for decision in decisions:
        account, span, unit = decision.account, decision.span, decision.unit
        if decision.refusal is not Refusal.BUDGET_EXCEEDED or decision.fits_later or account is None or unit is None:
            continue
        window = window_of(account, span)
        cap, spent = getattr(window.caps, unit), getattr(window.spent, unit)
        # A single call too large for a budget that is hardly used says nothing about the budget.
        if cap and is_near(cap, spent) and not window.raised & _BITS[unit, AlertKind.BUDGET_EXHAUSTED]:
            alerts[account.budget_id, span, unit] = Alert(
                account, span, unit, AlertKind.BUDGET_EXHAUSTED, cap, getattr(window.used, unit), decision.attempt_id
            )
    return list(alerts.values())


def halted(account: Account, unit: Unit, attempt_id: UUID) -> Alert:
    """An attempt cost more than was held for it, so estimates can no longer be trusted to keep to the caps."""
    month = account.month
    return Alert(
        account,
        "month",
        unit,
        AlertKind.BUDGET_HALTED,
        getattr(month.caps, unit),
        getattr(month.used, unit),
        attempt_id,
    )


def window_of(account: Account, span: Span) -> Window:
    """The window of ``account``."""
    return account.month if span == "month" else account.day


def _kinds(cap: int, used: int) -> Iterable[AlertKind]:
    if is_near(cap, used):
        yield AlertKind.BUDGET_WARNING
    if used >= cap:
        yield AlertKind.BUDGET_EXHAUSTED
