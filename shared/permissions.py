"""Who may publish and subscribe to what on NATS: derived from the messages, one user per service."""

from dataclasses import dataclass

from shared.messages import EVENTS, HINTS, RECORDS, REQUESTS
from shared.messages.base import Service


@dataclass(frozen=True)
class Permissions:
    """Subjects one NATS user may use; everything else is denied by the server.

    ``replies``: how many messages it may send to the reply subject of each request it received (0: it serves
    nothing). A long call is kept alive by heartbeats, so only the owner of long calls may reply more than once.
    """

    publish: tuple[str, ...]
    subscribe: tuple[str, ...]
    replies: int


def inbox_prefix(service: Service) -> str:
    """Replies to ``service`` arrive below this prefix, which no other service may subscribe to."""
    return f"_INBOX_{service}"


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
            publish |= _consumer_api(record.stream)
    for hint in HINTS:
        if hint.owner is service:
            # Made and read whole by its owner, which hears what changes like any other event.
            publish |= {f"$JS.API.STREAM.CREATE.KV_{hint.bucket}", f"$JS.API.DIRECT.GET.KV_{hint.bucket}"}
    replies = max((item.max_replies for item in REQUESTS if item.owner is service), default=0)
    return Permissions(tuple(sorted(publish)), tuple(sorted(subscribe)), replies)


def _consumer_api(stream: str) -> set[str]:
    # The consuming service owns its stream: it creates the stream and its own consumer, and acknowledges. The
    # acknowledgement subject's inner shape changes between server versions, so it is permitted whole.
    return {
        f"$JS.API.STREAM.CREATE.{stream}",
        f"$JS.API.STREAM.UPDATE.{stream}",
        f"$JS.API.STREAM.INFO.{stream}",
        f"$JS.API.CONSUMER.CREATE.{stream}.>",
        f"$JS.API.CONSUMER.INFO.{stream}.>",
        f"$JS.API.CONSUMER.MSG.NEXT.{stream}.>",
        "$JS.ACK.>",
    }
