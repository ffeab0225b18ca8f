"""Queries of lists that are read from newer to older."""

from typing import Annotated

from pydantic import Field

from services.api.schemas import AuditWorkspace, Body, CursorText, WorkspaceQuery
from shared.messages.vocabulary import Outcome


class ChangesQuery(Body):
    """Which changes of the catalogue to show."""

    before: int | None = Field(default=None, ge=1, le=2**53)
    cursor: CursorText = None
    limit: int = Field(default=50, ge=1, le=500)


class AuditQuery(Body):
    """Which entries of the audit to show."""

    workspace_id: AuditWorkspace = None
    key_id: str | None = Field(default=None, max_length=64)
    before: int | None = Field(default=None, ge=1, le=2**53)
    cursor: CursorText = None
    limit: int = Field(default=50, ge=1, le=500)


Filter = Annotated[str | None, Field(max_length=200)]


class CallsQuery(Body):
    """Which rows of the call log to show. ``from`` and ``to``: ISO dates or instants."""

    workspace_id: WorkspaceQuery = None
    from_: Filter = Field(default=None, alias="from")
    to: Filter = None
    provider: Filter = None
    alias_name: Filter = None
    model: Filter = None
    key_id: Filter = None
    call_id: Filter = None
    outcome: Outcome | None = None
    cursor: CursorText = None
    limit: int = Field(default=50, ge=1, le=500)
