"""Contracts of the vault's custody: rotating what keys are encrypted with, destroying it, and the audit of it all."""

from datetime import datetime
from typing import Any, ClassVar, Literal

from pydantic import Field

from shared.messages.base import Done, Part, Request, Service

_API = (Service.API,)
_ACTOR = {"kind": "token", "id": "00000000-0000-0000-0000-000000000001", "role": "platform_admin"}


class ActorV1(Part):
    """Who asked for a change, and from where. ``id``: the access token's id, or a service's or operator's name.

    ``address``: the IP address the request came from, None inside the system.
    """

    kind: Literal["token", "service", "operator"]
    id: str = Field(max_length=200)
    role: str | None = Field(default=None, max_length=40)
    address: str | None = Field(default=None, max_length=64)


class KekRotationV1(Part):
    """How far the data keys have moved to the active KEK.

    ``running``: ``remaining`` data keys are still under an older KEK and are being rewrapped; ``trouble`` says what
    keeps it waiting. ``done``: none is, and the older KEKs are refused. ``idle``: there has been no rotation yet.
    """

    state: Literal["idle", "running", "done"]
    kek_id: str
    total: int = 0
    remaining: int = 0
    started_at: datetime | None = None
    finished_at: datetime | None = None
    trouble: str | None = None


class RotateKekV1(Request):
    """Rewrap every data key under the active KEK, online, surviving restarts. Asked again while running: no change."""

    subject: ClassVar[str] = "ai.vault.kek.rotate.v1"
    owner: ClassVar[Service] = Service.VAULT
    callers: ClassVar[tuple[Service, ...]] = _API
    reply: ClassVar[type[Part]] = KekRotationV1
    example: ClassVar[dict[str, Any]] = {"actor": _ACTOR}

    actor: ActorV1


class GetKekRotationV1(Request):
    """The last rotation, as far as it has come."""

    subject: ClassVar[str] = "ai.vault.kek.rotation.v1"
    owner: ClassVar[Service] = Service.VAULT
    callers: ClassVar[tuple[Service, ...]] = _API
    reply: ClassVar[type[Part]] = KekRotationV1
    example: ClassVar[dict[str, Any]] = {}


class DekRotationV1(Part):
    """A workspace has a new data key; ``keys`` API keys were encrypted anew with it, and the old one is destroyed."""

    workspace_id: int
    keys: int


class RotateDekV1(Request):
    """Give a workspace a new data key and encrypt its keys anew, in one transaction.

    Problem ``not_found``: the workspace has no data key.
    """

    subject: ClassVar[str] = "ai.vault.dek.rotate.v1"
    owner: ClassVar[Service] = Service.VAULT
    callers: ClassVar[tuple[Service, ...]] = _API
    reply: ClassVar[type[Part]] = DekRotationV1
    example: ClassVar[dict[str, Any]] = {"workspace_id": 1, "actor": _ACTOR}

    workspace_id: int
    actor: ActorV1


class ShredWorkspaceV1(Request):
    """Revoke every key of a workspace and destroy its data key: no copy of a ciphertext can be opened. Idempotent.

    The workspace takes no key any more.
    """

    max_replies: ClassVar[int] = 60
    subject: ClassVar[str] = "ai.vault.workspaces.shred.v1"
    owner: ClassVar[Service] = Service.VAULT
    callers: ClassVar[tuple[Service, ...]] = _API
    reply: ClassVar[type[Part]] = Done
    example: ClassVar[dict[str, Any]] = {"workspace_id": 7, "actor": _ACTOR}

    workspace_id: int
    actor: ActorV1


class AuditEntryV1(Part):
    """One link of a workspace's chain (workspace 0: the platform's own).

    ``hash`` (hex) is a keyed hash over every other field and ``previous``, the hash of the entry before.
    ``facts``: what changed, never a secret.
    """

    workspace_id: int
    seq: int
    at: datetime
    action: str
    key_id: str | None
    actor: ActorV1
    trace_id: str | None
    facts: dict[str, str | int | bool | None]
    previous: str
    hash: str


class AuditV1(Part):
    """A page of the audit, newest first; ``next_before`` None on the last page."""

    items: tuple[AuditEntryV1, ...]
    next_before: int | None = None


class QueryAuditV1(Request):
    """Entries of a workspace's audit with ``seq`` below ``before``; ``key_id`` narrows them."""

    subject: ClassVar[str] = "ai.vault.audit.query.v1"
    owner: ClassVar[Service] = Service.VAULT
    callers: ClassVar[tuple[Service, ...]] = _API
    reply: ClassVar[type[Part]] = AuditV1
    example: ClassVar[dict[str, Any]] = {"workspace_id": 1, "limit": 50}

    workspace_id: int
    key_id: str | None = None
    before: int | None = Field(default=None, ge=1)
    limit: int = Field(default=50, ge=1, le=500)


class AuditVerdictV1(Part):
    """``intact``, or where the chain breaks first and how (``altered``, ``missing``, ``cut_off``)."""

    workspace_id: int
    entries: int
    intact: bool
    head: str | None = None
    broken_at: int | None = None
    fault: str | None = None


class VerifyAuditV1(Request):
    """Recompute a workspace's whole chain."""

    max_replies: ClassVar[int] = 60
    subject: ClassVar[str] = "ai.vault.audit.verify.v1"
    owner: ClassVar[Service] = Service.VAULT
    callers: ClassVar[tuple[Service, ...]] = _API
    reply: ClassVar[type[Part]] = AuditVerdictV1
    example: ClassVar[dict[str, Any]] = {"workspace_id": 1}

    workspace_id: int
