"""What people do to the books: dead letters, and outcomes nobody knew."""

from typing import Annotated, Any

from fastapi import APIRouter, Query

from services.api.domain.access import Action
from services.api.http.caller import Actor, Caller, TheEdge
from services.api.http.custody import TheCustody
from services.api.http.paging import TheCursors
from services.api.schemas_bookkeeping import ActionsQuery, LettersQuery, ReconcileIn, UnknownQuery
from shared.errors import Code, OmniError
from shared.messages.bookkeeping import (
    DeadLettersV1,
    DeadLetterV1,
    DismissDeadLetterV1,
    LedgerActionsV1,
    ListDeadLettersV1,
    QueryLedgerActionsV1,
    QueryUnknownV1,
    ReconcileAttemptV1,
    ReplayDeadLetterV1,
    ReplayedV1,
)
from shared.messages.usage import CallsV1, CallV1
from shared.money import format_usd, micros_from_usd

routes = APIRouter(tags=["bookkeeping"])
TIMEOUT_S = 8.0
_MICROS = "_micros"


@routes.get("/ai-dead-letters")
async def dead_letters(
    caller: Caller, edge: TheEdge, cursors: TheCursors, asked: Annotated[LettersQuery, Query()]
) -> dict[str, Any]:
    """Facts that could not be settled, newest first; platform admin only. Their bodies are not shown."""
    caller.may(Action.SETTLE_LETTERS)
    of = f"letters {asked.resolved}"
    before = cursors.before(of, None, asked.cursor, asked.before)
    query = ListDeadLettersV1(resolved=asked.resolved, before=before, limit=asked.limit)
    letters = await edge.bus.request(query, DeadLettersV1, timeout=TIMEOUT_S)
    cursor = cursors.older(of, None, letters.items, "id", asked.limit)
    return letters.model_dump(mode="json") | {"next_cursor": cursor}


@routes.post("/ai-dead-letters/{letter_id}/replay")
async def replay(caller: Caller, actor: Actor, edge: TheEdge, letter_id: str) -> dict[str, Any]:
    """Settle a letter again, by the code that settles every call."""
    caller.may(Action.SETTLE_LETTERS)
    request = ReplayDeadLetterV1(letter_id=_number(letter_id), actor=actor)
    return (await edge.bus.request(request, ReplayedV1, timeout=TIMEOUT_S)).model_dump(mode="json")


@routes.post("/ai-dead-letters/{letter_id}/dismiss")
async def dismiss(caller: Caller, actor: Actor, edge: TheEdge, letter_id: str) -> dict[str, Any]:
    """Nothing needs to be done about a letter."""
    caller.may(Action.SETTLE_LETTERS)
    request = DismissDeadLetterV1(letter_id=_number(letter_id), actor=actor)
    return (await edge.bus.request(request, DeadLetterV1, timeout=TIMEOUT_S)).model_dump(mode="json")


@routes.get("/ai-usage/unknown")
async def unknown(
    caller: Caller, edge: TheEdge, cursors: TheCursors, asked: Annotated[UnknownQuery, Query()]
) -> dict[str, Any]:
    """Attempts charged at their maximum because nobody knows what they cost, newest first."""
    workspace = await edge.workspace(caller, Action.READ_USAGE, asked.workspace_id)
    cursor = cursors.opened("unknown", workspace, asked.cursor)
    query = QueryUnknownV1(workspace_id=workspace, cursor=cursor, limit=asked.limit)
    page = await edge.bus.request(query, CallsV1, timeout=TIMEOUT_S)
    onward = cursors.sealed("unknown", workspace, page.next_cursor)
    return {"items": [_view(call) for call in page.items], "next_cursor": onward}


@routes.post("/ai-usage/unknown/{attempt_id}/reconcile")
async def reconcile(caller: Caller, actor: Actor, edge: TheEdge, attempt_id: str, body: ReconcileIn) -> dict[str, Any]:
    """Say what an unknown attempt has cost: balances and sums move by the difference, once."""
    workspace = await edge.workspace(caller, Action.RECONCILE, body.workspace_id)
    request = ReconcileAttemptV1(
        workspace_id=workspace,
        attempt_id=attempt_id,
        cost_usd_micros=micros_from_usd(body.cost_usd),
        input_tokens=body.input_tokens,
        output_tokens=body.output_tokens,
        note=body.note,
        actor=actor,
    )
    return _view(await edge.bus.request(request, CallV1, timeout=TIMEOUT_S))


@routes.get("/ai-ledger-actions")
async def actions(
    caller: Caller, custody: TheCustody, edge: TheEdge, cursors: TheCursors, asked: Annotated[ActionsQuery, Query()]
) -> dict[str, Any]:
    """What people did to the books, newest first; ``workspace_id=0``: to dead letters."""
    workspace = await custody.audit_scope(caller, asked.workspace_id)
    before = cursors.before("actions", workspace, asked.cursor, asked.before)
    query = QueryLedgerActionsV1(workspace_id=workspace, before=before, limit=asked.limit)
    found = await edge.bus.request(query, LedgerActionsV1)
    cursor = cursors.older("actions", workspace, found.items, "id", asked.limit)
    return found.model_dump(mode="json") | {"next_cursor": cursor}


def _number(letter_id: str) -> int:
    if not letter_id.isascii() or not letter_id.isdigit() or len(letter_id) > 15:
        raise OmniError(Code.NOT_FOUND, "There is no such dead letter.")
    return int(letter_id)


def _view(call: CallV1) -> dict[str, Any]:
    return {
        name.removesuffix(_MICROS): format_usd(value) if name.endswith(_MICROS) else value
        for name, value in call.model_dump(mode="json").items()
    }
