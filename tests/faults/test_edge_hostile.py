"""What the worst clients can do to the edge: nothing that others would notice."""

from collections.abc import AsyncIterator, Iterator

import pytest

from shared.testing.stack import Stack, full_run
from tests.e2e.world import Caller, World, connected, ok
from tests.faults.bystander import forget_peak, hostile, peak, watch
from tests.faults.raw_http import say
from tests.faults.smuggling import CONTROLS, SHAPES

pytestmark = pytest.mark.faults
SANDBOX = 1000
CALLS, ROUNDS = 40, 3
# What they do (``hostile.py``), how many of them in the short run, and in the long one.
KINDS = (
    ("slow_heads", 500, 500),
    ("slow_bodies", 500, 500),
    ("slow_large_bodies", 100, 500),
    ("idle", 3000, 10_000),
    ("gigabyte", 2, 4),
    ("gigabyte_chunked", 2, 4),
    ("million_fields", 2, 4),
    ("many_fields", 2, 4),
    ("wide", 2, 4),
    ("deep", 2, 4),
)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    running = Stack.start(
        tmp_path_factory.mktemp("hostile") / "home", environment={"OMNIPOST_ALLOWED_PRIVATE_HOSTS": "127.0.0.1"}
    )
    yield running
    running.stop()


@pytest.fixture(scope="module")
async def world(stack: Stack) -> AsyncIterator[World]:
    async with connected(stack) as made:
        yield made


@pytest.fixture(scope="module")
async def good(world: World) -> Caller:
    """Somebody of the sandbox's workspace."""
    caller = await world.member(SANDBOX, "member")
    await watch(caller, 20)
    return caller


@pytest.fixture(scope="module")
async def bad_token(world: World) -> str:
    """The good token of a bad client, of another workspace."""
    made = ok(await world.admin.post("/ai-tokens", workspace_id=await world.workspace(), role="owner"), 201)
    token: str = made["token"]
    return token


class TestEdgeHostile:
    @pytest.mark.parametrize(("kind", "few", "many"), KINDS)
    async def test_others_do_not_notice(
        self, stack: Stack, good: Caller, bad_token: str, kind: str, few: int, many: int
    ) -> None:
        count = many if full_run() else few
        ratios: list[float] = []
        for _ in range(ROUNDS):
            # The machine's other work comes and goes: what counts is a round in which both halves were measured alike.
            before, alone = forget_peak(stack.pid("api")), await watch(good, CALLS)
            async with hostile(stack, kind, count, bad_token) as bad:
                beside = await watch(good, CALLS)
            grown = peak(stack.pid("api")) - before
            ratios.append(beside.p99_ms / alone.p99_ms)
            print(
                f"  {kind} {count}: p50 {alone.p50_ms:.0f} → {beside.p50_ms:.0f} ms, p99 {alone.p99_ms:.0f} → "
                f"{beside.p99_ms:.0f} ms, refused {len(beside.refused)}, memory +{grown} MiB, they saw {bad.seen}"
            )
            assert beside.refused == []
            assert grown < 64
            assert "500" not in bad.seen
            if ratios[-1] < 2:
                break
        assert min(ratios) < 2


class TestEdgeSmuggling:
    async def test_no_request_gets_two_answers_and_none_is_a_crash(self, stack: Stack) -> None:
        wrong: list[str] = []
        for shape in (*SHAPES, *CONTROLS):
            heard = await say(stack.port, shape.sent.replace(b"{token}", stack.admin_token.encode()))
            print(f"  {shape.name}: {heard.statuses or 'no answer'}{', closed' if heard.closed else ''}")
            too_many, crashed = len(heard.statuses) > shape.answers, max(heard.statuses, default=0) >= 500
            silent = not heard.statuses and not heard.closed
            if too_many or crashed or silent or (shape in CONTROLS and len(heard.statuses) != shape.answers):
                wrong.append(f"{shape.name}: {heard.statuses}")
        print(f"smuggling: {len(SHAPES)} shapes, {len(CONTROLS)} controls, {len(wrong)} wrong")
        assert wrong == []
