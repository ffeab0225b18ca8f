"""Bodies of the routes on budgets."""

from typing import Annotated

from pydantic import Field

from services.api.schemas import Body, Limits, WorkspaceId
from shared.messages.metering import Credits
from shared.messages.vocabulary import Funds


class WorkspaceBudget(Limits):
    """What to change of a workspace's own budget, or of its credits on the platform's keys; what is left out stays."""

    workspace_id: WorkspaceId | None = None
    funds: Funds = Funds.OWN


class CreditsIn(Body):
    """Whether the workspace's platform credits are used."""

    workspace_id: WorkspaceId | None = None
    credits: Credits


class Resume(Body):
    """Which halted budget to resume: a key's, or without ``key_id`` the workspace's."""

    workspace_id: WorkspaceId | None = None
    key_id: Annotated[str, Field(min_length=36, max_length=36)] | None = None
    funds: Funds = Funds.OWN
