"""The list of models as OpenAI's and Anthropic's SDKs read it: each takes the fields it knows."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from shared.messages.catalogue import AliasV1, ProviderV1
from shared.messages.vocabulary import Capability

_ASKED_HERE = frozenset({Capability.CHAT, Capability.COMPLETION, Capability.EMBEDDING})


def models(
    aliases: Iterable[AliasV1], providers: Iterable[ProviderV1], keyed: frozenset[str]
) -> dict[str, dict[str, Any]]:
    """What a ``model`` may be here, by id: aliases, and ``provider/model`` of the ``keyed`` providers' known models."""
    found = [
        _model(alias.alias_name, "omnipost", alias.display_name, alias.created_at)
        for alias in aliases
        if alias.capability in _ASKED_HERE and alias.available
    ]
    found += [
        _model(f"{provider.id}/{model.id}", provider.id, f"{provider.name} {model.id}", provider.updated_at)
        for provider in providers
        if provider.id in keyed and provider.status == "available"
        for model in provider.models
        if _ASKED_HERE & set(model.capabilities)
    ]
    return {model["id"]: model for model in found}


def models_view(found: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The whole list; there is no second page."""
    ids = list(found)
    ends = {"first_id": ids[0] if ids else None, "last_id": ids[-1] if ids else None}
    return {"object": "list", "data": list(found.values()), "has_more": False, **ends}


def _model(model_id: str, owner: str, name: str, since: datetime) -> dict[str, Any]:
    return {
        "id": model_id,
        "object": "model",
        "created": int(since.timestamp()),
        "owned_by": owner,
        "type": "model",
        "display_name": name,
        "created_at": since.isoformat(),
    }
