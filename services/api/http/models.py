"""``/v1/models``: what a compatible API's ``model`` may be."""

import asyncio
import json
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from services.api.dialects.models import models, models_view
from services.api.dialects.openai_chat import OpenAIChat
from services.api.domain.access import Action
from services.api.http.compatible import failed, principal_of, workspace_of
from services.api.service import Edge
from shared.errors import Code, OmniError
from shared.messages.catalogue import AliasesV1, ListAliasesV1, ListProvidersV1, ProvidersV1
from shared.messages.vault import KeysV1, ListKeysV1
from shared.messages.vocabulary import KeyStatus

_USABLE = frozenset({KeyStatus.ACTIVE, KeyStatus.UNVERIFIED})
_OPENAI = OpenAIChat()
_UNKNOWN = OmniError(Code.NOT_FOUND, "There is no such model here; GET /v1/models lists them.")


async def list_models(request: Request) -> Response:
    """Every alias that answers on a compatible route, and every known model the workspace has a key for."""
    try:
        return _json(models_view(await _models(request)))
    except OmniError as error:
        return failed(_OPENAI, error)


async def get_model(request: Request) -> Response:
    """One of them; its id may have slashes."""
    try:
        found = (await _models(request)).get(request.path_params["model_id"])
    except OmniError as error:
        return failed(_OPENAI, error)
    return _json(found) if found else failed(_OPENAI, _UNKNOWN)


routes = [Route("/v1/models", list_models), Route("/v1/models/{model_id:path}", get_model)]


async def _models(request: Request) -> dict[str, dict[str, Any]]:
    edge: Edge = request.app.state.edge
    workspace_id = await workspace_of(request, await principal_of(request), Action.READ_ALIASES)
    aliases, keys, providers = await asyncio.gather(
        edge.bus.request(ListAliasesV1(workspace_id=workspace_id), AliasesV1, repeatable=True),
        edge.bus.request(ListKeysV1(workspace_id=workspace_id), KeysV1, repeatable=True),
        edge.bus.request(ListProvidersV1(), ProvidersV1, repeatable=True),
    )
    keyed = frozenset(key.provider for key in keys.items if key.status in _USABLE)
    return models(aliases.items, providers.items, keyed)


def _json(view: dict[str, Any]) -> Response:
    return Response(json.dumps(view, ensure_ascii=False), media_type="application/json")
