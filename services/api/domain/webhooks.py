"""What is sent to a webhook, how it is signed (https://www.standardwebhooks.com), and what an answer means."""

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from shared.messages.alerts import AlertKind

TEST = "webhook.test"
EVENTS = tuple(kind.value for kind in AlertKind)
"""What a webhook may ask for; ``TEST`` comes to every one when somebody asks for it."""

DELAYS_S = (5, 5 * 60, 30 * 60, 2 * 3600, 5 * 3600, 10 * 3600, 14 * 3600, 20 * 3600, 24 * 3600)
"""Pauses between the attempts, of which there is one more: 3 days and 4 hours in all."""

GIVE_UP_AFTER = timedelta(days=3)
"""A webhook that nothing has reached for so long is disabled at the next failure."""

OLD_SECRET_FOR = timedelta(hours=24)
"""How long a replaced secret signs beside its successor."""

KEEP = timedelta(days=30)
"""How long deliveries that have ended are listed and can be replayed."""

Trouble = Literal[
    "not_allowed", "not_signed", "connect_failed", "tls_failed", "timeout", "connection_lost", "not_http", "redirect"
]  # fmt: skip
_GONE = 410
_LONGEST_WAIT_S = 24 * 3600


@dataclass(frozen=True)
class Answer:
    """What became of one attempt: the receiver's status, or why there was none. ``retry_after_s``: its own wish."""

    code: int | None
    trouble: Trouble | None = None
    retry_after_s: int | None = None

    @property
    def is_taken(self) -> bool:
        """Whether the receiver has it."""
        return self.code is not None and 200 <= self.code < 300 and self.trouble is None


@dataclass(frozen=True)
class Next:
    """What follows. ``wait_s`` None: nothing is tried again. ``disable``: why nothing at all is sent there any more."""

    status: Literal["pending", "delivered", "failed"]
    wait_s: float | None = None
    disable: Literal["gone", "failing"] | None = None


def following(answer: Answer, attempts: int, failing_since: datetime | None, now: datetime, jitter: float) -> Next:
    """What follows the ``attempts``-th attempt. ``jitter``: 0 to 1, so that many do not come again together."""
    if answer.is_taken:
        return Next("delivered")
    if answer.code == _GONE:
        return Next("failed", disable="gone")
    hopeless = failing_since is not None and now - failing_since >= GIVE_UP_AFTER
    disable: Literal["failing"] | None = "failing" if hopeless else None
    if attempts > len(DELAYS_S):
        return Next("failed", disable=disable)
    wait_s = DELAYS_S[attempts - 1] * (0.9 + 0.2 * jitter)
    return Next("pending", max(wait_s, min(answer.retry_after_s or 0, _LONGEST_WAIT_S)), disable)


def body(kind: str, at: datetime, data: Mapping[str, Any]) -> str:
    """The payload: the same text at every attempt, for it is what is signed."""
    return json.dumps({"type": kind, "timestamp": at.isoformat(), "data": data}, ensure_ascii=False)


def headers(event_id: str, at: datetime, payload: bytes, secrets: Sequence[bytes]) -> dict[str, str]:
    """What is sent along: one signature for each secret that counts at ``at``, the newest first."""
    timestamp = str(int(at.timestamp()))
    signed = f"{event_id}.{timestamp}.".encode() + payload
    return {
        "webhook-id": event_id,
        "webhook-timestamp": timestamp,
        "webhook-signature": " ".join(_signature(secret, signed) for secret in secrets),
        "content-type": "application/json",
        "user-agent": "OmniPost-Webhooks/1",
    }


def _signature(secret: bytes, signed: bytes) -> str:
    return "v1," + base64.b64encode(hmac.new(secret, signed, hashlib.sha256).digest()).decode()
