"""The key audit's chain: every entry is bound to the one before it by a keyed hash.

Who can write to the database but lacks the key can neither alter an entry nor cut the chain's tail unnoticed: the
head is sealed as well. Who also kept an *older* head could set the chain back to it; against that stands the log,
where every head has been written (event ``audited``).
"""

import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Literal
from uuid import UUID

from services.vault.domain.keys import Key
from shared.messages.base import Service
from shared.messages.custody import ActorV1
from shared.messages.vault import RestrictionsV1
from shared.sealing import length_prefixed

GENESIS = bytes(32)
"""What the first entry of a chain follows."""

Fact = str | int | bool | None
Fault = Literal["altered", "missing", "cut_off"]


class Action(StrEnum):
    """What can be done to keys, what they are encrypted with, and the content that is sealed with it."""

    KEY_CREATED = "key_created"
    KEY_CHANGED = "key_changed"
    SECRET_REPLACED = "secret_replaced"  # noqa: S105 - an action's name
    KEY_VERIFIED = "key_verified"
    KEY_REFUSED = "key_refused"
    KEY_REVOKED = "key_revoked"
    DEK_ROTATED = "dek_rotated"
    WORKSPACE_SHREDDED = "workspace_shredded"
    CONTENT_OPENED = "content_opened"
    CONTENTS_DESTROYED = "contents_destroyed"
    KEK_ROTATION_STARTED = "kek_rotation_started"
    KEK_ROTATION_FINISHED = "kek_rotation_finished"


@dataclass(frozen=True)
class Entry:
    """What is to be written down. ``facts``: never a secret, a masked key, or a text that somebody typed."""

    workspace_id: int
    action: Action
    actor: ActorV1
    key_id: UUID | None = None
    facts: Mapping[str, Fact] = field(default_factory=dict)


@dataclass(frozen=True)
class Link:
    """An entry as it is stored. ``actor`` and ``facts`` are what the table holds, whatever that is."""

    workspace_id: int
    seq: int
    at: datetime
    action: str
    key_id: UUID | None
    actor: Any
    trace_id: str | None
    facts: Any
    previous: bytes
    hash: bytes = b""

    def computed(self, auditing: bytes) -> bytes:
        """The keyed hash (32 bytes) over every other field."""
        message = length_prefixed(
            "omnipost audit v1",
            self.workspace_id,
            self.seq,
            self.at.astimezone(UTC),
            self.action,
            _canonical(None if self.key_id is None else str(self.key_id)),
            _canonical(self.actor),
            _canonical(self.trace_id),
            _canonical(self.facts),
            self.previous,
        )
        return hmac.digest(auditing, message, hashlib.sha256)


@dataclass(frozen=True)
class Head:
    """The end of a chain. ``seal``: a keyed hash over the rest, so that an earlier entry cannot be made the head."""

    workspace_id: int
    seq: int
    hash: bytes
    seal: bytes = b""

    def computed(self, auditing: bytes) -> bytes:
        """The right seal, 32 bytes."""
        message = length_prefixed("omnipost audit head v1", self.workspace_id, self.seq, self.hash)
        return hmac.digest(auditing, message, hashlib.sha256)


@dataclass(frozen=True)
class Break:
    """The first place where a chain does not hold."""

    seq: int
    fault: Fault


class Walk:
    """Goes along one chain from its beginning, in constant memory."""

    def __init__(self, workspace_id: int, auditing: bytes) -> None:
        self._workspace_id, self._auditing = workspace_id, auditing
        self.seq = 0
        self.hash = GENESIS

    def step(self, link: Link) -> Break | None:
        """The next stored entry, in the order of ``seq``."""
        expected = self.seq + 1
        if link.seq > expected:
            return Break(expected, "missing")
        sound = link.seq == expected and link.workspace_id == self._workspace_id and link.previous == self.hash
        if not sound or not hmac.compare_digest(link.hash, link.computed(self._auditing)):
            return Break(link.seq, "altered")
        self.seq, self.hash = link.seq, link.hash
        return None

    def end(self, head: Head | None) -> Break | None:
        """No entry is left: the chain must end where its head says."""
        if head is None:
            return Break(self.seq, "missing") if self.seq else None
        if not hmac.compare_digest(head.seal, head.computed(self._auditing)):
            return Break(self.seq, "altered")
        if head.seq > self.seq:
            return Break(self.seq + 1, "cut_off")
        return None if (head.seq, head.hash) == (self.seq, self.hash) else Break(self.seq, "altered")


def beginning(key: Key) -> dict[str, Fact]:
    """What the entry of a new key says of it."""
    restricted = key.restrictions != RestrictionsV1()
    return {"provider": key.provider, "host": key.host, "scopes": _listed(key), "restricted": restricted}


def differences(before: Key, after: Key) -> dict[str, Fact]:
    """What has changed, by name; empty when nothing. A label is somebody's own words and not repeated."""
    facts: dict[str, Fact] = {
        name: True for name in ("label", "restrictions") if getattr(before, name) != getattr(after, name)
    }
    if before.scopes != after.scopes:
        facts |= {"scopes": _listed(after), "scopes_before": _listed(before)}
    return facts


def by_service(service: Service) -> ActorV1:
    """A service that acts on its own account."""
    return ActorV1(kind="service", id=service.value)


def _listed(key: Key) -> str:
    return ",".join(sorted(scope.value for scope in key.scopes))


def _canonical(value: object) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
