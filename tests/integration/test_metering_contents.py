"""Sealed contents are kept while their workspace wants it, for its days, and not a moment against its will."""

import asyncio
import secrets
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from services.metering.app import Metering
from services.metering.forgetting import BATCH
from shared.errors import Code, OmniError
from shared.messages.bookkeeping import LedgerActionsV1, QueryLedgerActionsV1
from shared.messages.contents import (
    LARGEST_CONTENT,
    ROOT_ID,
    ContentPolicyV1,
    GetContentPolicyV1,
    GetContentV1,
    KeptV1,
    SealedContentV1,
    SetContentPolicyV1,
    StoreContentV1,
)
from shared.messages.custody import ActorV1
from shared.sealing import encode
from tests.integration.metering_world import World

COUNT = "SELECT count(*) AS count FROM ai_call_contents WHERE workspace_id = %s"


async def wish(world: World, workspace: int, role: str = "owner", **fields: Any) -> ContentPolicyV1:
    actor = ActorV1(kind="token", id="t", role=role)
    return await world.api.request(SetContentPolicyV1(workspace_id=workspace, actor=actor, **fields), ContentPolicyV1)


async def policy(world: World, workspace: int) -> ContentPolicyV1:
    return await world.router.request(GetContentPolicyV1(workspace_id=workspace), ContentPolicyV1)


async def store(world: World, workspace: int, attempt_id: str | None = None, **fields: Any) -> str | None:
    """The attempt's id when it was kept."""
    attempt_id = attempt_id or str(uuid4())
    body = {"salt": encode(bytes(32)), "sealed": encode(secrets.token_bytes(100)), "root_id": ROOT_ID, **fields}
    request = StoreContentV1(workspace_id=workspace, call_id="c", attempt_id=attempt_id, **body)
    return attempt_id if (await world.router.request(request, KeptV1)).kept else None


async def get(world: World, workspace: int, attempt_id: str) -> SealedContentV1:
    return await world.api.request(GetContentV1(workspace_id=workspace, attempt_id=attempt_id), SealedContentV1)


async def is_gone(world: World, workspace: int, attempt_id: str) -> bool:
    with pytest.raises(OmniError) as error:
        await get(world, workspace, attempt_id)
    return error.value.code is Code.NOT_FOUND


def count(world: World, workspace: int) -> object:
    return world.sql(COUNT, workspace)[0]["count"]


async def test_by_default_nothing_is_kept(world: World, workspace: int) -> None:
    assert await policy(world, workspace) == ContentPolicyV1(workspace_id=workspace)
    assert await store(world, workspace) is None
    await wish(world, workspace, content_days=7)
    assert await store(world, workspace) is None
    assert count(world, workspace) == 0


async def test_what_is_kept_comes_back_once_and_to_its_workspace_only(world: World, workspace: int) -> None:
    assert (await wish(world, workspace, store_content=True)).store_content
    await wish(world, workspace + 1, store_content=True)
    sealed = secrets.token_bytes(LARGEST_CONTENT + 28)
    kept = await store(world, workspace, sealed=encode(sealed))
    assert kept is not None
    assert (await get(world, workspace, kept)).sealed == encode(sealed)
    assert await store(world, workspace, kept) is None, "an attempt has one content"
    assert await store(world, workspace + 1, kept) is None
    assert await is_gone(world, workspace + 1, kept)
    assert (await get(world, workspace, kept)).sealed == encode(sealed)


@pytest.mark.parametrize(
    "fields",
    [{"salt": "%"}, {"salt": encode(bytes(31))}, {"sealed": ""}, {"sealed": "%"}, {"root_id": "x"},
     {"attempt_id": "x"}, {"sealed": "A" * 720_001}],
)  # fmt: skip
async def test_malformed_contents_are_refused(world: World, workspace: int, fields: dict[str, str]) -> None:
    await wish(world, workspace, store_content=True)
    with pytest.raises((OmniError, ValueError)):
        await store(world, workspace, **fields)
    assert count(world, workspace) == 0


