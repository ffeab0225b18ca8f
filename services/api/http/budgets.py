"""``/ai-budgets``: a workspace's budgets, its credits on the platform's keys, and halted budgets."""

from typing import Any

from fastapi import APIRouter

from services.api.domain.access import Action
from services.api.http.caller import Caller, TheEdge
from services.api.http.paging import Page
from services.api.schemas import WorkspaceQuery
from services.api.schemas_budgets import Resume, WorkspaceBudget
from shared.messages.metering import BudgetsV1, BudgetV1, ResumeBudgetV1, SetWorkspaceBudgetV1
from shared.messages.vocabulary import Funds

routes = APIRouter(prefix="/ai-budgets", tags=["budgets"])


@routes.get("")
async def budgets(caller: Caller, edge: TheEdge, page: Page, workspace_id: WorkspaceQuery = None) -> dict[str, Any]:
    """Every budget of a workspace as it stands: its own, its credits, its keys'; a day's only where it has a limit."""
    workspace = await edge.workspace(caller, Action.READ_USAGE, workspace_id)
    # In the order in which they were made: what is added comes last.
    numbered = list(enumerate(await edge.budgets(workspace)))
    found, cursor = page.page("budgets", workspace, numbered, lambda one: f"{one[0]:08d}")
    return _view(tuple(budget for _, budget in found)) | {"next_cursor": cursor}


@routes.put("/workspace")
async def change(caller: Caller, edge: TheEdge, body: WorkspaceBudget) -> dict[str, Any]:
    """Change some limits at once; what is spent stays spent. Credits are the platform's to give."""
    workspace = await edge.workspace(caller, _action(body.funds), body.workspace_id)
    request = SetWorkspaceBudgetV1(
        workspace_id=workspace, funds=body.funds, caps=body.caps("monthly"), day_caps=body.caps("daily")
    )
    return _view((await edge.bus.request(request, BudgetsV1)).items)


@routes.post("/resume")
async def resume(caller: Caller, edge: TheEdge, body: Resume) -> dict[str, Any]:
    """Admit calls again on a budget that was halted because a call cost more than was held for it."""
    workspace = await edge.workspace(caller, _action(body.funds), body.workspace_id)
    request = ResumeBudgetV1(workspace_id=workspace, key_id=body.key_id, funds=body.funds)
    return _view((await edge.bus.request(request, BudgetsV1)).items)


def _action(funds: Funds) -> Action:
    return Action.WRITE_BUDGETS if funds is Funds.OWN else Action.GRANT_CREDITS


def _view(found: tuple[BudgetV1, ...]) -> dict[str, Any]:
    return {"items": [budget.public() for budget in found]}
