"""Keys of stored content hang on the workspace's data key: they move with it, end with it, are never given unheard."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from dataclasses import replace
from uuid import uuid4

import pytest

from shared import sealing
from shared.contents import ContentPlace, KeyReader, close, opened
from shared.errors import Code, OmniError
from shared.messages.base import Done
from shared.messages.contents import ContentKeyV1, DestroyContentsV1, NewContentKeyV1, OpenContentKeyV1
from shared.messages.custody import DekRotationV1, RotateDekV1, ShredWorkspaceV1
from shared.sealing import CannotOpen
from tests.integration.custody_world import ACTOR, KekFile, custody_world, fresh, rotated
from tests.integration.vault_world import World

TEXT = b"what somebody wrote"


@pytest.fixture(scope="module")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[World, KekFile]]:
    async with custody_world(tmp_path_factory.mktemp("contents"), fresh()) as made:
        yield made


@pytest.fixture
def world(running: tuple[World, KekFile]) -> World:
    return running[0]


@pytest.fixture
def workspace() -> int:
    return secrets.randbelow(2**40) + 1


class Stored:
    """A content as metering would keep it."""

    def __init__(self, place: ContentPlace, salt: str, sealed: bytes) -> None:
        self.place, self.salt, self.sealed = place, salt, sealed


async def stored(world: World, workspace: int) -> Stored:
    reader = KeyReader(world.public)
    call, attempt = str(uuid4()), str(uuid4())
    wish = NewContentKeyV1(workspace_id=workspace, call_id=call, attempt_id=attempt, public_key=reader.public_key)
    given = await world.router.request(wish, ContentKeyV1)
    place = ContentPlace(workspace, call, attempt, given.root_id)
    return Stored(place, given.salt, close(reader.read(given, place), TEXT, place))


async def read(world: World, content: Stored, place: ContentPlace | None = None) -> bytes:
    reader, wanted = KeyReader(world.public), place or content.place
    wish = OpenContentKeyV1(
        workspace_id=wanted.workspace_id, call_id=wanted.call_id, attempt_id=wanted.attempt_id,
        public_key=reader.public_key, root_id=wanted.root_id, salt=content.salt, actor=ACTOR,
    )  # fmt: skip
    given = await world.api.request(wish, ContentKeyV1)
    return opened(reader.read(given, wanted), content.sealed, content.place)


async def refused(world: World, content: Stored, place: ContentPlace | None = None) -> str:
    """Why it cannot be read."""
    try:
        await read(world, content, place)
    except OmniError as error:
        return error.code.value
    except CannotOpen:
        return "cannot open"
    raise AssertionError("it was read")


async def ask(world: World, request: RotateDekV1 | ShredWorkspaceV1 | DestroyContentsV1) -> None:
    await world.api.request(request, DekRotationV1 if isinstance(request, RotateDekV1) else Done, timeout=30)


def roots(world: World, workspace: int) -> list[tuple[object, ...]]:
    return world.sql("SELECT id, dek_id, ciphertext FROM content_roots WHERE workspace_id = %s", workspace)


async def test_what_is_sealed_is_read_again_and_that_is_in_the_audit_first(world: World, workspace: int) -> None:
    content = await stored(world, workspace)
    assert await read(world, content) == TEXT
    entry = (await world.audit(workspace))[-1]
    assert (entry.action, entry.actor, entry.facts) == (
        "content_opened", ACTOR, {"attempt_id": content.place.attempt_id},
    )  # fmt: skip
    assert (await world.verify_audit(workspace)).intact


async def test_a_router_never_gets_a_key_twice(world: World, workspace: int) -> None:
    reader = KeyReader(world.public)
    wish = NewContentKeyV1(workspace_id=workspace, call_id="c", attempt_id=str(uuid4()), public_key=reader.public_key)
    given = await asyncio.gather(*(world.router.request(wish, ContentKeyV1, timeout=20) for _ in range(12)))
    places = {ContentPlace(workspace, "c", wish.attempt_id, one.root_id) for one in given}
    keys = {reader.read(one, place) for one in given for place in places}
    print(f"first keys of a workspace: asked=12 roots={len(places)} keys={len(keys)}")
    assert (len(places), len(keys), len(roots(world, workspace))) == (1, 12, 1)


async def test_no_other_place_opens_it(world: World, workspace: int) -> None:
    content, other = await stored(world, workspace), await stored(world, workspace + 1)
    tries = [
        replace(content.place, workspace_id=workspace + 1),
        replace(content.place, call_id=str(uuid4())),
        replace(content.place, attempt_id=str(uuid4())),
        replace(content.place, root_id=other.place.root_id),
        other.place,
    ]
    told = [await refused(world, content, place) for place in tries]
    print(f"other places: tries={len(tries)} refused={told}")
    root = roots(world, workspace)[0]
    world.sql("UPDATE content_roots SET ciphertext = %s WHERE workspace_id = %s", root[2], workspace + 1)
    assert await refused(world, other) == Code.UNAVAILABLE


async def test_it_moves_with_the_data_key_and_its_kek(running: tuple[World, KekFile], workspace: int) -> None:
    world, keks = running
    content = await stored(world, workspace)
    await ask(world, RotateDekV1(workspace_id=workspace, actor=ACTOR))
    assert await read(world, content) == TEXT
    keks.put_first(fresh())
    await rotated(world)
    assert await read(world, content) == TEXT
    later = await stored(world, workspace)
    await ask(world, RotateDekV1(workspace_id=workspace, actor=ACTOR))
    assert [await read(world, one) for one in (content, later)] == [TEXT, TEXT]


async def test_reading_goes_on_while_the_data_key_is_replaced(world: World, workspace: int) -> None:
    content, over, done = await stored(world, workspace), asyncio.Event(), 0

    async def again() -> None:
        nonlocal done
        while not over.is_set():
            assert await read(world, content) == TEXT
            done += 1

    reading = [asyncio.create_task(again()) for _ in range(4)]
    for _ in range(10):
        await ask(world, RotateDekV1(workspace_id=workspace, actor=ACTOR))
    over.set()
    await asyncio.gather(*reading)
    print(f"content read while the data key is replaced: rotations=10 reads={done} failed=0")
    assert done > 10


async def test_shredding_ends_it_whatever_is_restored(world: World, workspace: int) -> None:
    contents = [await stored(world, workspace) for _ in range(5)]
    dump = roots(world, workspace)[0]
    await ask(world, ShredWorkspaceV1(workspace_id=workspace, actor=ACTOR))
    assert roots(world, workspace) == []
    told = [await refused(world, one) for one in contents]
    columns = "(id, dek_id, ciphertext, workspace_id, created_at)"
    world.sql(f"INSERT INTO content_roots {columns} VALUES (%s, %s, %s, %s, now())", *dump, workspace)
    told += [await refused(world, one) for one in contents]
    print(f"shredded: reads={len(told)} refused={len(told)} ({sorted(set(told))})")
    assert set(told) <= {"not_found", "unavailable"}
    with pytest.raises(OmniError) as error:
        await stored(world, workspace)
    assert error.value.code is Code.NOT_FOUND


async def test_destroyed_on_demand_and_begun_anew(world: World, workspace: int) -> None:
    old = await stored(world, workspace)
    for _ in range(2):
        await ask(world, DestroyContentsV1(workspace_id=workspace, actor=ACTOR))
    assert await refused(world, old) == Code.NOT_FOUND
    new = await stored(world, workspace)
    assert await read(world, new) == TEXT
    assert await refused(world, old) == Code.NOT_FOUND
    actions = [entry.action for entry in await world.audit(workspace)]
    assert actions.count("contents_destroyed") == 1


async def test_readers_that_are_none_are_refused(world: World, workspace: int) -> None:
    for public_key in ("", "%", sealing.encode(bytes(31)), sealing.encode(bytes(32))):
        wish = NewContentKeyV1(workspace_id=workspace, call_id="c", attempt_id=str(uuid4()), public_key=public_key)
        with pytest.raises(OmniError) as error:
            await world.router.request(wish, ContentKeyV1)
        assert error.value.code is Code.INVALID_REQUEST
