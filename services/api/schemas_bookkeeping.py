"""Bodies and queries of the routes on dead letters, unknown outcomes and retention."""

from decimal import Decimal
from typing import Annotated

from pydantic import Field, StrictBool, StrictInt

from services.api.schemas import AuditWorkspace, Body, CursorText, WorkspaceId, WorkspaceQuery

Before = Annotated[int | None, Field(ge=1, le=2**53)]
Limit = Annotated[int, Field(ge=1, le=500)]
Tokens = Annotated[StrictInt, Field(ge=0, le=10**15)]


class LettersQuery(Body):
    """Which dead letters to show."""

    resolved: bool = False
    before: Before = None
    cursor: CursorText = None
    limit: Limit = 50


class UnknownQuery(Body):
    """Which page of the unknown outcomes to show."""

    workspace_id: WorkspaceQuery = None
    cursor: CursorText = None
    limit: Limit = 50


class ReconcileIn(Body):
    """What an attempt has really cost."""

    workspace_id: WorkspaceQuery = None
    cost_usd: Annotated[Decimal, Field(ge=0, le=10**9, max_digits=16, decimal_places=6)]
    input_tokens: Tokens
    output_tokens: Tokens
    note: str = Field(default="", max_length=300)


class RetentionIn(Body):
    """What to change of a workspace's retention. ``call_log_days`` null: the call log is kept for ever."""

    workspace_id: WorkspaceId | None = None
    call_log_days: Annotated[StrictInt, Field(ge=1, le=36500)] | None = None
    store_content: StrictBool | None = None
    content_days: Annotated[StrictInt, Field(ge=1, le=365)] | None = None
    zero_retention: StrictBool | None = None


class ActionsQuery(Body):
    """Which actions on the books to show."""

    workspace_id: AuditWorkspace = None
    before: Before = None
    cursor: CursorText = None
    limit: Limit = 50
