"""Budgets: whose they are, what stands in them, and what a call asks of them. Pure; money is micro-dollars.

A budget counts in two windows at once, the calendar month and the day (both UTC), each with caps of its own.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal
from uuid import UUID

from shared.clock import month_of
from shared.messages.metering import Refusal, Unit
from shared.messages.vocabulary import Funds

NEAR_CAP_PERCENT = 80
Span = Literal["month", "day"]
Owner = tuple[int, UUID | None, Funds]
"""Workspace id, key id and funds; key id None is the account of the workspace itself."""


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


NOTHING = Amounts()


@dataclass(frozen=True, slots=True)
class Caps:
    """Limits for one period; None is no limit."""

    usd_micros: int | None = None
    tokens: int | None = None
    requests: int | None = None


NO_CAPS = Caps()


@dataclass(frozen=True, slots=True)
class Window:
    """One budget in one period: its caps, what is spent for good, and what is held for attempts under way.

    ``raised``: the alerts of this period that have been written already (``domain.alerting``).
    """

    caps: Caps = NO_CAPS
    spent: Amounts = NOTHING
    held: Amounts = NOTHING
    raised: int = 0

    @property
    def used(self) -> Amounts:
        """Spent and held together."""
        return self.spent + self.held

    def overrun(self, amounts: Amounts) -> Unit | None:
        """The first unit in which ``amounts`` would pass its cap, None when everything fits."""
        return self._passed(self.held, amounts)

    def overrun_for_good(self, amounts: Amounts) -> Unit | None:
        """The first unit in which ``amounts`` would pass its cap even when nothing were held any more."""
        return self._passed(NOTHING, amounts)

    def holding(self, amounts: Amounts) -> "Window":
        """This window with ``amounts`` held on top."""
        return Window(self.caps, self.spent, self.held + amounts, self.raised)

    def levels(self) -> Iterable[tuple[Unit, int, int]]:
        """Unit, cap and use, of each unit that has a cap above 0: a cap of 0 is a prohibition, not a level."""
        if self.caps is NO_CAPS:
            return
        caps, used = self.caps, self.used
        if caps.usd_micros:
            yield "usd_micros", caps.usd_micros, used.usd_micros
        if caps.tokens:
            yield "tokens", caps.tokens, used.tokens
        if caps.requests:
            yield "requests", caps.requests, used.requests

    def is_near_cap(self) -> bool:
        """Whether any unit stands at 80 % of its cap or more."""
        return any(is_near(cap, used) for _, cap, used in self.levels())

    def _passed(self, held: Amounts, amounts: Amounts) -> Unit | None:
        caps, spent = self.caps, self.spent
        if caps is NO_CAPS:
            return None
        if caps.usd_micros is not None and spent.usd_micros + held.usd_micros + amounts.usd_micros > caps.usd_micros:
            return "usd_micros"
        if caps.tokens is not None and spent.tokens + held.tokens + amounts.tokens > caps.tokens:
            return "tokens"
        if caps.requests is not None and spent.requests + held.requests + amounts.requests > caps.requests:
            return "requests"
        return None


def is_near(cap: int, used: int) -> bool:
    """Whether ``used`` is 80 % of ``cap`` or more."""
    return used * 100 >= cap * NEAR_CAP_PERCENT


@dataclass(frozen=True, slots=True)
class Place:
    """A place in the line of an account: who waits for room, since when, and until when nobody overtakes it."""

    attempt_id: UUID
    since: datetime
    until: datetime

    @property
    def order(self) -> tuple[datetime, UUID]:
        """Smaller: served earlier."""
        return self.since, self.attempt_id


@dataclass(frozen=True, slots=True)
class Account:
    """One budget in its current month and day.

    ``halted``: why nothing more is admitted until somebody resumes it; ``line``: who waits for room, first come first.
    ``credits_allowed``: of a workspace's credits, whether it wants them used.
    """

    budget_id: int
    workspace_id: int
    key_id: UUID | None
    funds: Funds = Funds.OWN
    month: Window = Window()
    day: Window = Window()
    blocked: bool = False
    halted: str | None = None
    line: tuple[Place, ...] = ()
    credits_allowed: bool = False

    @property
    def owner(self) -> Owner:
        """Whose account it is."""
        return self.workspace_id, self.key_id, self.funds

    @property
    def windows(self) -> tuple[tuple[Span, Window], tuple[Span, Window]]:
        """Both windows; what stops a call for a month is named before what stops it for a day."""
        return ("month", self.month), ("day", self.day)

    @property
    def has_cap(self) -> bool:
        """Whether it is limited at all; credits that are not were not granted."""
        return self.month.caps != NO_CAPS or self.day.caps != NO_CAPS

    @property
    def has_dollar_cap(self) -> bool:
        """Whether a model without a price must stay away."""
        return self.month.caps.usd_micros is not None or self.day.caps.usd_micros is not None

    def overrun(self, amounts: Amounts) -> tuple[Span, Unit] | None:
        """The first window and unit in which ``amounts`` would pass a cap."""
        for span, window in self.windows:
            unit = window.overrun(amounts)
            if unit is not None:
                return span, unit
        return None

    def overrun_for_good(self, amounts: Amounts) -> tuple[Span, Unit] | None:
        """The first window and unit whose cap ``amounts`` would pass even when nothing were held any more."""
        for span, window in self.windows:
            unit = window.overrun_for_good(amounts)
            if unit is not None:
                return span, unit
        return None

    def holding(self, amounts: Amounts) -> "Account":
        """This account with ``amounts`` held on top."""
        # On the path of every call; ``dataclasses.replace`` takes several times as long.
        return Account(
            self.budget_id, self.workspace_id, self.key_id, self.funds, self.month.holding(amounts),
            self.day.holding(amounts), self.blocked, self.halted, self.line, self.credits_allowed,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Ask:
    """A wish to call a provider once. ``usd_micros`` None: the model has no price.

    ``since``: when it first asked; ``wait_s``: how long it can wait for calls under way, 0: not at all.
    """

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
    since: datetime
    wait_s: float = 0.0
    funds: Funds = Funds.OWN

    @property
    def amounts(self) -> Amounts:
        """What is held for it; nothing in $ when there is no price."""
        return Amounts(self.usd_micros or 0, self.tokens, 1)

    @property
    def owners(self) -> tuple[Owner, Owner]:
        """The accounts it is charged to."""
        return owners_of(self.workspace_id, self.key_id, self.funds)

    @property
    def order(self) -> tuple[datetime, UUID]:
        """Smaller: served earlier."""
        return self.since, self.attempt_id


@dataclass(frozen=True, slots=True)
class Decision:
    """Granted when ``refusal`` is None; else the account (as it stood), window and unit that stopped it, if any did.

    ``fits_later``: only what is held for calls under way stands against it. ``near_cap``: windows at 80 % or more.
    """

    attempt_id: UUID
    refusal: Refusal | None = None
    account: Account | None = None
    span: Span = "month"
    unit: Unit | None = None
    fits_later: bool = False
    near_cap: tuple[tuple[Account, Span], ...] = ()

    @property
    def granted(self) -> bool:
        """Whether the provider may be called."""
        return self.refusal is None


def starts_of(now: datetime) -> dict[Span, datetime]:
    """When the current month and day began, in UTC."""
    return {"month": month_of(now), "day": now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)}


def owners_of(workspace_id: int, key_id: UUID, funds: Funds = Funds.OWN) -> tuple[Owner, Owner]:
    """The two accounts a call with this key is charged to: the key's, and the workspace's of the same funds.

    A call paid with platform funds uses a key of the platform and the workspace's credits; it never touches what the
    workspace may spend on its own keys.
    """
    return (funds.keyholder(workspace_id), key_id, funds), (workspace_id, None, funds)
