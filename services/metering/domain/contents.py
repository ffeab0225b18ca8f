"""Whether a workspace's content is stored: what a change of that makes of it, and who may make it."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from shared.errors import Code, OmniError, invalid
from shared.messages.contents import SetContentPolicyV1

OWNER = "owner"


@dataclass(frozen=True)
class Policy:
    """What a workspace wants. ``store`` and ``zero`` are never both true."""

    store: bool = False
    days: int = 30
    zero: bool = False

    def oldest(self, now: datetime) -> datetime:
        """Content stored before this is not shown any more, and goes."""
        return now + timedelta(days=1) if self.zero else now - timedelta(days=self.days)


def changed(policy: Policy, change: SetContentPolicyV1) -> Policy:
    """``policy`` after ``change``; zero retention wins over everything.

    Raises OmniError as the contract says. Lifting zero retention does not bring storing back: it is asked for anew.
    """
    if change.zero_retention and change.store_content:
        raise invalid("zero_retention forbids store_content; choose one of them.", field="store_content")
    if policy.zero and change.zero_retention is False and change.actor.role != OWNER:
        raise OmniError(Code.FORBIDDEN, "Only an owner of the workspace may lift zero retention.")
    zero = policy.zero if change.zero_retention is None else change.zero_retention
    if zero and change.store_content:
        detail = "Zero retention holds for this workspace, so nothing can be stored; an owner must lift it first."
        raise OmniError(Code.CONFLICT, detail, extra={"zero_retention": True})
    store = policy.store if change.store_content is None else change.store_content
    days = policy.days if change.content_days is None else change.content_days
    return replace(policy, store=store and not zero, days=days, zero=zero)
