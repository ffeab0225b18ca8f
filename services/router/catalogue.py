"""Providers and aliases as this process knows them: read from the database, dropped when somebody changes them."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from services.router.domain.catalogue import completed, unlisted
from services.router.domain.chains import STREAMED
from services.router.domain.destinations import host_of
from services.router.domain.offer import Offer, Way
from services.router.prices import price_of
from services.router.providers import PROVIDERS, adapter_of
from services.router.providers.base import Adapter
from services.router.store import AliasRow, ProviderRow, Store
from shared.bus import Bus
from shared.clock import Clock
from shared.errors import OmniError, not_found
from shared.messages.catalogue import AliasV1, CatalogueChangedV1, ModelV1, ProviderV1, TargetV1, TimeLimitsV1
from shared.messages.vocabulary import Capability
from shared.remembered import Remembered

REMEMBER_S = 10.0


@dataclass(frozen=True)
class Entry:
    """A provider that may be called: its row, its adapter, its models by id, and what planning needs of it."""

    row: ProviderRow
    adapter: Adapter | None
    models: Mapping[str, ModelV1]
    offer: Offer

    def model(self, model_id: str) -> ModelV1:
        """The model as the catalogue has it, or a bare one: providers bring out models faster than catalogues learn."""
        return self.models.get(model_id) or unlisted(self.row.id, model_id)


class Catalogue:
    """Remembered reads of the store. Raises OmniError ``unavailable`` when the database is away."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._entries: Remembered[None, Mapping[str, Entry]] = Remembered(self._read_entries, clock, keep_s=REMEMBER_S)
        self._aliases: Remembered[int, Mapping[str, AliasV1]] = Remembered(self._read_aliases, clock, keep_s=REMEMBER_S)

    async def entries(self) -> Mapping[str, Entry]:
        """Every provider, by id."""
        return await self._entries.get(None)

    async def offers(self) -> Mapping[str, Offer]:
        """What every provider can do today."""
        return {provider_id: entry.offer for provider_id, entry in (await self.entries()).items()}

    async def aliases(self, workspace_id: int) -> Mapping[str, AliasV1]:
        """The active aliases of a workspace, by name."""
        return await self._aliases.get(workspace_id)

    async def alias(self, workspace_id: int, alias_name: str) -> AliasV1:
        """Raises OmniError ``not_found``."""
        found = (await self.aliases(workspace_id)).get(alias_name)
        if found is None:
            raise not_found("alias", alias_name=alias_name)
        return found

    async def alias_by_id(self, workspace_id: int, alias_id: str) -> AliasV1:
        """Raises OmniError ``not_found``."""
        found = next((item for item in (await self.aliases(workspace_id)).values() if item.id == alias_id), None)
        if found is None:
            raise not_found("alias")
        return found

    async def changed(self, event: CatalogueChangedV1) -> None:
        """Read again what somebody has changed."""
        self.forget(event.workspace_id)

    def forget(self, workspace_id: int | None) -> None:
        """Drop a workspace's aliases, or (None) the providers and with them every alias's view of them."""
        if workspace_id is None:
            self._entries.forget_all()
            self._aliases.forget_all()
        else:
            self._aliases.forget(workspace_id)

    async def _read_entries(self, _: None) -> Mapping[str, Entry]:
        return {row.id: _entry(row) for row in await self._store.providers()}

    async def _read_aliases(self, workspace_id: int) -> Mapping[str, AliasV1]:
        offers = await self.offers()
        return {row.alias_name: alias_view(row, offers) for row in await self._store.aliases(workspace_id)}


async def announce(bus: Bus, catalogue: Catalogue, workspace_id: int | None) -> None:
    """Forget here and tell the other replicas; one that misses it reads again by itself within seconds."""
    catalogue.forget(workspace_id)
    with suppress(OmniError):
        await bus.announce(CatalogueChangedV1(workspace_id=workspace_id))


def provider_view(row: ProviderRow, moment: datetime) -> ProviderV1:
    """A provider's row as others see it, with the prices that hold at ``moment``."""
    entry = _entry(row)
    return ProviderV1(
        id=row.id,
        name=row.name,
        kind=row.kind,
        status="available" if entry.adapter else "planned",
        base_url=row.base_url,
        region=row.region,
        host=entry.offer.host,
        capabilities=tuple(item for item in Capability if item in (entry.offer.capabilities or entry.offer.planned)),
        aggregator=entry.offer.aggregator,
        simulated=row.simulated,
        models=tuple(_priced(row.id, model, moment) for model in entry.models.values()),
        updated_at=row.updated_at,
    )


def _priced(provider_id: str, model: ModelV1, moment: datetime) -> ModelV1:
    price = price_of(provider_id, model, moment)
    if price is None:
        return model
    rates = {"input": price.input, "output": price.output}
    rates |= {"cache_read": price.cache_read, "cache_write": price.cache_write}
    shown = {f"{name}_usd_per_mtok": rate and rate.usd_per_mtok for name, rate in rates.items()}
    return model.model_copy(update={**shown, "price_version": price.version})


def alias_view(row: AliasRow, offers: Mapping[str, Offer]) -> AliasV1:
    """An alias's row as others see it, with the targets that cannot be called yet."""
    capability = Capability(row.capability)
    chain = tuple(TargetV1.model_validate(target) for target in row.chain)
    missing = tuple(target for target in chain if not _can(offers.get(target.provider), capability, target.model))
    return AliasV1(
        id=str(row.id),
        workspace_id=row.workspace_id,
        alias_name=row.alias_name,
        display_name=row.display_name,
        modality=capability.modality,
        capability=capability,
        chain=chain,
        routing_preference=row.routing_preference,
        allow_aggregators=row.allow_aggregators,
        on_stream_cut=row.on_stream_cut if capability in STREAMED else "error",
        time_limits=TimeLimitsV1.model_validate(row.time_limits),
        funds=row.funds,
        is_default=row.is_default,
        available=len(missing) < len(chain),
        unavailable_targets=missing,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


def models_json(models: Sequence[ModelV1]) -> list[dict[str, object]]:
    """Models as they are stored."""
    return [model.model_dump(mode="json", exclude_none=True) for model in models]


def parse_id(text: str, what: str) -> UUID:
    """Raises OmniError ``not_found``: what is not even an id names nothing."""
    try:
        return UUID(text)
    except ValueError:
        raise not_found(what) from None


def _can(offer: Offer | None, capability: Capability, model: str) -> bool:
    return offer is not None and offer.way_of(capability, model) is not None


def _entry(row: ProviderRow) -> Entry:
    adapter, known = adapter_of(row.id), PROVIDERS.get(row.id)
    models = completed(row.id, [ModelV1.model_validate(model) for model in row.models])
    offer = Offer(
        provider=row.id,
        host=host_of(row.base_url),
        ways=_ways(adapter) if adapter else {},
        aggregator=known is not None and known.aggregator,
        region=row.region,
        planned=frozenset(known.planned_capabilities if known else ()),
        models=models,
    )
    return Entry(row, adapter, models, offer)


def _ways(adapter: Adapter) -> Mapping[Capability, Way]:
    ways = {Capability.CHAT: Way(adapter.chat.options, adapter.chat.passes)}
    if adapter.completion is not None:
        ways[Capability.COMPLETION] = Way(adapter.completion.options, adapter.completion.passes)
    if adapter.embedding is not None:
        ways[Capability.EMBEDDING] = Way(frozenset({"dimensions"} if adapter.embedding.dimensions else ()))
    return ways
