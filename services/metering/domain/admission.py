"""Admission: which reservations fit under which caps, and who waits for room. Pure.

Invariant: for every account, window and unit, spent + held + what is admitted <= cap.

An ask that only calls under way stand against may wait. Whoever has waited longest is the first in the line of each
account that stops it, and nobody who came later is served there before: a large call is not starved by small ones.
Lines are stored with the accounts, so that they hold between replicas. As asks are ordered by when they came, no two
can wait for each other.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from services.metering.domain.ledger import NOTHING, Account, Amounts, Ask, Decision, Owner, Place, Span
from shared.messages.metering import Refusal
from shared.messages.vocabulary import Funds

LINE_KEEPS = timedelta(seconds=0.4)
"""How long a place is kept for who does not ask again: its replica died, or it is about to ask another."""


@dataclass(slots=True)
class Admitted:
    """What became of a group of asks.

    Attributes:
        decisions: one per ask.
        standing: the accounts afterwards.
        holds: what must be added to the held amounts of accounts.
        lines: whose first place must be stored; None: nobody waits there any more.
    """

    standing: dict[Owner, Account]
    decisions: list[Decision] = field(default_factory=list)
    holds: dict[Owner, Amounts] = field(default_factory=dict)
    lines: dict[Owner, Place | None] = field(default_factory=dict)


def decide(asks: Iterable[Ask], accounts: Mapping[Owner, Account], now: datetime) -> Admitted:
    """Decide ``asks``, those that came first before the others; each sees what those before it hold."""
    admitted = Admitted(dict(accounts))
    for ask in sorted(asks, key=lambda ask: ask.order):
        decision = _refusal(ask, admitted.standing) or _stop(ask, admitted, now)
        if decision is None:
            decision = _grant(ask, admitted)
        if not decision.fits_later:
            _leave_line(ask, admitted)
        admitted.decisions.append(decision)
    return admitted


def near_cap(ask: Ask, accounts: Mapping[Owner, Account]) -> tuple[tuple[Account, Span], ...]:
    """The windows of this ask's accounts that stand at 80 % of a cap or more."""
    found = (accounts[owner] for owner in ask.owners if owner in accounts)
    return tuple((account, span) for account in found for span, window in account.windows if window.is_near_cap())


def _refusal(ask: Ask, accounts: Mapping[Owner, Account]) -> Decision | None:
    """Why no waiting would help; None: it would, or is not needed."""
    key, workspace = (accounts.get(owner) for owner in ask.owners)
    if key is None:
        # An account that is not there cannot say yes: fail closed.
        return Decision(ask.attempt_id, Refusal.KEY_BLOCKED)
    if workspace is None:
        # A workspace without an account for platform funds has never been given any.
        why = Refusal.KEY_BLOCKED if ask.funds is Funds.OWN else Refusal.BUDGET_EXCEEDED
        return Decision(ask.attempt_id, why)
    involved = (key, workspace)
    return next(filter(None, (_closed(ask, account) for account in involved)), None) or next(
        filter(None, (_hopeless(ask, account) for account in involved)), None
    )


def _closed(ask: Ask, account: Account) -> Decision | None:
    if account.blocked:
        return Decision(ask.attempt_id, Refusal.KEY_BLOCKED, account)
    if account.halted is not None:
        return Decision(ask.attempt_id, Refusal.HALTED, account)
    if ask.usd_micros is None and account.has_dollar_cap:
        return Decision(ask.attempt_id, Refusal.UNPRICED, account, unit="usd_micros")
    return None


def _hopeless(ask: Ask, account: Account) -> Decision | None:
    passed = account.overrun_for_good(ask.amounts)
    return None if passed is None else Decision(ask.attempt_id, Refusal.BUDGET_EXCEEDED, account, *passed)


def _stop(ask: Ask, admitted: Admitted, now: datetime) -> Decision | None:
    """Who stands in its way for now; it then takes its place where it is the first to wait."""
    stopped: Decision | None = None
    for owner in ask.owners:
        account = admitted.standing[owner]
        line, passed = account.line, account.overrun(ask.amounts)
        is_behind = (
            line is not None and line.until > now and line.order < ask.order and line.attempt_id != ask.attempt_id
        )
        if passed is None and not is_behind:
            continue
        span, unit = passed or ("month", None)
        stopped = stopped or Decision(ask.attempt_id, Refusal.BUDGET_EXCEEDED, account, span, unit, fits_later=True)
        if passed is not None and not is_behind and ask.wait_s > 0:
            _take_place(owner, ask, admitted, now)
    return stopped


def _grant(ask: Ask, admitted: Admitted) -> Decision:
    amounts = ask.amounts
    for owner in ask.owners:
        admitted.standing[owner] = admitted.standing[owner].holding(amounts)
        admitted.holds[owner] = admitted.holds.get(owner, NOTHING) + amounts
    return Decision(ask.attempt_id, near_cap=near_cap(ask, admitted.standing))


def _take_place(owner: Owner, ask: Ask, admitted: Admitted, now: datetime) -> None:
    account = admitted.standing[owner]
    line = account.line
    # Written anew only when half of its time is over: waiting must not cost an update at every look.
    if line is None or line.attempt_id != ask.attempt_id or line.until < now + LINE_KEEPS / 2:
        line = Place(ask.attempt_id, ask.since, now + LINE_KEEPS)
        admitted.lines[owner] = line
        admitted.standing[owner] = replace(account, line=line)


def _leave_line(ask: Ask, admitted: Admitted) -> None:
    for owner in ask.owners:
        account = admitted.standing.get(owner)
        if account is not None and account.line is not None and account.line.attempt_id == ask.attempt_id:
            admitted.lines[owner] = None
            admitted.standing[owner] = replace(account, line=None)
