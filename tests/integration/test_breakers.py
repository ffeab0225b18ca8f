"""Breakers shared by router replicas over a real NATS server that allows exactly what the router's user may do."""

import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from statistics import median
from time import perf_counter

import nats
import nkeys
import pytest

from deploy.local.nats import render
from services.router.breakers import Breakers
from services.router.domain.plan import Candidate
from shared.bus import Bus
from shared.clock import SystemClock
from shared.hints import Hints
from shared.messages.base import Service
from shared.messages.catalogue import TargetV1
from shared.messages.router import BreakerChangedV1
from shared.messages.vocabulary import Outcome
from shared.permissions import permissions_of
from shared.settings import ServiceSettings
from shared.telemetry import Telemetry
from tests.integration.servers import Nats, close_queues, free_port, make_streams

KEY = "0190a5c8-5f5e-7c3e-9f7b-0a4b5c6d7e8f"


class Replica:
    """One router's breakers on its own connection."""

    def __init__(self, url: str, seed: Path | None) -> None:
        settings = ServiceSettings(nats_url=url, nats_nkey_seed_file=seed)
        self.bus = Bus(Service.ROUTER, settings, Telemetry(Service.ROUTER, None), lambda: None)
        self.breakers = Breakers(SystemClock())
        self.hints = Hints(self.bus, SystemClock(), BreakerChangedV1, self._hear, self.breakers.open_now)
        self.breakers.share(self.hints.tell)
        self._news = asyncio.Event()

    def _hear(self, change: BreakerChangedV1, age_s: float) -> None:
        self.breakers.hear(change, age_s)
        self._news.set()

    def rests(self, model: str) -> bool:
        return self.breakers.resting("openai", model, 1, KEY) is not None

    def attempt(self, model: str, outcome: Outcome, status: int | None = None) -> None:
        target = TargetV1(provider="openai", model=model)
        self.breakers.ended(self.breakers.begin(1, Candidate(target, KEY, 1, "api.openai.com")), outcome, status=status)

    def fails(self, model: str) -> None:
        for _ in range(5):
            self.attempt(model, Outcome.PROVIDER_ERROR, 503)

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(15):
            while not holds():
                self._news.clear()
                await self._news.wait()


def new_seed(file: Path) -> str:
    """Write a new user's seed; its public half."""
    seed = nkeys.encode_seed(secrets.token_bytes(32), nkeys.PREFIX_BYTE_USER)
    file.write_bytes(seed)
    public: bytes = nkeys.from_seed(seed).public_key
    return public.decode()


class World:
    def __init__(self, folder: Path, stack: AsyncExitStack) -> None:
        self.folder, self._stack = folder, stack
        self.seed = folder / "seed"
        self._operator = folder / "operator"
        port, config = free_port(), folder / "nats.conf"
        users, operator = {new_seed(self.seed): permissions_of(Service.ROUTER)}, new_seed(self._operator)
        config.write_text(render(users, operator=operator, port=port, store=folder / "store"))
        self.nats = Nats(folder, "-c", str(config), port=port)
        self.nats.start()
        stack.callback(self.nats.kill)

    async def make_streams(self) -> None:
        await make_streams(self.nats.url, self._operator)

    async def replica(self, url: str | None = None) -> Replica:
        replica = Replica(url or self.nats.url, None if url else self.seed)
        await replica.bus.start()
        replica.hints.start()
        if url is None:
            assert replica.hints._catching_up is not None
            await replica.hints._catching_up
        self._stack.push_async_callback(close_queues, replica.bus)
        self._stack.push_async_callback(replica.bus.stop)
        self._stack.push_async_callback(replica.hints.stop)
        return replica

    async def kept(self, count: int) -> dict[str, BreakerChangedV1]:
        """What the bucket holds, read by KV's own protocol, once it holds ``count``."""
        found: dict[str, BreakerChangedV1] = {}
        reader = await self.replica()
        async with asyncio.timeout(5):
            while len(found) < count:
                messages = await reader.hints._read()
                changes = [BreakerChangedV1.model_validate_json(message.data) for message in messages]
                found = {change.scope: change for change in changes}
        return found


@asynccontextmanager
async def _world(folder: Path) -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:
        world = World(folder, stack)
        await world.make_streams()
        yield world


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with _world(tmp_path) as world:
        yield world


