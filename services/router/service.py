"""Aliases and the provider catalogue: load, decide, save, announce."""

from collections.abc import Sequence
from contextlib import suppress
from uuid import uuid4

from services.router.catalogue import Catalogue, alias_view, models_json, parse_id, provider_view
from services.router.domain.catalogue import DEFAULT_ALIASES
from services.router.domain.destinations import check_base_url
from services.router.providers import PROVIDERS
from services.router.store import AliasRow, ProviderRow, Store
from shared.bus import Bus
from shared.clock import Clock
from shared.errors import OmniError, invalid, not_found
from shared.messages.base import Done
from shared.messages.catalogue import (
    AliasesV1,
    AliasV1,
    CatalogueChangedV1,
    CreateAliasV1,
    CreateProviderV1,
    DeleteAliasV1,
    GetAliasV1,
    ListAliasesV1,
    ListProvidersV1,
    ModelV1,
    ProvidersV1,
    ProviderV1,
    SeedWorkspaceV1,
    TargetV1,
    TimeLimitsV1,
    UpdateAliasV1,
    UpdateProviderV1,
)
from shared.messages.vocabulary import Capability

MAX_CHAIN = 16


class Aliases:
    """Use cases on a workspace's aliases."""

    def __init__(self, bus: Bus, store: Store, catalogue: Catalogue, clock: Clock) -> None:
        self._bus, self._store, self._catalogue, self._clock = bus, store, catalogue, clock

    async def list(self, request: ListAliasesV1) -> AliasesV1:
        """Every alias of a workspace, by name."""
        return AliasesV1(items=tuple((await self._catalogue.aliases(request.workspace_id)).values()))

    async def get(self, request: GetAliasV1) -> AliasV1:
        """Raises OmniError ``not_found``."""
        row = await self._store.alias(parse_id(request.alias_id, "alias"), request.workspace_id)
        if row is None:
            raise not_found("alias")
        return alias_view(row, await self._catalogue.offers())

    async def create(self, request: CreateAliasV1) -> AliasV1:
        """Raises OmniError ``conflict``, ``invalid_request``."""
        await self._check_chain(request.chain, request.capability)
        now = self._clock.now()
        row = AliasRow(
            id=parse_id(request.alias_id, "alias"),
            workspace_id=request.workspace_id,
            alias_name=request.alias_name,
            display_name=request.display_name,
            capability=request.capability,
            chain=_chain_json(request.chain),
            routing_preference=request.routing_preference,
            allow_aggregators=request.allow_aggregators,
            time_limits=request.time_limits.model_dump(),
            created_at=now,
            updated_at=now,
        )
        await self._store.add_alias(row)
        return await self._changed(row)

    async def update(self, request: UpdateAliasV1) -> AliasV1:
        """Raises OmniError ``not_found``, ``conflict``, ``invalid_request``."""
        alias_id = parse_id(request.alias_id, "alias")
        current = await self._store.alias(alias_id, request.workspace_id)
        if current is None:
            raise not_found("alias")
        capability = request.capability or Capability(current.capability)
        await self._check_chain(_changed_chain(current, request), capability)
        row = await self._store.change_alias(alias_id, request.workspace_id, lambda row: self._apply(row, request))
        if row is None:
            raise not_found("alias")
        return await self._changed(row)

    async def delete(self, request: DeleteAliasV1) -> Done:
        """Raises OmniError ``not_found``."""

        def deactivate(row: AliasRow) -> None:
            row.deactivated_at = self._clock.now()

        row = await self._store.change_alias(parse_id(request.alias_id, "alias"), request.workspace_id, deactivate)
        if row is None:
            raise not_found("alias")
        await self._announce(row.workspace_id)
        return Done()

    async def seed(self, request: SeedWorkspaceV1) -> Done:
        """Give a workspace the default aliases it never had."""
        now = self._clock.now()
        rows = [
            AliasRow(
                id=uuid4(),
                workspace_id=request.workspace_id,
                alias_name=alias.alias_name,
                display_name=alias.display_name,
                capability=alias.capability,
                chain=_chain_json(alias.chain),
                routing_preference="quality",
                allow_aggregators=False,
                time_limits=TimeLimitsV1().model_dump(),
                is_default=True,
                created_at=now,
                updated_at=now,
            )
            for alias in DEFAULT_ALIASES
        ]
        await self._store.add_missing_aliases(request.workspace_id, rows)
        await self._announce(request.workspace_id)
        return Done()

    def _apply(self, row: AliasRow, request: UpdateAliasV1) -> None:
        row.chain = _chain_json(_changed_chain(row, request))
        for name in ("alias_name", "display_name", "capability", "routing_preference", "allow_aggregators"):
            if (value := getattr(request, name)) is not None:
                setattr(row, name, value)
        if request.time_limits is not None:
            row.time_limits = request.time_limits.model_dump()
        row.updated_at = self._clock.now()

    async def _check_chain(self, chain: Sequence[TargetV1], capability: Capability) -> None:
        known = await self._catalogue.entries()
        for target in chain:
            entry = known.get(target.provider)
            if entry is None:
                raise invalid(f"There is no provider '{target.provider}' in the catalogue.", field="provider")
            model = entry.models.get(target.model)
            if model is not None and capability not in model.capabilities:
                raise invalid(f"{target.provider}'s {target.model} does not do {capability}.", field="model")
        if len(set(chain)) < len(chain):
            raise invalid("The chain names a target twice.", field="fallback_chain")
        if not 0 < len(chain) <= MAX_CHAIN:
            raise invalid(f"A chain has 1 to {MAX_CHAIN} targets.", field="fallback_chain")

    async def _changed(self, row: AliasRow) -> AliasV1:
        await self._announce(row.workspace_id)
        return alias_view(row, await self._catalogue.offers())

    async def _announce(self, workspace_id: int) -> None:
        await announce(self._bus, self._catalogue, workspace_id)


