"""The catalogue on real servers: every change by an admin has a number, a name and what was before, for good."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from psycopg.errors import InsufficientPrivilege

from services.router.catalogue import Catalogue
from services.router.catalogue_history import History, differences
from services.router.catalogue_service import Providers
from services.router.prices import PRICE_VERSION, price_of
from services.router.store import Store
from shared.bus import Bus
from shared.clock import SystemClock
from shared.db import EVERY_WORKSPACE, Database
from shared.errors import OmniError
from shared.messages.base import Service
from shared.messages.catalogue import (
    CreateProviderV1,
    ListProvidersV1,
    ModelV1,
    ProvidersV1,
    ProviderV1,
    UpdateProviderV1,
)
from shared.messages.catalogue_audit import CatalogueChangesV1, ListCatalogueChangesV1
from shared.messages.custody import ActorV1
from shared.messages.vocabulary import Capability
from shared.schemas import service_url
from tests.integration.isolation_world import connect
from tests.integration.servers import PASSWORD, bus, close_queues, migrated_postgres, nats_server

CLOCK = SystemClock()
ADMIN = ActorV1(kind="token", id="t-1", role="platform_admin", address="192.0.2.7")


@dataclass
class World:
    """An edge's bus before the router's half of the catalogue."""

    api: Bus
    catalogue: Catalogue
    url: str

    async def create(self, *models: ModelV1) -> ProviderV1:
        request = CreateProviderV1(
            id=f"p-{uuid4().hex[:12]}", base_url="https://llm.example.com/v1", models=models, actor=ADMIN
        )
        return await self.api.request(request, ProviderV1)

    async def update(self, request: UpdateProviderV1) -> ProviderV1:
        return await self.api.request(request, ProviderV1)

    async def changes(self, before: int | None = None, limit: int = 50) -> CatalogueChangesV1:
        return await self.api.request(ListCatalogueChangesV1(before=before, limit=limit), CatalogueChangesV1)

    async def version(self) -> int:
        return (await self.api.request(ListProvidersV1(), ProvidersV1)).version


@pytest.fixture(scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    folder: Path = tmp_path_factory.mktemp("catalogue")
    with nats_server(folder) as nats_url, migrated_postgres(folder) as postgres:
        api, router = bus(Service.API, nats_url), bus(Service.ROUTER, nats_url)
        database = Database(service_url(postgres.url, "router", PASSWORD))
        store = Store(database)
        catalogue = Catalogue(store, CLOCK)
        providers = Providers(router, store, History(database), catalogue, CLOCK, frozenset())
        router.answer(ListProvidersV1, providers.list)
        router.answer(CreateProviderV1, providers.create)
        router.answer(UpdateProviderV1, providers.update)
        router.answer(ListCatalogueChangesV1, providers.changes)
        await providers.seed()
        await router.start()
        await api.start()
        yield World(api, catalogue, postgres.url)
        await api.stop(1)
        await router.stop(1)
        await close_queues(router)
        await database.close()


async def test_a_change_has_a_number_an_actor_and_what_was_before(world: World) -> None:
    version = await world.version()
    made = await world.create(ModelV1(id="m", input_usd_per_mtok="1", output_usd_per_mtok="2"), ModelV1(id="n"))
    assert made.models[0].price_version == f"catalogue v{version + 1}"
    dearer = ModelV1(id="m", input_usd_per_mtok="1.5", output_usd_per_mtok="2", cache_read_usd_per_mtok="0.1")
    await world.update(UpdateProviderV1(id=made.id, name="Acme", models=(dearer,), actor=ADMIN))
    assert await world.version() == version + 2
    second, first = (await world.changes(limit=2)).items
    assert (first.version, second.version) == (version + 1, version + 2)
    assert first.before is None
    assert first.after["base_url"] == "https://llm.example.com/v1"
    assert set(first.after["models"]) == {"m", "n"}
    assert second.actor == ADMIN
    assert second.provider == made.id
    assert second.before is not None
    assert set(second.before) == set(second.after) == {"name", "models"}
    assert set(second.after["models"]) == {"m"}, "n stayed as it was"
    assert second.before["models"]["m"]["input_usd_per_mtok"] == "1"
    assert second.after["models"]["m"]["cache_read_usd_per_mtok"] == "0.1"
    assert second.after["models"]["m"]["price_version"] == f"catalogue v{version + 2}"


async def test_what_changes_nothing_takes_no_number(world: World) -> None:
    made = await world.create(ModelV1(id="m", input_usd_per_mtok="1"))
    version = await world.version()
    await world.update(UpdateProviderV1(id=made.id, models=(ModelV1(id="m", input_usd_per_mtok="1"),), actor=ADMIN))
    with pytest.raises(OmniError):
        await world.update(UpdateProviderV1(id="nobody", name="x", actor=ADMIN))
    with pytest.raises(OmniError):
        await world.api.request(CreateProviderV1(id=made.id, base_url="https://x.example.com", models=()), ProviderV1)
    assert await world.version() == version


async def test_changes_at_once_take_one_number_each(world: World) -> None:
    version = await world.version()
    await asyncio.gather(*(world.create(ModelV1(id=f"m{number}")) for number in range(20)))
    assert await world.version() == version + 20
    page = await world.changes(limit=15)
    rest = await world.changes(before=page.next_before, limit=500)
    seen = [item.version for item in (*page.items, *rest.items)]
    assert seen == list(range(version + 20, 0, -1)), "no gap, newest first"
    assert rest.next_before is None
    print(f"\ncatalogue: 20 changes at once, {len(seen)} versions without a gap")


async def test_a_row_wins_over_the_tables_and_the_rest_stays_built_in(world: World) -> None:
    asked = ModelV1(id="text-embedding-3-small", capabilities=(), input_usd_per_mtok="9")
    shown = await world.update(UpdateProviderV1(id="openai", models=(asked,), actor=ADMIN))
    model = next(item for item in shown.models if item.id == asked.id)
    assert model.capabilities == (Capability.EMBEDDING,)
    assert model.context_window == 8_191
    assert (model.input_usd_per_mtok, model.price_version) == ("9", f"catalogue v{await world.version()}")
    entry = (await world.catalogue.entries())["openai"]
    price = price_of("openai", entry.model(asked.id), CLOCK.now())
    assert price is not None
    assert price.version == model.price_version
    other = next(item for item in shown.models if item.id == "gpt-4o-mini")
    assert (other.input_usd_per_mtok, other.cache_read_usd_per_mtok) == ("0.15", "0.075")
    assert other.price_version == PRICE_VERSION
    assert other.features


async def test_the_history_cannot_be_rewritten(world: World) -> None:
    await world.create(ModelV1(id="m"))
    statements = ("UPDATE {} SET provider = 'x'", "DELETE FROM {}", "TRUNCATE {}")
    with connect(world.url, "router", EVERY_WORKSPACE) as service, psycopg.connect(world.url, autocommit=True) as owner:
        for statement in statements:
            for connection, table in ((service, "ai_catalogue_changes"), (owner, "router.ai_catalogue_changes")):
                with pytest.raises(InsufficientPrivilege, match=r"permission denied|append-only"):
                    connection.execute(statement.format(table).encode())


def test_only_what_differs_is_kept() -> None:
    before = {"name": "a", "models": {"m": {"x": 1}, "n": {}}}
    assert differences(before, {"name": "a", "models": {"m": {"x": 2}, "n": {}}}) == (
        {"models": {"m": {"x": 1}}},
        {"models": {"m": {"x": 2}}},
    )
    assert differences(None, before) == (None, before)
    assert differences(before, before) == ({}, {})
