"""More than can be served: others do not notice, and as much is served as before."""

from collections.abc import AsyncIterator, Iterator

import pytest

from shared.testing.stack import Stack, full_run
from tests.e2e.world import Caller, World, connected, ok
from tests.faults.bystander import Bad, flooded, watch

pytestmark = pytest.mark.faults
SANDBOX = 1000
CALLS, ROUNDS = (150 if full_run() else 60), 3
# At once: what is served about as fast as can be, and more than may be worked on and wait.
FLOOD, PEAK, TOO_MANY = 256, 128, 1024


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    running = Stack.start(tmp_path_factory.mktemp("load") / "home")
    yield running
    running.stop()


@pytest.fixture(scope="module")
async def world(stack: Stack) -> AsyncIterator[World]:
    async with connected(stack) as made:
        yield made


@pytest.fixture(scope="module")
async def neighbour(world: World) -> Caller:
    """Somebody of another workspace, with the sandbox's echo under the same name."""
    workspace = await world.workspace()
    key = {"workspace_id": workspace, "provider": "sandbox", "api_key": "sandbox-0123456789"}
    ok(await world.admin.post("/ai-keys", **key), 201)
    alias = {"alias_name": "sandbox-echo", "primary_provider": "sandbox", "primary_model": "sandbox-echo"}
    ok(await world.admin.post("/ai-aliases", workspace_id=workspace, **alias), 201)
    caller = await world.member(workspace, "member")
    await watch(caller, 20)
    return caller


@pytest.fixture(scope="module")
async def flooder(world: World) -> str:
    """A token of the workspace that floods."""
    made = ok(await world.admin.post("/ai-tokens", workspace_id=SANDBOX, role="member"), 201)
    token: str = made["token"]
    return token


def rate(bad: Bad) -> float:
    """Calls answered a second."""
    return bad.seen.get("200", 0) / bad.seen["seconds"]


class TestEdgeLoad:
    async def test_a_flood_of_one_workspace_waits_behind_itself_and_not_before_another(
        self, stack: Stack, neighbour: Caller, flooder: str
    ) -> None:
        alone = await watch(neighbour, CALLS)
        async with flooded(stack, FLOOD, flooder) as flood:
            beside = await watch(neighbour, CALLS)
        own_ms = 1000 * FLOOD / rate(flood)
        print(
            f"  beside {FLOOD} at once: p50 {alone.p50_ms:.0f} → {beside.p50_ms:.0f} ms, p99 {alone.p99_ms:.0f} → "
            f"{beside.p99_ms:.0f} ms, refused {len(beside.refused)}; the flood: {rate(flood):.0f} calls/s, "
            f"{own_ms:.0f} ms a call"
        )
        assert beside.refused == []
        # The flood waits behind itself. That all of them share the same two processors is beyond any queue.
        assert beside.p50_ms < own_ms
        assert beside.p99_ms < 2 * own_ms

    async def test_past_capacity_as_much_is_served_and_the_rest_told_when_to_come_again(
        self, stack: Stack, neighbour: Caller, flooder: str
    ) -> None:
        best: list[float] = []
        for _ in range(ROUNDS):
            served: list[float] = []
            for at_once in (PEAK, TOO_MANY):
                async with flooded(stack, at_once, flooder) as flood:
                    assert (await watch(neighbour, CALLS)).refused == []
                served.append(rate(flood))
                print(f"  {at_once} at once: {rate(flood):.0f} calls/s served, {flood.seen}")
                assert not [status for status in flood.seen if status.startswith("5") and status != "503"]
                assert flood.seen.get("with_retry_after", 0) == flood.seen.get("429", 0) + flood.seen.get("503", 0)
            best.append(served[1] / served[0])
            if best[-1] >= 0.9:
                break
        # A thousand callers that never pause are served by the same two processors.
        assert max(best) >= 0.7
