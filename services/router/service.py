"""Aliases: load, decide, save, announce."""

from collections.abc import Sequence
from uuid import uuid4

from services.router.catalogue import Catalogue, alias_view, announce, parse_id
from services.router.domain.catalogue import DEFAULT_ALIASES
from services.router.domain.chains import check_chain, check_on_stream_cut, check_time_limits
from services.router.store import AliasRow, Store
from shared.bus import Bus
from shared.clock import Clock
from shared.errors import not_found
from shared.messages.base import Done
from shared.messages.catalogue import (
    AliasesV1,
    AliasV1,
    CreateAliasV1,
    DeleteAliasV1,
    GetAliasV1,
    ListAliasesV1,
    SeedWorkspaceV1,
    TargetV1,
    TimeLimitsV1,
    UpdateAliasV1,
)
from shared.messages.vocabulary import Capability

_CHANGEABLE = (
    "alias_name", "display_name", "capability", "routing_preference", "allow_aggregators", "on_stream_cut", "funds",
)  # fmt: skip


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
        # "continue" is what everybody gets who has chosen nothing.
        check_on_stream_cut(None if request.on_stream_cut == "continue" else request.on_stream_cut, request.capability)
        check_time_limits(request.time_limits)
        await self._check(request.chain, request.capability, allow_aggregators=request.allow_aggregators)
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
            on_stream_cut=request.on_stream_cut,
            funds=request.funds,
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
        check_on_stream_cut(request.on_stream_cut, capability)
        if request.time_limits is not None:
            check_time_limits(request.time_limits)
        allow = current.allow_aggregators if request.allow_aggregators is None else request.allow_aggregators
        await self._check(_changed_chain(current, request), capability, allow_aggregators=allow)
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
        for name in _CHANGEABLE:
            if (value := getattr(request, name)) is not None:
                setattr(row, name, value)
        if request.time_limits is not None:
            row.time_limits = request.time_limits.model_dump()
        row.updated_at = self._clock.now()

    async def _check(self, chain: Sequence[TargetV1], capability: Capability, *, allow_aggregators: bool) -> None:
        check_chain(chain, capability, await self._catalogue.offers(), allow_aggregators=allow_aggregators)

    async def _changed(self, row: AliasRow) -> AliasV1:
        await self._announce(row.workspace_id)
        return alias_view(row, await self._catalogue.offers())

    async def _announce(self, workspace_id: int) -> None:
        await announce(self._bus, self._catalogue, workspace_id)


def _changed_chain(row: AliasRow, request: UpdateAliasV1) -> tuple[TargetV1, ...]:
    primary, *rest = (TargetV1.model_validate(target) for target in row.chain)
    primary = TargetV1(
        provider=request.primary_provider or primary.provider, model=request.primary_model or primary.model
    )
    return (primary, *(rest if request.fallbacks is None else request.fallbacks))


def _chain_json(chain: Sequence[TargetV1]) -> list[dict[str, object]]:
    return [target.model_dump() for target in chain]
