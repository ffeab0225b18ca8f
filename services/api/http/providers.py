"""``/ai-providers``: the catalogue. Everyone reads it, the platform admin changes it (``/ai-provider-changes``)."""

from typing import Annotated, Any

from fastapi import APIRouter, Query

from services.api.domain.access import Action
from services.api.domain.synonyms import canonical
from services.api.http.caller import Actor, Caller, TheEdge
from services.api.http.paging import Page, TheCursors
from services.api.schemas import ProviderChange, ProviderIn
from services.api.schemas_queries import ChangesQuery
from shared.messages.catalogue import CreateProviderV1, ListProvidersV1, ProvidersV1, ProviderV1, UpdateProviderV1
from shared.messages.catalogue_audit import CatalogueChangesV1, ListCatalogueChangesV1

routes = APIRouter(tags=["providers"])


@routes.get("/ai-providers")
async def list_providers(caller: Caller, edge: TheEdge, page: Page) -> dict[str, Any]:
    """Every provider with its models and prices (USD per million tokens; null: unknown, see ``price_version``)."""
    caller.may(Action.READ_CATALOGUE)
    providers = await edge.bus.request(ListProvidersV1(), ProvidersV1)
    found, cursor = page.page("providers", None, providers.items, lambda provider: provider.id)
    items = [provider.model_dump(mode="json") for provider in found]
    return {"items": items, "next_cursor": cursor, "version": providers.version}


@routes.get("/ai-provider-changes")
async def catalogue_changes(
    caller: Caller, edge: TheEdge, cursors: TheCursors, asked: Annotated[ChangesQuery, Query()]
) -> dict[str, Any]:
    """What was changed of the catalogue, by whom and when, newest first. Platform admin only."""
    caller.may(Action.WRITE_CATALOGUE)
    before = cursors.before("changes", None, asked.cursor, asked.before)
    request = ListCatalogueChangesV1(before=before, limit=asked.limit)
    found = await edge.bus.request(request, CatalogueChangesV1)
    cursor = cursors.older("changes", None, found.items, "version", asked.limit)
    return found.model_dump(mode="json") | {"next_cursor": cursor}


@routes.post("/ai-providers", status_code=201)
async def add_provider(caller: Caller, actor: Actor, edge: TheEdge, body: ProviderIn) -> dict[str, Any]:
    """Add an OpenAI-compatible host."""
    caller.may(Action.WRITE_CATALOGUE)
    request = CreateProviderV1(
        id=body.id,
        kind=body.kind,
        name=body.name,
        base_url=body.base_url,
        region=body.region,
        models=tuple(model.model() for model in body.models),
        simulated=body.simulated,
        actor=actor,
    )
    return (await edge.bus.request(request, ProviderV1)).model_dump(mode="json")


@routes.put("/ai-providers/{provider_id}")
async def change_provider(
    caller: Caller, actor: Actor, edge: TheEdge, provider_id: str, body: ProviderChange
) -> dict[str, Any]:
    """Change a provider, a built-in one included. Models are added, or replace those with the same id."""
    caller.may(Action.WRITE_CATALOGUE)
    request = UpdateProviderV1(
        id=canonical(provider_id),
        name=body.name,
        base_url=body.base_url,
        region=body.region,
        models=None if body.models is None else tuple(model.model() for model in body.models),
        actor=actor,
    )
    return (await edge.bus.request(request, ProviderV1)).model_dump(mode="json")
