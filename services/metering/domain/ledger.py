"""Admission: which reservations fit under which caps. Pure; amounts are micro-dollars, tokens and requests.

Invariant: for every account and unit, spent + held + what is admitted <= cap.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from uuid import UUID

from shared.messages.metering import Refusal, Unit

NEAR_CAP_PERCENT = 80
Owner = tuple[int, UUID | None]
"""Workspace id and key id; key id None is the workspace's own account."""


@dataclass(frozen=True, slots=True)
class Amounts:
    """A quantity in each unit of a budget."""

    usd_micros: int = 0
    tokens: int = 0
    requests: int = 0

    def __add__(self, other: "Amounts") -> "Amounts":
        return Amounts(self.usd_micros + other.usd_micros, self.tokens + other.tokens, self.requests + other.requests)

    def __sub__(self, other: "Amounts") -> "Amounts":
        return Amounts(self.usd_micros - other.usd_micros, self.tokens - other.tokens, self.requests - other.requests)


@dataclass(frozen=True, slots=True)
class Caps:
    """Limits for one period; None is no limit."""

    usd_micros: int | None = None
    tokens: int | None = None
    requests: int | None = None


@dataclass(frozen=True, slots=True)
class Account:
    """One budget in one period: its caps, what is spent for good, and what is held for attempts under way."""

    budget_id: int
    workspace_id: int
    key_id: UUID | None
    caps: Caps = Caps()
    spent: Amounts = Amounts()
    held: Amounts = Amounts()
    blocked: bool = False

    @property
    def owner(self) -> Owner:
        """Whose account it is."""
        return self.workspace_id, self.key_id

    def overrun(self, amounts: Amounts) -> Unit | None:
        """The first unit in which ``amounts`` would pass its cap, None when everything fits."""
        for unit, cap, used in self._capped():
            if used + getattr(amounts, unit) > cap:
                return unit
        return None

    def is_near_cap(self) -> bool:
        """Whether any unit stands at 80 % of its cap or more. A cap of 0 is a prohibition, not a level."""
        return any(cap > 0 and used * 100 >= cap * NEAR_CAP_PERCENT for _, cap, used in self._capped())

    def holding(self, amounts: Amounts) -> "Account":
        """This account with ``amounts`` held on top."""
        return replace(self, held=self.held + amounts)

    def _capped(self) -> Iterable[tuple[Unit, int, int]]:
        caps, spent, held = self.caps, self.spent, self.held
        if caps.usd_micros is not None:
            yield "usd_micros", caps.usd_micros, spent.usd_micros + held.usd_micros
        if caps.tokens is not None:
            yield "tokens", caps.tokens, spent.tokens + held.tokens
        if caps.requests is not None:
            yield "requests", caps.requests, spent.requests + held.requests


@dataclass(frozen=True, slots=True)
class Ask:
    """A wish to call a provider once. ``usd_micros`` None: the model has no price."""

    attempt_id: UUID
    call_id: str
    workspace_id: int
    key_id: UUID
    provider: str
    model: str
    alias_name: str
    capability: str
    attempt_index: int
    trace_id: str | None
    usd_micros: int | None
    tokens: int
    ttl_s: float

    @property
    def amounts(self) -> Amounts:
        """What is held for it; nothing in $ when there is no price."""
        return Amounts(self.usd_micros or 0, self.tokens, 1)


@dataclass(frozen=True, slots=True)
class Decision:
    """Granted when ``refusal`` is None; else the account (as it stood) and unit that stopped it, where there is one."""

    attempt_id: UUID
    refusal: Refusal | None = None
    account: Account | None = None
    unit: Unit | None = None
    near_cap: tuple[Account, ...] = ()

    @property
    def granted(self) -> bool:
        """Whether the provider may be called."""
        return self.refusal is None


def decide(asks: Iterable[Ask], accounts: Mapping[Owner, Account]) -> tuple[tuple[Decision, ...], dict[Owner, Amounts]]:
    """Decide ``asks`` in their order; each sees what those before it hold.

    Returns one decision per ask, and what must be added to the held amounts of each account.
    """
    standing = dict(accounts)
    holds: dict[Owner, Amounts] = {}
    decisions = []
    for ask in asks:
        decision = _decide_one(ask, standing)
        if decision.granted:
            for owner in owners_of(ask.workspace_id, ask.key_id):
                standing[owner] = standing[owner].holding(ask.amounts)
                holds[owner] = holds.get(owner, Amounts()) + ask.amounts
            decision = replace(decision, near_cap=near_cap(ask.workspace_id, ask.key_id, standing))
        decisions.append(decision)
    return tuple(decisions), holds


def owners_of(workspace_id: int, key_id: UUID) -> tuple[Owner, Owner]:
    """The two accounts a call with this key is charged to."""
    return (workspace_id, key_id), (workspace_id, None)


def near_cap(workspace_id: int, key_id: UUID, accounts: Mapping[Owner, Account]) -> tuple[Account, ...]:
    """The accounts of this key that stand at 80 % of a cap or more."""
    found = (accounts[owner] for owner in owners_of(workspace_id, key_id) if owner in accounts)
    return tuple(account for account in found if account.is_near_cap())


def _decide_one(ask: Ask, accounts: Mapping[Owner, Account]) -> Decision:
    involved = [accounts.get(owner) for owner in owners_of(ask.workspace_id, ask.key_id)]
    for account in involved:
        # An account that is not there cannot say yes: fail closed.
        if account is None or account.blocked:
            return Decision(ask.attempt_id, Refusal.KEY_BLOCKED, account)
        if ask.usd_micros is None and account.caps.usd_micros is not None:
            return Decision(ask.attempt_id, Refusal.UNPRICED, account, "usd_micros")
        unit = account.overrun(ask.amounts)
        if unit is not None:
            return Decision(ask.attempt_id, Refusal.BUDGET_EXCEEDED, account, unit)
    return Decision(ask.attempt_id)
