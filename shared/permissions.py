"""Who may publish and subscribe to what on NATS: derived from the messages, one user per service.

JetStream lives in an account of its own (``docs/decisions/0002-bus.md``). A service reaches nothing in there but what
it is handed: the records and hints it writes, and its own places to read. Whom a server answers on behalf of JetStream
is for the asker to choose, so within one account whoever may ask JetStream anything could have it ask itself
everything: to delete a stream, or to say what it stores to any service under any name.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from shared.messages import EVENTS, HINTS, RECORDS, REQUESTS
from shared.messages.base import Record, Service

_GUESTS_INBOXES = "_INBOX_guest"
_GUEST = re.compile(r"[a-z][a-z0-9-]{0,31}")
OPERATOR = "operator"
"""The deployment's own user: the only one of JetStream's account. No service is ever given its key."""


@dataclass(frozen=True)
class Permissions:
    """Subjects one NATS user may use; everything else is denied by the server.

    ``replies``: how many messages it may send to the reply subject of each request it received. The server remembers
    each of them until then; who answers in parts, often and late, may write to its askers' inboxes instead (``replies``
    0), where nobody can guess what is waited for.
    """

    publish: tuple[str, ...]
    subscribe: tuple[str, ...]
    replies: int


@dataclass(frozen=True)
class Door:
    """A subject that the account of the services imports from JetStream's. ``many``: one question, many answers."""

    subject: str
    many: bool = False


def inbox_prefix(user: str) -> str:
    """Replies to ``user``, a service or the operator, arrive below this prefix; nobody else may subscribe to it."""
    return f"_INBOX_{user}"


def guest_user(name: str) -> str:
    """The NATS user of another OmniPost service. Raises ValueError for a name that cannot stand in a subject."""
    if not _GUEST.fullmatch(name):
        raise ValueError("A service's name is 1 to 32 of a-z, 0-9 and '-', and begins with a letter.")
    return f"guest.{name}"


def permissions_of_guest(name: str, workspaces: Iterable[int]) -> Permissions:
    """What another OmniPost service may do: call, stream and cancel, and hear events, in ``workspaces`` alone."""
    mine = sorted(set(workspaces))
    publish = {item.pattern() for item in EVENTS if item.from_guests}
    publish |= {_within(item.subject, number) for item in REQUESTS if item.for_guests for number in mine}
    subscribe = {_within(item.subject, number) for item in EVENTS if item.for_guests for number in mine}
    subscribe.add(f"{inbox_prefix(guest_user(name))}.>")
    return Permissions(tuple(sorted(publish)), tuple(sorted(subscribe)), 0)


def _within(subject: str, workspace_id: int) -> str:
    return subject.format(workspace_id=workspace_id)


def permissions_of(service: Service) -> Permissions:
    """The exact matrix row of ``service``."""
    publish = {item.pattern() for item in REQUESTS if service in item.callers}
    publish |= {item.pattern() for item in EVENTS if item.owner is service}
    publish |= {item.subject for item in RECORDS if item.owner is service}
    subscribe = {item.pattern() for item in REQUESTS if item.owner is service}
    subscribe |= {item.pattern() for item in EVENTS if service in item.listeners}
    subscribe.add(f"{inbox_prefix(service)}.>")
    for record in RECORDS:
        if record.consumer is service:
            publish |= {door.subject for door in _reading(record)}
    # A bucket is read whole by its owner, which hears what changes like any other event.
    publish |= {_whole_bucket(hint.bucket).subject for hint in HINTS if hint.owner is service}
    served = [item for item in REQUESTS if item.owner is service]
    replies = max((item.max_replies for item in served), default=0)
    if any(item.part is not None for item in served):
        publish |= {f"{inbox_prefix(caller)}.>" for item in served for caller in item.callers}
        publish |= {f"{_GUESTS_INBOXES}.>" for item in served if item.for_guests}
        replies = 0
    return Permissions(tuple(sorted(publish)), tuple(sorted(subscribe)), replies)


def operator_permissions() -> Permissions:
    """All of JetStream's API and nothing else: it makes streams, and neither says nor hears what goes through them."""
    return Permissions(("$JS.API.>",), (f"{inbox_prefix(OPERATOR)}.>",), 0)


def doors() -> tuple[Door, ...]:
    """All that leads from the services to JetStream; who may go through which is in ``permissions_of``."""
    found = {Door(record.subject) for record in RECORDS} | {Door(hint.pattern()) for hint in HINTS}
    found |= {door for record in RECORDS for door in _reading(record)}
    found |= {_whole_bucket(hint.bucket) for hint in HINTS}
    return tuple(sorted(found, key=lambda door: door.subject))


def next_of(record: type[Record]) -> str:
    """Where the record's consumer asks for more of its stream."""
    return f"$JS.API.CONSUMER.MSG.NEXT.{record.stream}.{record.durable()}"


def _reading(record: type[Record]) -> set[Door]:
    # Stream and consumer are there or not: the deployment makes them, because the body of such a request may name a
    # subject to deliver to, and no permission can look into a body. The server puts the stream first into the subject
    # of an acknowledgement, or after the domain and the account's hash, as it likes.
    place = f"{record.stream}.{record.durable()}"
    return {Door(next_of(record), many=True), Door(f"$JS.ACK.{place}.>"), Door(f"$JS.ACK.*.*.{place}.>")}


def _whole_bucket(bucket: str) -> Door:
    return Door(f"$JS.API.DIRECT.GET.KV_{bucket}", many=True)