async def test_replicas_learn_of_an_open_breaker_and_of_its_closing(world: World) -> None:
    one, two = await world.replica(), await world.replica()
    taken = []
    for number in range(50):
        model = f"vendor/model-{number}:free @1"
        began = perf_counter()
        one.fails(model)
        await two.until(lambda model=model: two.rests(model))  # type: ignore[misc]
        taken.append(1000 * (perf_counter() - began))
        # Tried although it rests, because nothing else was left; and it works.
        two.attempt(model, Outcome.SUCCESS)
        await one.until(lambda model=model: not one.rests(model))  # type: ignore[misc]
    print(f"openings=50 heard by the other replica: p50={median(taken):.2f} ms max={max(taken):.2f} ms", end=" ")
    print("closings heard=50")


async def test_a_replica_that_starts_later_reads_what_rests_and_not_what_is_over(world: World) -> None:
    one = await world.replica()
    one.fails("n")
    one.fails("gone")
    one.attempt("gone", Outcome.SUCCESS)
    one.attempt("m", Outcome.QUOTA_EXHAUSTED, 429)
    kept = await world.kept(3)
    assert {change.rest_s > 0 for change in kept.values() if change.model in ("n", None)} == {True}
    assert [change.rest_s for change in kept.values() if change.model == "gone"] == [0]
    later = await world.replica()
    await later.until(lambda: later.rests("m") and later.rests("n"))
    # The whole key rests, for every model; what the reader learns ends no later than with who has learnt it.
    for model in ("m", "n", "gone"):
        mine, theirs = (each.breakers.resting("openai", model, 1, KEY) for each in (later, one))
        assert mine is not None
        assert theirs is not None
        assert mine.reason is theirs.reason is Outcome.QUOTA_EXHAUSTED
        assert 50 < mine.until - SystemClock().monotonic() <= 60
        assert abs(mine.until - theirs.until) < 1
    assert later.breakers.resting("openai", "gone", 2, "other-key") is None
    assert later.breakers.resting("openai", "n", 2, "other-key") is not None


async def test_without_nats_each_goes_by_its_own_and_afterwards_they_agree_again(world: World) -> None:
    one, two = await world.replica(), await world.replica()
    one.attempt("before", Outcome.QUOTA_EXHAUSTED, 402)
    await two.until(lambda: two.rests("before"))
    world.nats.kill()
    began = perf_counter()
    two.fails("meanwhile")
    assert two.rests("meanwhile")
    assert not one.breakers.resting("openai", "meanwhile", 2, "other-key")
    assert perf_counter() - began < 0.5, "nothing waits for the bus"
    two.attempt("meanwhile", Outcome.INVALID_KEY, 403)
    world.nats.start()
    began = perf_counter()
    # Invalid for this model only: the key's rest for half a minute is told again although the bucket was lost.
    await one.until(lambda: any(change.model == "meanwhile" for change in one.breakers.open_now()))
    print(f"{1000 * (perf_counter() - began):.0f} ms after the server's return the other replica knows", end=" ")
    later = await world.replica()
    await later.until(lambda: later.rests("before"))
    print("and a new one has read it from the bucket that was lost")


async def test_without_jetstream_the_living_still_tell_each_other(world: World, tmp_path: Path) -> None:
    port = free_port()
    plain = Nats(tmp_path, "-a", "127.0.0.1", "-p", str(port), port=port)
    plain.start()
    try:
        one, two = await world.replica(plain.url), await world.replica(plain.url)
        one.fails("m")
        await two.until(lambda: two.rests("m"))
        for each in (one, two):
            assert each.bus.connected_for_s > 0
            await each.hints.stop()
            await each.bus.stop()
    finally:
        plain.kill()


async def test_a_malformed_hint_is_passed_over(world: World) -> None:
    one = await world.replica()
    client = await nats.connect(world.nats.url, nkeys_seed_str=world.seed.read_text(), inbox_prefix="_INBOX_router")
    try:
        bad = [b"", b"{}", b"\xff", json.dumps({**BreakerChangedV1.example, "rest_s": -1}).encode()]
        for number, body in enumerate(bad):
            await client.publish(f"$KV.ai_router_breakers.{number:032x}.v1", body)
        await client.flush()
    finally:
        await client.close()
    one.fails("m")
    kept = await world.replica()
    await kept.until(lambda: kept.rests("m"))
    assert len(await kept.hints._read()) == len(bad) + 1
    print(f"malformed hints passed over={len(bad)}")
