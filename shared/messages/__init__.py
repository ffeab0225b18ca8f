"""Every published contract. Services share these classes and nothing else."""

from shared.messages import (
    alerts,
    bookkeeping,
    catalogue,
    catalogue_audit,
    contents,
    counting,
    custody,
    edge,
    events,
    export,
    health,
    metering,
    platform_credits,
    router,
    usage,
    vault,
)
from shared.messages.base import Event, Hint, Message, Record, Request

ALL: tuple[type[Message], ...] = tuple(
    sorted(
        (
            item
            for module in (
                alerts,
                bookkeeping,
                catalogue,
                catalogue_audit,
                contents,
                counting,
                custody,
                edge,
                events,
                export,
                health,
                metering,
                platform_credits,
                router,
                usage,
                vault,
            )
            for item in vars(module).values()
            if isinstance(item, type)
            and issubclass(item, Message)
            and item.__module__ == module.__name__
            and item not in (Message, Request, Event, Hint, Record)
            and not item.__name__.startswith("_")
        ),
        key=lambda item: item.subject,
    )
)
REQUESTS = tuple(item for item in ALL if issubclass(item, Request))
EVENTS = tuple(item for item in ALL if issubclass(item, Event))
HINTS = tuple(item for item in ALL if issubclass(item, Hint))
RECORDS = tuple(item for item in ALL if issubclass(item, Record))