async def test_days_over_are_not_shown_and_go(world: World, app: Metering, workspace: int) -> None:
    await wish(world, workspace, store_content=True, content_days=30)
    old = [await store(world, workspace) for _ in range(3)]
    world.clock.ahead += timedelta(days=20)
    new = await store(world, workspace)
    world.clock.ahead += timedelta(days=10, seconds=1)
    try:
        assert all([await is_gone(world, workspace, one or "") for one in old]), "before anything is purged"
        before = count(world, workspace)
        await app.forgetter.forget()
        print(f"content days over: before={before} after={count(world, workspace)}")
        assert (before, count(world, workspace)) == (4, 1)
        await get(world, workspace, new or "")
        await wish(world, workspace, content_days=5)
        assert await is_gone(world, workspace, new or ""), "fewer days count for what is stored, too"
        await world.until(lambda: count(world, workspace) == 0)
    finally:
        world.clock.ahead = timedelta()


async def test_zero_retention_wins_over_what_is_stored_and_over_whoever_comes_later(
    world: World, workspace: int
) -> None:
    await wish(world, workspace, store_content=True)
    kept = await store(world, workspace)
    assert (await wish(world, workspace, "admin", zero_retention=True)).zero_retention
    assert await is_gone(world, workspace, kept or "")
    await world.until(lambda: count(world, workspace) == 0)
    for role, fields, code in (
        ("platform_admin", {"store_content": True}, Code.CONFLICT),
        ("owner", {"store_content": True}, Code.CONFLICT),
        ("platform_admin", {"zero_retention": False}, Code.FORBIDDEN),
        ("admin", {"zero_retention": False, "store_content": True}, Code.FORBIDDEN),
    ):
        with pytest.raises(OmniError) as error:
            await wish(world, workspace, role, **fields)
        assert error.value.code is code
        assert await store(world, workspace) is None
    lifted = await wish(world, workspace, zero_retention=False)
    assert (lifted.zero_retention, lifted.store_content) == (False, False)
    assert await store(world, workspace) is None
    query = QueryLedgerActionsV1(workspace_id=workspace)
    told = (await world.api.request(query, LedgerActionsV1)).items
    assert [(one.actor.role, one.facts["zero_retention"]) for one in told] == [("owner", 0), ("admin", 1), ("owner", 0)]


async def test_nothing_is_stored_once_zero_retention_has_been_answered(
    world: World, app: Metering, workspace: int
) -> None:
    late, rounds, tries = 0, 20, 0
    for number in range(rounds):
        mine = workspace + number
        await wish(world, mine, store_content=True)
        answered = asyncio.Event()

        async def storing(mine: int = mine, answered: asyncio.Event = answered) -> int:
            nonlocal tries
            kept = 0
            while not answered.is_set() or kept == 0:
                after = answered.is_set()
                tries += 1
                is_kept = await store(world, mine) is not None
                if after:
                    return int(is_kept)
                kept += is_kept
            return int(await store(world, mine) is not None)

        tasks = [asyncio.create_task(storing()) for _ in range(8)]
        await asyncio.sleep(0)
        await world.until(lambda mine=mine: count(world, mine) != 0)
        await wish(world, mine, zero_retention=True)
        answered.set()
        late += sum(await asyncio.gather(*tasks))
        await app.forgetter.forget()
        late += int(str(count(world, mine)))
    print(f"zero retention raced: rounds={rounds} stores={tries} stored_after_the_answer={late}")
    assert late == 0


async def test_many_go_in_batches(world: World, app: Metering, workspace: int) -> None:
    await wish(world, workspace, store_content=True)
    rows = 2 * BATCH + 7
    world.sql(
        "INSERT INTO ai_call_contents SELECT gen_random_uuid(), %s, 'c', now() - interval '40 days', "
        "gen_random_uuid(), 'x', 'x' FROM generate_series(1, %s)",
        workspace,
        rows,
    )
    gone = await app.forgetter.forget()
    # Its own loop may have been at work as well.
    await world.until(lambda: count(world, workspace) == 0)
    assert 0 < gone <= rows
