"""Admission: which reservations fit under which caps, and who waits for room. Pure.

Invariant: for every account, window and unit, spent + held + what is admitted <= cap.

An ask that only calls under way stand against may wait. It takes its place in the line of each account that stops it,
and nobody who came later is served there before: a large call is not starved by small ones. The first places of a line
are stored with the account, so that they hold between replicas. As asks are ordered by when they came, no two can wait
for each other.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from services.metering.domain.ledger import NOTHING, Account, Amounts, Ask, Decision, Owner, Place, Span
from shared.messages.metering import Refusal
from shared.messages.vocabulary import Funds

LINE_KEEPS = timedelta(seconds=0.4)
"""How long a place is kept for who does not ask again: its replica died, or it is about to ask another."""
PLACES = 16
"""How many places of a line are stored. Who is behind all of them waits anyway."""


@dataclass(slots=True)
class Admitted:
    """What became of a group of asks.

    Attributes:
        decisions: one per ask.
        standing: the accounts afterwards.
        holds: what must be added to the held amounts of accounts.
        lines: those that have changed and must be stored.
    """

    standing: dict[Owner, Account]
    decisions: list[Decision] = field(default_factory=list)
    holds: dict[Owner, Amounts] = field(default_factory=dict)
    lines: dict[Owner, tuple[Place, ...]] = field(default_factory=dict)


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
    of_key, of_workspace = ask.owners
    key, workspace = accounts.get(of_key), accounts.get(of_workspace)
    if key is None:
        # An account that is not there cannot say yes: fail closed.
        return Decision(ask.attempt_id, Refusal.KEY_BLOCKED)
    if workspace is None:
        # A workspace without an account for platform funds has never been given any.
        why = Refusal.KEY_BLOCKED if ask.funds is Funds.OWN else Refusal.NO_CREDITS
        return Decision(ask.attempt_id, why)
    if ask.funds is Funds.PLATFORM and (why_not := _without_credits(workspace)):
        return Decision(ask.attempt_id, why_not, workspace)
    return _closed(ask, key) or _closed(ask, workspace) or _hopeless(ask, key) or _hopeless(ask, workspace)


def _without_credits(account: Account) -> Refusal | None:
    if not account.has_cap:
        return Refusal.NO_CREDITS
    return None if account.credits_allowed else Refusal.CREDITS_OFF


def _closed(ask: Ask, account: Account) -> Decision | None:
    if account.blocked:
        return Decision(ask.attempt_id, Refusal.KEY_BLOCKED, account)
    if account.halted is not None:
        return Decision(ask.attempt_id, Refusal.HALTED, account)
    # Credits are the platform's money: what it costs must be known, whatever they were granted in.
    are_credits = account.funds is Funds.PLATFORM and account.key_id is None
    if ask.usd_micros is None and (account.has_dollar_cap or are_credits):
        return Decision(ask.attempt_id, Refusal.UNPRICED, account, unit="usd_micros")
    return None


def _hopeless(ask: Ask, account: Account) -> Decision | None:
    passed = account.overrun_for_good(ask.amounts)
    return None if passed is None else Decision(ask.attempt_id, Refusal.BUDGET_EXCEEDED, account, *passed)


def _stop(ask: Ask, admitted: Admitted, now: datetime) -> Decision | None:
    """Who stands in its way for now; there it then takes its place in the line."""
    stopped: Decision | None = None
    for owner in ask.owners:
        account = admitted.standing[owner]
        passed = account.overrun(ask.amounts)
        if passed is None and not _is_behind(ask, account, now):
            continue
        span, unit = passed or ("month", None)
        stopped = stopped or Decision(ask.attempt_id, Refusal.BUDGET_EXCEEDED, account, span, unit, fits_later=True)
        if ask.wait_s > 0:
            _take_place(owner, ask, admitted, now)
    return stopped


def _is_behind(ask: Ask, account: Account, now: datetime) -> bool:
    return bool(account.line) and any(
        place.until > now and place.order < ask.order and place.attempt_id != ask.attempt_id for place in account.line
    )


def _grant(ask: Ask, admitted: Admitted) -> Decision:
    amounts = ask.amounts
    for owner in ask.owners:
        admitted.standing[owner] = admitted.standing[owner].holding(amounts)
        admitted.holds[owner] = admitted.holds.get(owner, NOTHING) + amounts
    return Decision(ask.attempt_id, near_cap=near_cap(ask, admitted.standing))


def _take_place(owner: Owner, ask: Ask, admitted: Admitted, now: datetime) -> None:
    kept = {place.attempt_id: place for place in admitted.standing[owner].line if place.until > now}
    mine = kept.get(ask.attempt_id)
    # Written anew only when half of its time is over: waiting must not cost an update at every look.
    if mine is None or mine.until < now + LINE_KEEPS / 2:
        kept[ask.attempt_id] = Place(ask.attempt_id, ask.since, now + LINE_KEEPS)
        _store(owner, tuple(sorted(kept.values(), key=lambda place: place.order)[:PLACES]), admitted)


def _leave_line(ask: Ask, admitted: Admitted) -> None:
    for owner in ask.owners:
        line = admitted.standing[owner].line if owner in admitted.standing else ()
        if line and any(place.attempt_id == ask.attempt_id for place in line):
            _store(owner, tuple(place for place in line if place.attempt_id != ask.attempt_id), admitted)


def _store(owner: Owner, line: tuple[Place, ...], admitted: Admitted) -> None:
    account = admitted.standing[owner]
    if line != account.line:
        admitted.lines[owner] = line
        admitted.standing[owner] = replace(account, line=line)
