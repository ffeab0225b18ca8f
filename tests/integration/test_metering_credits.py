"""Platform credits at metering: granted and switched on, or nothing; and nothing of one ledger ever moves the other."""

import asyncio
import random
from collections import Counter
from typing import Any
from uuid import uuid4

import pytest

from shared.errors import Code, OmniError
from shared.messages.base import Done
from shared.messages.bookkeeping import LedgerActionsV1, QueryLedgerActionsV1
from shared.messages.metering import BlockedV1, BlockKeyV1, BudgetsV1, ListBudgetsV1, Refusal, ReservationV1
from shared.messages.platform_credits import AdmitPlatformKeyV1, CreditsV1, GetCreditsV1
from shared.messages.vocabulary import Funds
from tests.integration.books import drift, over
from tests.integration.metering_world import World, reservation

CALLS, AT_ONCE = 1000, 50


async def platform_key(world: World) -> str:
    key_id = str(uuid4())
    for _ in range(2):
        await world.vault.request(AdmitPlatformKeyV1(key_id=key_id), Done)
    return key_id


async def credits_of(world: World, workspace: int) -> CreditsV1:
    return await world.api.request(GetCreditsV1(workspace_id=workspace), CreditsV1)


async def test_credits_need_a_grant_and_the_workspaces_word(world: World, workspace: int) -> None:
    key = await platform_key(world)

    async def asked() -> Refusal | None:
        return (await world.reserve(workspace, key, funds=Funds.PLATFORM)).refusal

    assert (await credits_of(world, workspace)).model_dump() == {
        "workspace_id": workspace, "credits": "off", "granted": False,
    }  # fmt: skip
    assert (await world.switch_credits(workspace)).granted is False
    assert await asked() is Refusal.NO_CREDITS, "to want credits is not to have them"
    (budget,) = await world.set_workspace_caps(workspace, Funds.PLATFORM, requests=10)
    assert (budget.credits, await asked()) == ("allowed", None)
    assert (await world.switch_credits(workspace, "off")).granted is True
    assert await asked() is Refusal.CREDITS_OFF
    await world.switch_credits(workspace)
    await world.set_workspace_caps(workspace, Funds.PLATFORM, requests=None)
    assert await asked() is Refusal.NO_CREDITS, "without any cap nothing is granted"
    await world.set_workspace_caps(workspace, Funds.PLATFORM, day_requests=1)
    assert await asked() is Refusal.BUDGET_EXCEEDED
    query = QueryLedgerActionsV1(workspace_id=workspace)
    noted = (await world.api.request(query, LedgerActionsV1)).items
    assert [(one.action, one.facts) for one in noted] == [
        ("credits.set", {"credits": "allowed", "before": "off"}),
        ("credits.set", {"credits": "off", "before": "allowed"}),
        ("credits.set", {"credits": "allowed", "before": "off"}),
    ]
    for wrong in (0, -1):
        with pytest.raises(OmniError) as caught:
            await credits_of(world, wrong)
        assert caught.value.code is Code.INVALID_REQUEST


async def test_once_off_has_answered_nothing_more_is_admitted(world: World, workspace: int) -> None:
    key = await platform_key(world)
    await world.set_workspace_caps(workspace, Funds.PLATFORM, requests=10_000)
    late = before = 0
    for _ in range(20):
        await world.switch_credits(workspace)
        asks = [asyncio.ensure_future(world.reserve(workspace, key, funds=Funds.PLATFORM)) for _ in range(10)]
        await world.switch_credits(workspace, "off")
        after = await asyncio.gather(*(world.reserve(workspace, key, funds=Funds.PLATFORM) for _ in range(5)))
        late += sum(one.granted for one in after)
        before += sum([(await one).granted for one in asks])
    print(f"credits switched off 20 times under load: {before} admitted before, {late} after the answer")
    assert late == 0
    assert before > 0
    assert not drift(world)


async def test_a_blocked_key_of_the_platform_stays_blocked(world: World, workspace: int) -> None:
    key = await platform_key(world)
    await world.set_workspace_caps(workspace, Funds.PLATFORM, requests=10)
    await world.switch_credits(workspace)
    assert (await world.reserve(workspace, key, funds=Funds.PLATFORM)).granted
    block = BlockKeyV1(workspace_id=0, key_id=key)
    assert (await world.vault.request(block, BlockedV1)).held == 1, "whoever's call it is held for"
    await world.vault.request(AdmitPlatformKeyV1(key_id=key), Done)
    assert (await world.reserve(workspace, key, funds=Funds.PLATFORM)).refusal is Refusal.KEY_BLOCKED
    listed = (await world.api.request(ListBudgetsV1(workspace_id=workspace), BudgetsV1)).items
    assert [(one.scope, one.funds) for one in listed] == [("workspace", Funds.PLATFORM)], "its account is nobody's"


