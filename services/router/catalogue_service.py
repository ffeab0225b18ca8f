"""The provider catalogue: load, decide, save, announce."""

from collections.abc import Sequence

from services.router.catalogue import Catalogue, announce, models_json, provider_view
from services.router.catalogue_history import History
from services.router.domain.catalogue import settled
from services.router.providers import PROVIDERS
from services.router.store import ProviderRow, Store
from shared.bus import Bus
from shared.clock import Clock
from shared.destinations import check_base_url
from shared.errors import not_found
from shared.messages.catalogue import (
    CreateProviderV1,
    ListProvidersV1,
    ModelV1,
    ProvidersV1,
    ProviderV1,
    UpdateProviderV1,
)
from shared.messages.catalogue_audit import CatalogueChangesV1, ListCatalogueChangesV1


class Providers:
    """Use cases on the catalogue. ``allowed_private_hosts``: see ``domain/destinations.py``."""

    def __init__(
        self,
        bus: Bus,
        store: Store,
        history: History,
        catalogue: Catalogue,
        clock: Clock,
        allowed_private_hosts: frozenset[str],
    ) -> None:
        self._bus, self._store, self._history = bus, store, history
        self._catalogue, self._clock, self._allowed = catalogue, clock, allowed_private_hosts

    async def list(self, _: ListProvidersV1) -> ProvidersV1:
        """The whole catalogue, by id."""
        now = self._clock.now()
        entries = await self._catalogue.entries()
        items = tuple(provider_view(entry.row, now) for entry in entries.values())
        return ProvidersV1(items=items, version=await self._history.version())

    async def changes(self, request: ListCatalogueChangesV1) -> CatalogueChangesV1:
        """What admins have changed, newest first."""
        return await self._history.page(request.before, request.limit)

    async def create(self, request: CreateProviderV1) -> ProviderV1:
        """Raises OmniError ``conflict``, ``invalid_request``."""
        check_base_url(request.base_url, self._allowed)
        now = self._clock.now()
        row = ProviderRow(
            id=request.id,
            name=request.name or request.id,
            kind=request.kind,
            base_url=request.base_url,
            region=request.region,
            simulated=request.simulated,
            models=[],
            created_at=now,
            updated_at=now,
        )

        def fill(row: ProviderRow, version: int) -> None:
            row.models = _merged(row, request.models, version)

        await self._history.add(row, fill, request.actor)
        return await self._changed(row)

    async def update(self, request: UpdateProviderV1) -> ProviderV1:
        """Raises OmniError ``not_found``, ``invalid_request``."""
        if request.base_url is not None:
            check_base_url(request.base_url, self._allowed)

        def apply(row: ProviderRow, version: int) -> None:
            row.name = request.name or row.name
            if request.base_url not in (None, row.base_url):
                row.region = None  # it may be anywhere
            row.base_url = request.base_url or row.base_url
            row.region = request.region or row.region
            if request.models is not None:
                row.models = _merged(row, request.models, version)
            row.updated_at = self._clock.now()

        row = await self._history.change(request.id, apply, request.actor)
        if row is None:
            raise not_found("provider")
        return await self._changed(row)

    async def seed(self) -> None:
        """Put the built-in providers into the catalogue. Their rows hold only what an admin has changed of models."""
        now = self._clock.now()
        await self._store.add_missing_providers(
            [
                ProviderRow(
                    id=provider.id,
                    name=provider.name,
                    kind="builtin",
                    base_url=provider.base_url,
                    region=provider.region,
                    models=[],
                    created_at=now,
                    updated_at=now,
                )
                for provider in PROVIDERS.values()
            ]
        )

    async def _changed(self, row: ProviderRow) -> ProviderV1:
        await announce(self._bus, self._catalogue, None)
        return provider_view(row, self._clock.now())


def _merged(row: ProviderRow, models: Sequence[ModelV1], version: int) -> list[dict[str, object]]:
    """The row's models with ``models`` added or put in place of those of the same id."""
    written = {str(model["id"]): ModelV1.model_validate(model) for model in row.models}
    for model in models:
        written[model.id] = settled(row.id, model, written.get(model.id), version)
    return models_json(tuple(written.values()))
