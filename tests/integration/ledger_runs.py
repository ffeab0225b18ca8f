"""The ledger's promises at any size: small in ``make test``, whole in ``make faults FULL=1``. Numbers are printed."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

from services.metering.app import Metering
from shared.bus import Bus
from shared.errors import OmniError
from shared.messages.base import Service
from shared.messages.metering import ReservationV1
from shared.messages.vocabulary import Billing, Funds
from shared.records import Delivery
from tests.integration.books import drift, over
from tests.integration.metering_world import World, finished, metering, metering_processes, reservation
from tests.integration.servers import bus

WORKSPACES = range(200, 205)
CLIENTS, BUDGETS = 64, 20
HELD = "SELECT count(*) AS n FROM reservations WHERE state = 'held'"
Key = tuple[int, str]


@asynccontextmanager
async def routers(world: World, number: int) -> AsyncIterator[list[Bus]]:
    """Connections of so many routers."""
    more = [bus(Service.ROUTER, world.nats_url) for _ in range(number - 1)]
    await asyncio.gather(*(one.start() for one in more))
    yield [world.router, *more]
    await asyncio.gather(*(one.stop() for one in more))


async def no_overshoot(world: World, per_client: int) -> None:
    """64 clients over 3 routers and 2 processes of metering, 20 budgets with a random cap in each unit and window."""
    chance = random.Random(20261123)  # noqa: S311 - a test's inputs
    calls = CLIENTS * per_client
    async with metering_processes(world, 2), routers(world, 3) as buses:
        keys = [(WORKSPACES[n % 5], await world.key(WORKSPACES[n % 5], **_caps(chance, calls))) for n in range(15)]
        for workspace in WORKSPACES:
            caps = {name: 2 * cap for name, cap in _caps(chance, calls).items()}
            await world.set_workspace_caps(workspace, Funds.OWN, **caps)
        clients = [
            _client(world, buses[n % 3], keys, random.Random(n), per_client)  # noqa: S311
            for n in range(CLIENTS)
        ]
        granted = sum(await asyncio.gather(*clients))
        await world.until(lambda: world.sql(HELD + " AND attempt_index = 1")[0]["n"] == 0, 120)
    passed, unbalanced = over(world), drift(world)
    print(f"{CLIENTS} clients x {per_client} over 3 routers, 2 metering processes: {granted} of {calls} granted")
    print(f"{BUDGETS} budgets, 3 units, 2 windows: {len(passed)} caps passed, {len(unbalanced)} balances wrong")
    assert 0 < granted < calls
    assert not passed
    assert not unbalanced
    assert not world.sql("SELECT 1 FROM dead_letters")


def _caps(chance: random.Random, calls: int) -> dict[str, int]:
    def caps(prefix: str, share: float) -> dict[str, int]:
        sizes = {"usd_micros": 700, "tokens": 1100, "requests": 1}
        return {prefix + unit: int(chance.uniform(0.2, 1) * share * calls * size) for unit, size in sizes.items()}

    return caps("", 1 / 20) | caps("day_", 1 / 15)


async def _client(world: World, router: Bus, keys: Sequence[Key], chance: random.Random, number: int) -> int:
    granted = 0
    for _ in range(number):
        workspace, key = chance.choice(keys)
        usd, tokens = chance.randrange(1400), chance.randrange(2200)
        # attempt_index marks those that this client will finish; wait_s: some wait for room.
        finishes, wait_s = chance.random() < 0.7, 0.2 if chance.random() < 0.05 else 0.0
        ask = reservation(workspace, key, usd_micros=usd, tokens=tokens, attempt_index=int(finishes), wait_s=wait_s)
        answer = await router.request(ask, ReservationV1, timeout=30)
        granted += answer.granted
        if answer.granted and finishes:
            sent = chance.random() < 0.8
            await world.finish(
                answer.attempt_id, workspace, key, sent=sent, billing=Billing.COST if sent else Billing.NOTHING,
                cost_usd_micros=chance.randrange(usd + 1), tokens={"input_tokens": 0, "output_tokens": tokens // 2},
            )  # fmt: skip
    return granted


async def one_winner(world: World, app: Metering, workspace: int, number: int) -> None:
    """Each reservation is settled, voided and expired at once, by two replicas."""
    key = await world.key(workspace)
    asks = (reservation(workspace, key, ttl_s=0.001 if n % 3 else 360) for n in range(number))
    attempts = [answer.attempt_id for answer in await _answers(world, list(asks))]
    mixed = [_delivery(attempt, workspace, key, sent=sent) for attempt in attempts for sent in (True, False)]
    random.Random(7).shuffle(mixed)  # noqa: S311 - a test's order
    async with metering(world) as other:

        async def settle(replica: Metering, half: Sequence[Delivery]) -> None:
            for start in range(0, len(half), 25):
                await replica.settler.settle(half[start : start + 25])

        await asyncio.gather(
            settle(app, mixed[::2]), settle(other, mixed[1::2]), app.sweeper.sweep(), other.sweeper.sweep()
        )
    rows = world.sql("SELECT state FROM reservations WHERE workspace_id = %s", workspace)
    states, logged = Counter(row["state"] for row in rows), len(world.rows(workspace))
    print(f"{number} reservations raced by settle, void and expire: {dict(states)}, {logged} rows, "
          f"{len(drift(world))} unbalanced")  # fmt: skip
    assert sum(states.values()) == number
    assert states["held"] == 0
    assert logged == states["settled"] + states["expired"]
    assert not drift(world)


def _delivery(attempt: str, workspace: int, key: str, *, sent: bool) -> Delivery:
    billing = Billing.COST if sent else Billing.NOTHING
    event = finished(attempt, workspace, key, sent=sent, billing=billing)
    return Delivery(event.model_dump_json().encode(), None, 1)


async def _answers(world: World, asks: Sequence[Any]) -> list[ReservationV1]:
    answers: list[ReservationV1] = []
    for start in range(0, len(asks), 500):
        group = (world.router.request(ask, ReservationV1, timeout=30) for ask in asks[start : start + 500])
        answers += await asyncio.gather(*group)
    return answers


async def no_hold_is_left(world: World, app: Metering, workspace: int, number: int) -> None:
    """Three of ten callers leave at a random moment, without a word; after the time to live nothing is held."""
    chance, key = random.Random(11), await world.key(workspace)  # noqa: S311 - a test's inputs
    ends: Counter[str] = Counter()
    ended: list[str] = []

    async def call() -> None:
        try:
            answer = await world.reserve(workspace, key, ttl_s=60)
            await asyncio.sleep(0)
            await world.finish(answer.attempt_id, workspace, key)
            ended.append(answer.attempt_id)
        except OmniError:
            ends["failed"] += 1

    for _ in range(0, number, 100):
        tasks = [asyncio.ensure_future(call()) for _ in range(100)]
        for task in chance.sample(tasks, 30):
            asyncio.get_running_loop().call_later(chance.uniform(0, 0.05), task.cancel)
        done = await asyncio.gather(*tasks, return_exceptions=True)
        ends["cancelled"] += sum(isinstance(one, asyncio.CancelledError) for one in done)
    # What was asked for may be granted after its asker has left: all that arrived is answered before this.
    await world.reserve(workspace, key, ttl_s=60)
    await world.settled(*ended)
    left = world.sql(HELD + " AND workspace_id = %s", workspace)[0]["n"]
    world.clock.ahead += timedelta(seconds=61)
    await app.sweeper.sweep()
    await world.until(lambda: world.sql(HELD + " AND workspace_id = %s", workspace)[0]["n"] == 0)
    print(f"{number} calls, {ends['cancelled']} cut off in the middle, {ends['failed']} failed: {left} holds left "
          f"behind, 0 after their time, {len(drift(world))} unbalanced")  # fmt: skip
    assert not drift(world)