class Providers:
    """Use cases on the catalogue. ``allowed_private_hosts``: see ``domain/destinations.py``."""

    def __init__(
        self, bus: Bus, store: Store, catalogue: Catalogue, clock: Clock, allowed_private_hosts: frozenset[str]
    ) -> None:
        self._bus, self._store, self._catalogue, self._clock = bus, store, catalogue, clock
        self._allowed = allowed_private_hosts

    async def list(self, _: ListProvidersV1) -> ProvidersV1:
        """The whole catalogue, by id."""
        now = self._clock.now()
        entries = await self._catalogue.entries()
        return ProvidersV1(items=tuple(provider_view(entry.row, now) for entry in entries.values()))

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
            models=models_json(_unique(request.models)),
            created_at=now,
            updated_at=now,
        )
        await self._store.add_provider(row)
        return await self._changed(row)

    async def update(self, request: UpdateProviderV1) -> ProviderV1:
        """Raises OmniError ``not_found``, ``invalid_request``."""
        if request.base_url is not None:
            check_base_url(request.base_url, self._allowed)

        def apply(row: ProviderRow) -> None:
            row.name = request.name or row.name
            if request.base_url not in (None, row.base_url):
                row.region = None  # it may be anywhere
            row.base_url = request.base_url or row.base_url
            row.region = request.region or row.region
            if request.models is not None:
                row.models = _merged(row.models, models_json(request.models))
            row.updated_at = self._clock.now()

        row = await self._store.change_provider(request.id, apply)
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


async def announce(bus: Bus, catalogue: Catalogue, workspace_id: int | None) -> None:
    """Forget here and tell the other replicas; one that misses it reads again by itself within seconds."""
    catalogue.forget(workspace_id)
    with suppress(OmniError):
        await bus.announce(CatalogueChangedV1(workspace_id=workspace_id))


def _changed_chain(row: AliasRow, request: UpdateAliasV1) -> tuple[TargetV1, ...]:
    primary, *rest = (TargetV1.model_validate(target) for target in row.chain)
    primary = TargetV1(
        provider=request.primary_provider or primary.provider, model=request.primary_model or primary.model
    )
    return (primary, *(rest if request.fallbacks is None else request.fallbacks))


def _chain_json(chain: Sequence[TargetV1]) -> list[dict[str, object]]:
    return [target.model_dump() for target in chain]


def _unique(models: Sequence[ModelV1]) -> tuple[ModelV1, ...]:
    return tuple({model.id: model for model in models}.values())


def _merged(old: Sequence[dict[str, object]], new: Sequence[dict[str, object]]) -> list[dict[str, object]]:
    return list({str(model["id"]): model for model in (*old, *new)}.values())
