"""Contract of metering's exports: the call log in bulk, page by page, in an order that no later row gets into."""

from datetime import datetime
from typing import Any, ClassVar, Literal

from pydantic import Field

from shared.messages.base import Part, Request, Service

PAGE = 1000


class CallPageV1(Part):
    """Rows of the call log by column: ``columns`` has the names of ``CallV1``, each with one value a row.

    Times are texts, RFC 3339 in UTC with six decimals. ``next``: the place to go on from, also behind the last row;
    ``more``: whether there may be rows behind it already. ``upto``: what a snapshot's further pages are asked with.
    ``total``: rows of the snapshot in all; None: not asked for, or too many to count in time.
    """

    rows: int
    columns: dict[str, list[Any]]
    next: str | None
    more: bool
    upto: int
    total: int | None = None


class ReadCallsV1(Request):
    """A page of a workspace's call log. Problem ``invalid_request``: a place this service did not make.

    ``newest``: by time of start, newest first, only rows written before ``upto`` (None: until now); asked with the same
    ``upto`` the pages are one snapshot. ``changed``: as rows were written or corrected; from a place on, nothing is
    ever missed, and a corrected row comes again.
    """

    subject: ClassVar[str] = "ai.metering.calls.read.v1"
    owner: ClassVar[Service] = Service.METERING
    callers: ClassVar[tuple[Service, ...]] = (Service.API,)
    reply: ClassVar[type[Part]] = CallPageV1
    example: ClassVar[dict[str, Any]] = {"workspace_id": 1, "order": "newest", "limit": 1000}

    workspace_id: int
    order: Literal["newest", "changed"] = "newest"
    since: datetime | None = None
    until: datetime | None = None
    after: str | None = None
    upto: int | None = None
    count: bool = False
    limit: int = Field(default=PAGE, ge=1, le=PAGE)
