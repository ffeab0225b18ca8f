"""Bodies and queries about webhooks."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field, StrictBool

from services.api.domain.webhooks import EVENTS
from services.api.schemas import Body, CursorText, WorkspaceId

EventName = StrEnum("EventName", {name.replace(".", "_").upper(): name for name in EVENTS})  # type: ignore[misc]
Url = Annotated[str, Field(min_length=8, max_length=2000)]
Events = Annotated[frozenset[EventName], Field(min_length=1, max_length=len(EVENTS))]


class WebhookIn(Body):
    """A webhook to add; ``events`` left out: all there are."""

    workspace_id: WorkspaceId | None = None
    url: Url
    events: Events = frozenset(EventName)


class WebhookChange(Body):
    """What to change of a webhook; what is left out stays.

    ``new_secret``: sign with another one; the old one signs beside it for a day. ``enabled``: false stops what is
    sent, true begins again, also after we have given it up.
    """

    workspace_id: WorkspaceId | None = None
    url: Url | None = None
    events: Events | None = None
    enabled: StrictBool | None = None
    new_secret: StrictBool = False


class DeliveriesQuery(Body):
    """Which deliveries to show; ``before``: only those with a lower ``seq``."""

    before: int | None = Field(default=None, ge=1, le=2**53)
    cursor: CursorText = None
    limit: int = Field(default=50, ge=1, le=500)