async def test_a_thousand_random_calls_never_move_the_other_ledger(world: World) -> None:
    chance = random.Random(20261123)  # noqa: S311 - a test's inputs
    ledgers = Ledgers(world, chance, [chance.randrange(1, 2**40) for _ in range(3)])
    await ledgers.open()
    for _ in range(0, CALLS, AT_ONCE):
        if chance.random() < 0.3:
            await world.switch_credits(chance.choice(ledgers.workspaces), chance.choice(["off", "allowed"]))
        await asyncio.gather(*(ledgers.call() for _ in range(AT_ONCE)))
    await world.settled(*ledgers.attempts)
    found = await ledgers.spent()
    wrong = {who: (spent, ledgers.charged[who]) for who, spent in found.items() if spent != ledgers.charged[who]}
    print(f"{CALLS} random calls, {dict(ledgers.tally)}")
    print(f"{len(found)} accounts: {len(wrong)} moved by the other ledger, {len(over(world))} caps passed, "
          f"{len(drift(world))} unbalanced")  # fmt: skip
    assert not wrong
    assert not over(world)
    assert not drift(world)
    assert min(ledgers.tally[name] for name in ("own", "platform", "crossed", "refused")) > 20, "all of it happened"
    for workspace in ledgers.workspaces:
        rows = world.rows(workspace)
        assert all((row["funds"] == "platform") == (str(row["key_id"]) in ledgers.platforms) for row in rows)


class Ledgers:
    """Three workspaces with own keys and credits. ``charged``: what each account must have spent, by what was told.

    An account is a workspace, a key of it (None: the whole), and the funds.
    """

    def __init__(self, world: World, chance: random.Random, workspaces: list[int]) -> None:
        self.world, self.chance, self.workspaces = world, chance, workspaces
        self.platforms: list[str] = []
        self.own: dict[int, list[str]] = {}
        self.charged: Counter[tuple[int, str | None, str]] = Counter()
        self.tally: Counter[str] = Counter()
        self.attempts: list[str] = []

    async def open(self) -> None:
        self.platforms = [await platform_key(self.world) for _ in range(2)]
        for workspace in self.workspaces:
            self.own[workspace] = [await self.world.key(workspace, usd_micros=40_000) for _ in range(2)]
            await self.world.set_workspace_caps(workspace, Funds.OWN, usd_micros=70_000)
            await self.world.set_workspace_caps(workspace, Funds.PLATFORM, usd_micros=60_000, day_requests=120)
            await self.world.switch_credits(workspace)

    async def call(self) -> None:
        """One call; one of ten claims the funds of the other ledger for its key, and must be refused."""
        workspace, funds = self.chance.choice(self.workspaces), self.chance.choice(list(Funds))
        crossed = self.chance.random() < 0.1
        mine = self.own[workspace] if (funds is Funds.OWN) is not crossed else self.platforms
        key, bound = self.chance.choice(mine), self.chance.randrange(1, 1400)
        cost = self.chance.randrange(bound + 1)
        ask = reservation(workspace, key, usd_micros=bound, funds=funds, wait_s=self.chance.choice([0, 0, 0.5]))
        answer = await self.world.router.request(ask, ReservationV1, timeout=30)
        assert not (crossed and answer.granted)
        self.tally["crossed" if crossed else funds.value if answer.granted else "refused"] += 1
        if answer.granted:
            await self._finish(answer.attempt_id, workspace, key, funds, cost)

    async def _finish(self, attempt: str, workspace: int, key: str, funds: Funds, cost: int) -> None:
        how: dict[str, Any] = {"cost_usd_micros": cost}
        if self.chance.random() < 0.1:
            how, cost = {"cost_usd_micros": 0, "sent": False, "billing": "nothing"}, 0
        for owner in ((workspace, None, funds.value), (funds.keyholder(workspace), key, funds.value)):
            self.charged[owner] += cost
        await self.world.finish(attempt, workspace, key, funds=funds, **how)
        self.attempts.append(attempt)

    async def spent(self) -> dict[tuple[int, str | None, str], int]:
        """What every account has spent this month."""
        rows = self.world.sql(
            "SELECT b.workspace_id, b.key_id::text, b.funds, p.spent_usd_micros FROM ai_provider_budgets b "
            "JOIN budget_periods p ON p.budget_id = b.id AND p.span = 'month' "
            "WHERE b.workspace_id = ANY(%s::bigint[]) OR b.key_id = ANY(%s::uuid[])",
            self.workspaces,
            self.platforms,
        )
        return {
            (int(str(row["workspace_id"])), str(row["key_id"]) if row["key_id"] else None, str(row["funds"])): int(
                str(row["spent_usd_micros"])
            )
            for row in rows
        }
