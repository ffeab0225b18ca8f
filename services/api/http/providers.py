"""``/ai-providers``: the catalogue. Everyone reads it, the platform admin changes it (``/ai-provider-changes``)."""

from typing import Annotated, Any

from fastapi import APIRouter, Query

from services.api.domain.access import Action
from services.api.domain.synonyms import canonical
from services.api.http.caller import Actor, Caller, TheEdge
from services.api.schemas import ChangesQuery, ProviderChange, ProviderIn
from shared.messages.catalogue import CreateProviderV1, ListProvidersV1, ProvidersV1, ProviderV1, UpdateProviderV1
from shared.messages.catalogue_audit import CatalogueChangesV1, ListCatalogueChangesV1

routes = APIRouter(tags=["providers"])


@routes.get("/ai-providers")
async def list_providers(caller: Caller, edge: TheEdge) -> dict[str, Any]:
    """Every provider with its models and prices (USD per million tokens; null: unknown, see ``price_version``)."""
    caller.may(Action.READ_CATALOGUE)
    providers = await edge.bus.request(ListProvidersV1(), ProvidersV1)
    return {
        "items": [provider.model_dump(mode="json") for provider in providers.items],
        "version": providers.version,
    }


@routes.get("/ai-provider-changes")
async def catalogue_changes(caller: Caller, edge: TheEdge, asked: Annotated[ChangesQuery, Query()]) -> dict[str, Any]:
    """What was changed of the catalogue, by whom and when, newest first. Platform admin only."""
    caller.may(Action.WRITE_CATALOGUE)
    request = ListCatalogueChangesV1(before=asked.before, limit=asked.limit)
    return (await edge.bus.request(request, CatalogueChangesV1)).model_dump(mode="json")


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
