"""Contracts of what people do to the books: dead letters, outcomes nobody knew, how long the call log is kept."""

from datetime import datetime
from typing import Any, ClassVar, Literal

from pydantic import Field

from shared.messages.base import Part, Request, Service
from shared.messages.custody import ActorV1
from shared.messages.metering import ATTEMPT_ID
from shared.messages.usage import CallsV1, CallV1

_API = (Service.API,)
_ACTOR = {"kind": "token", "id": "00000000-0000-0000-0000-000000000001", "role": "platform_admin"}


class DeadLetterV1(Part):
    """A fact that could not be settled. Its body may hold anything, so only its size is shown.

    ``resolution`` None: it still waits for somebody.
    """

    id: int
    received_at: datetime
    subject: str
    reason: str
    attempt_id: str | None
    delivered: int
    size_bytes: int
    resolution: Literal["replayed", "dismissed"] | None
    resolved_at: datetime | None


class DeadLettersV1(Part):
    """Dead letters, newest first."""

    items: tuple[DeadLetterV1, ...]


class ListDeadLettersV1(Request):
    """Letters that wait (``resolved``: those that do not), with ids below ``before``, newest first."""

    subject: ClassVar[str] = "ai.metering.letters.list.v1"
    owner: ClassVar[Service] = Service.METERING
    callers: ClassVar[tuple[Service, ...]] = _API
    reply: ClassVar[type[Part]] = DeadLettersV1
    example: ClassVar[dict[str, Any]] = {"limit": 50}

    resolved: bool = False
    before: int | None = Field(default=None, ge=1)
    limit: int = Field(default=50, ge=1, le=500)


class ReplayedV1(Part):
    """What settling a letter again has done.

    ``settled``: its attempt is settled now. ``reconciled``: its attempt had expired, and the maximum it was charged has
    been replaced by what it cost. ``repetition``: its attempt had been accounted for. ``refused``: as before, for
    ``letter.reason``; the letter still waits.
    """

    letter: DeadLetterV1
    result: Literal["settled", "reconciled", "repetition", "refused"]


class ReplayDeadLetterV1(Request):
    """Settle a letter again, by the same code as any fact. Problem ``not_found``, ``conflict`` (it is resolved)."""

    subject: ClassVar[str] = "ai.metering.letters.replay.v1"
    owner: ClassVar[Service] = Service.METERING
    callers: ClassVar[tuple[Service, ...]] = _API
    reply: ClassVar[type[Part]] = ReplayedV1
    example: ClassVar[dict[str, Any]] = {"letter_id": 1, "actor": _ACTOR}

    letter_id: int
    actor: ActorV1


class DismissDeadLetterV1(Request):
    """Nothing needs to be done about a letter. Problem ``not_found``, ``conflict`` (it is resolved)."""

    subject: ClassVar[str] = "ai.metering.letters.dismiss.v1"
    owner: ClassVar[Service] = Service.METERING
    callers: ClassVar[tuple[Service, ...]] = _API
    reply: ClassVar[type[Part]] = DeadLetterV1
    example: ClassVar[dict[str, Any]] = {"letter_id": 1, "actor": _ACTOR}

    letter_id: int
    actor: ActorV1


class QueryUnknownV1(Request):
    """Attempts whose cost or usage nobody knows and that were charged at the maximum, newest first."""

    subject: ClassVar[str] = "ai.metering.unknown.query.v1"
    owner: ClassVar[Service] = Service.METERING
    callers: ClassVar[tuple[Service, ...]] = _API
    reply: ClassVar[type[Part]] = CallsV1
    example: ClassVar[dict[str, Any]] = {"workspace_id": 1}

    workspace_id: int
    cursor: str | None = None
    limit: int = Field(default=50, ge=1, le=500)


class ReconcileAttemptV1(Request):
    """Say what an unknown attempt has cost: its row, the balances and the rollups move by the difference, once.

    Problems: ``not_found``; ``conflict`` (it is known, or was reconciled with other figures; the same figures again
    change nothing); ``forbidden`` (credits of the platform, by anyone but its admin); ``invalid_request``.
    """

    subject: ClassVar[str] = "ai.metering.unknown.reconcile.v1"
    owner: ClassVar[Service] = Service.METERING
    callers: ClassVar[tuple[Service, ...]] = _API
    reply: ClassVar[type[Part]] = CallV1
    example: ClassVar[dict[str, Any]] = {
        "workspace_id": 1, "attempt_id": ATTEMPT_ID, "cost_usd_micros": 7, "input_tokens": 8, "output_tokens": 9,
        "actor": _ACTOR,
    }  # fmt: skip

    workspace_id: int
    attempt_id: str
    cost_usd_micros: int = Field(ge=0)
    input_tokens: int = Field(ge=0)
    output_tokens: int = Field(ge=0)
    note: str = Field(default="", max_length=500)
    actor: ActorV1


class RetentionV1(Part):
    """How many days a workspace's call log is kept. None: for ever. Sums (rollups, balances) always are."""

    workspace_id: int
    call_log_days: int | None


class GetRetentionV1(Request):
    """How long a workspace's call log is kept."""

    subject: ClassVar[str] = "ai.metering.retention.get.v1"
    owner: ClassVar[Service] = Service.METERING
    callers: ClassVar[tuple[Service, ...]] = _API
    reply: ClassVar[type[Part]] = RetentionV1
    example: ClassVar[dict[str, Any]] = {"workspace_id": 1}

    workspace_id: int


class SetRetentionV1(Request):
    """Keep a workspace's call log for so many days from now on; older rows go within the hour."""

    subject: ClassVar[str] = "ai.metering.retention.set.v1"
    owner: ClassVar[Service] = Service.METERING
    callers: ClassVar[tuple[Service, ...]] = _API
    reply: ClassVar[type[Part]] = RetentionV1
    example: ClassVar[dict[str, Any]] = {"workspace_id": 1, "call_log_days": 90, "actor": _ACTOR}

    workspace_id: int
    call_log_days: int | None = Field(ge=1, le=36500)
    actor: ActorV1


class LedgerActionV1(Part):
    """Something a person did to the books. ``subject``: the letter, attempt or workspace it was done to."""

    id: int
    workspace_id: int
    at: datetime
    action: str
    subject: str
    actor: ActorV1
    facts: dict[str, str | int | None]


class LedgerActionsV1(Part):
    """Actions, newest first."""

    items: tuple[LedgerActionV1, ...]


class QueryLedgerActionsV1(Request):
    """What was done to a workspace's books, by whom and when, newest first; workspace 0: to dead letters."""

    subject: ClassVar[str] = "ai.metering.actions.query.v1"
    owner: ClassVar[Service] = Service.METERING
    callers: ClassVar[tuple[Service, ...]] = _API
    reply: ClassVar[type[Part]] = LedgerActionsV1
    example: ClassVar[dict[str, Any]] = {"workspace_id": 1}

    workspace_id: int
    before: int | None = Field(default=None, ge=1)
    limit: int = Field(default=50, ge=1, le=500)
