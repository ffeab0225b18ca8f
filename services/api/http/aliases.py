"""``/ai-aliases``: names for chains of targets."""

from contextlib import suppress
from itertools import count
from typing import Any

from fastapi import APIRouter, Response

from services.api.domain.access import Action, Principal
from services.api.domain.synonyms import canonical
from services.api.http.caller import Caller, TheEdge
from services.api.http.idempotent import NewId
from services.api.http.paging import Page
from services.api.schemas import AliasChange, AliasIn, WorkspaceQuery, ordered
from services.api.schemas_invoke import ExplainIn
from services.api.service import Edge
from shared.errors import Code, OmniError, invalid
from shared.messages.base import Done
from shared.messages.catalogue import (
    AliasesV1,
    AliasV1,
    CreateAliasV1,
    DeleteAliasV1,
    GetAliasV1,
    ListAliasesV1,
    TargetV1,
    UpdateAliasV1,
)
from shared.messages.router import ExplainedV1, ExplainV1, ForecastV1, PlannedTargetV1
from shared.money import format_usd

_NO_QUESTION = ExplainIn()
routes = APIRouter(prefix="/ai-aliases", tags=["aliases"])


@routes.get("")
async def list_aliases(
    caller: Caller, edge: TheEdge, page: Page, workspace_id: WorkspaceQuery = None
) -> dict[str, Any]:
    """Every alias of a workspace, by name; ``available`` says whether any of its targets can be called today."""
    workspace = await edge.workspace(caller, Action.READ_ALIASES, workspace_id)
    aliases = await edge.bus.request(ListAliasesV1(workspace_id=workspace), AliasesV1)
    items, cursor = page.page("aliases", workspace, aliases.items, lambda alias: alias.alias_name)
    return {"items": [alias_view(alias) for alias in items], "next_cursor": cursor}


@routes.post("", status_code=201)
async def create_alias(caller: Caller, edge: TheEdge, new_id: NewId, body: AliasIn) -> dict[str, Any]:
    """Create an alias."""
    workspace = await edge.workspace(caller, Action.WRITE_ALIASES, body.workspace_id)
    primary = TargetV1(provider=body.primary_provider, model=body.primary_model)
    request = CreateAliasV1(
        alias_id=str(new_id),
        workspace_id=workspace,
        alias_name=body.alias_name,
        display_name=body.display_name or body.alias_name,
        capability=body.capability,
        chain=tuple(map(_canonical, (primary, *ordered(body.fallback_chain)))),
        routing_preference=body.routing_preference,
        allow_aggregators=body.allow_aggregators,
        on_stream_cut=body.on_stream_cut,
        time_limits=body.time_limits,
        funds=body.funds,
    )
    return alias_view(await _created(edge, request))


@routes.get("/{alias_id}")
async def get_alias(caller: Caller, edge: TheEdge, alias_id: str) -> dict[str, Any]:
    """One alias."""
    return alias_view(await _find(edge, caller, Action.READ_ALIASES, alias_id))


@routes.put("/{alias_id}")
async def change_alias(caller: Caller, edge: TheEdge, alias_id: str, body: AliasChange) -> dict[str, Any]:
    """Change an alias; what is left out stays."""
    alias = await _find(edge, caller, Action.WRITE_ALIASES, alias_id)
    capability = body.capability or alias.capability
    if body.modality not in (None, capability.modality):
        raise invalid("modality and capability do not belong together")
    primary_provider = body.primary_provider
    request = UpdateAliasV1(
        workspace_id=alias.workspace_id,
        alias_id=alias.id,
        alias_name=body.alias_name,
        display_name=body.display_name,
        capability=body.capability,
        primary_provider=canonical(primary_provider) if primary_provider else None,
        primary_model=body.primary_model,
        fallbacks=None if body.fallback_chain is None else tuple(map(_canonical, ordered(body.fallback_chain))),
        routing_preference=body.routing_preference,
        allow_aggregators=body.allow_aggregators,
        on_stream_cut=body.on_stream_cut,
        time_limits=body.time_limits,
        funds=body.funds,
    )
    return alias_view(await edge.bus.request(request, AliasV1))


@routes.delete("/{alias_id}", status_code=204)
async def delete_alias(caller: Caller, edge: TheEdge, alias_id: str) -> Response:
    """Deactivate an alias; its calls stay in the log."""
    alias = await _find(edge, caller, Action.WRITE_ALIASES, alias_id)
    await edge.bus.request(DeleteAliasV1(workspace_id=alias.workspace_id, alias_id=alias.id), Done)
    return Response(status_code=204)


@routes.post("/{alias_id}/explain")
async def explain_alias(caller: Caller, edge: TheEdge, alias_id: str, body: ExplainIn = _NO_QUESTION) -> dict[str, Any]:
    """What a call would try in which order, what it would pass over and why, and what it would cost; calls nobody."""
    alias = await _find(edge, caller, Action.READ_ALIASES, alias_id)
    request = ExplainV1(
        workspace_id=alias.workspace_id,
        alias_id=alias.id,
        messages=body.conversation(),
        options=body.options.of_chat(),
        embedding=body.embedding(),
    )
    return explained_view(await edge.bus.request(request, ExplainedV1))


async def _created(edge: Edge, request: CreateAliasV1) -> AliasV1:
    try:
        return await edge.bus.request(request, AliasV1)
    except OmniError as error:
        if error.code is not Code.CONFLICT:
            raise
        # The name may be taken by this very alias, when the request is carried out for the second time.
        made = GetAliasV1(workspace_id=request.workspace_id, alias_id=request.alias_id)
        with suppress(OmniError):
            return await edge.bus.request(made, AliasV1)
        raise


async def _find(edge: Edge, caller: Principal, action: Action, alias_id: str) -> AliasV1:
    caller.may(action)
    return await edge.bus.request(GetAliasV1(workspace_id=caller.workspace_id, alias_id=alias_id), AliasV1)


def _canonical(target: TargetV1) -> TargetV1:
    return TargetV1(provider=canonical(target.provider), model=target.model)


def alias_view(alias: AliasV1) -> dict[str, Any]:
    """An alias in the specification's words."""
    primary, *rest = alias.chain
    view = alias.model_dump(mode="json", exclude={"chain"})
    return {
        **view,
        "primary_provider": primary.provider,
        "primary_model": primary.model,
        "fallback_chain": [
            {"provider": target.provider, "model": target.model, "priority": place}
            for place, target in enumerate(rest, start=1)
        ],
    }


def explained_view(explained: ExplainedV1) -> dict[str, Any]:
    """A plan; ``position`` counts the targets that would be tried, from 1."""
    position = count(1)
    return {
        "alias_name": explained.alias_name,
        "routing_preference": explained.routing_preference,
        "targets": [_target_view(target, None if target.skipped else next(position)) for target in explained.targets],
    }


def _target_view(target: PlannedTargetV1, position: int | None) -> dict[str, Any]:
    forecast = target.forecast or ForecastV1(expected_usd_micros=None, at_most_usd_micros=None)
    return {
        "provider": target.provider,
        "model": target.model,
        "key_id": target.key_id,
        "would_be_tried": position is not None,
        "position": position,
        "skipped": {"reason": target.skipped.value, "detail": target.detail} if target.skipped else None,
        "resting": target.resting,
        "forecast_usd": format_usd(forecast.expected_usd_micros),
        "at_most_usd": format_usd(forecast.at_most_usd_micros),
        "price_version": forecast.price_version,
        "latency_ms": target.latency_ms,
        "funds": target.funds.value,
    }
