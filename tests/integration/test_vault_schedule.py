"""Keys are verified again on a schedule: each once, whatever number of replicas looks after it."""

import asyncio
import secrets
from collections import Counter
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any

import pytest

from services.vault.schedule import BATCH, Schedule
from services.vault.store import Store
from shared.bus import Bus
from shared.clock import SystemClock
from shared.db import Database
from shared.errors import unavailable
from shared.messages.base import Done, Service
from shared.messages.router import VerdictV1, VerifyKeyV1
from shared.messages.vault import GetKeyV1, KeyV1, RecordVerdictV1, RevokeKeyV1
from shared.messages.vocabulary import KeyStatus
from tests.integration.servers import bus
from tests.integration.vault_world import PASSPHRASE, World, vault_process, vault_world

SECRET = "sk-proj-" + secrets.token_hex(20)
DAY = timedelta(days=1)


class Wound(SystemClock):
    """A clock that is ahead."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def now(self) -> datetime:
        return super().now() + self.ahead


class Provider:
    """A router, and what the provider behind it says of every key it is asked about."""

    def __init__(self, nats_url: str) -> None:
        self.asked: Counter[str] = Counter()
        self.status = KeyStatus.ACTIVE
        self.is_away = False
        self.heard = asyncio.Event()
        self.router = bus(Service.ROUTER, nats_url)
        self.router.answer_call(VerifyKeyV1, self.verify)

    async def verify(self, request: VerifyKeyV1) -> VerdictV1:
        self.asked[request.key_id] += 1
        self.heard.set()
        if self.is_away:
            raise unavailable("away")
        place: dict[str, Any] = {"workspace_id": request.workspace_id, "key_id": request.key_id}
        verdict = RecordVerdictV1(**place, version=1, status=self.status, reason=None)
        await self.router.request(verdict, KeyV1)
        return VerdictV1(status=self.status)


@pytest.fixture(scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with vault_world(tmp_path_factory.mktemp("vault"), VAULT_REVERIFY_HOURS="0") as made:
        yield made


@pytest.fixture
async def provider(world: World) -> AsyncIterator[Provider]:
    made = Provider(world.nats_url)
    await made.router.start()
    world.sql("DELETE FROM ai_provider_keys")
    yield made
    await made.router.stop(1)


class Replica:
    """The schedule of one vault process, turned by hand."""

    def __init__(self, world: World, vault: Bus) -> None:
        self.clock = Wound()
        self._database = Database(world.vault_url)
        self.schedule = Schedule(Store(self._database), vault, self.clock, DAY)

    async def turns(self) -> int:
        """As many as it takes; how many keys were due."""
        due = 0
        while found := await self.schedule.turn():
            due += found
        return due

    async def close(self) -> None:
        await self._database.close()


@pytest.fixture
async def replicas(world: World) -> AsyncIterator[list[Replica]]:
    vault = bus(Service.VAULT, world.nats_url)
    await vault.start()
    made = [Replica(world, vault) for _ in range(3)]
    yield made
    for replica in made:
        await replica.close()
    await vault.stop(1)


async def turn_all(replicas: list[Replica], ahead: timedelta) -> int:
    for replica in replicas:
        replica.clock.ahead = ahead
    return sum(await asyncio.gather(*(replica.turns() for replica in replicas)))


async def test_every_living_key_is_asked_about_once_a_day(
    world: World, provider: Provider, replicas: list[Replica]
) -> None:
    keys = [await world.create(SECRET, workspace_id=81 + number % 3) for number in range(3 * BATCH)]
    await world.api.request(RevokeKeyV1(workspace_id=81, key_id=keys[0].id), Done)
    assert await turn_all(replicas, timedelta()) == 0
    assert await turn_all(replicas, 0.85 * DAY) == 0
    assert await turn_all(replicas, 1.15 * DAY) == 3 * BATCH - 1
    assert provider.asked == Counter(key.id for key in keys[1:])
    assert await turn_all(replicas, 1.15 * DAY) == 0
    assert await turn_all(replicas, 1.15 * DAY + 1.15 * DAY) == 3 * BATCH - 1
    assert set(provider.asked.values()) == {2}
    verified = await world.api.request(GetKeyV1(workspace_id=82, key_id=keys[1].id), KeyV1)
    assert (verified.status, verified.last_verified_at is not None) == (KeyStatus.ACTIVE, True)
    print(f"\nschedule: keys={3 * BATCH - 1} replicas=3 rounds=2 asked={provider.asked.total()} twice_in_a_round=0")


async def test_the_times_are_spread(world: World, provider: Provider, replicas: list[Replica]) -> None:
    for _ in range(BATCH):
        await world.create(SECRET)
    assert await turn_all(replicas[:1], timedelta()) == 0
    spread = "SELECT extract(epoch FROM next_check_at - created_at)::float / 3600 FROM ai_provider_keys"
    hours = [float(str(row[0])) for row in world.sql(spread)]
    assert all(0.9 * 24 <= hour <= 1.1 * 24 for hour in hours)
    assert max(hours) - min(hours) > 1


async def test_a_provider_that_is_away_is_asked_again_in_an_hour(
    world: World, provider: Provider, replicas: list[Replica]
) -> None:
    key = await world.create(SECRET)
    later = 1.15 * DAY
    provider.is_away = True
    assert await turn_all(replicas, later) == 1
    provider.is_away, provider.status = False, KeyStatus.UNVERIFIED
    assert await turn_all(replicas, later + timedelta(minutes=59)) == 0
    assert await turn_all(replicas, later + timedelta(minutes=61)) == 1
    provider.status = KeyStatus.INVALID
    assert await turn_all(replicas, later + timedelta(minutes=122)) == 1
    assert await turn_all(replicas, later + timedelta(minutes=200)) == 0
    refused = await world.api.request(GetKeyV1(workspace_id=1, key_id=key.id), KeyV1)
    assert (refused.status, provider.asked[key.id]) == (KeyStatus.INVALID, 3)


async def test_the_process_keeps_its_schedule(world: World, provider: Provider) -> None:
    key = await world.create(SECRET)
    with vault_process(world, PASSPHRASE, VAULT_REVERIFY_HOURS="0.00001"):
        await asyncio.wait_for(provider.heard.wait(), 30)
    assert provider.asked[key.id] >= 1
