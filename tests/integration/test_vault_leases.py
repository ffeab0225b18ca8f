"""Leases: for one router process, one key, one place and thirty seconds; and the road to them when things break."""

import asyncio
import os
import secrets
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import timedelta
from itertools import combinations
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from services.vault.connections import Connections
from shared import sealing
from shared.db import Database
from shared.errors import Code, OmniError
from shared.messages.base import Done
from shared.messages.vault import GetKeyV1, KeyV1, LeaseV1, RestrictionsV1, RevokeKeyV1
from shared.messages.vocabulary import Modality
from shared.sealing import CannotOpen
from tests.integration.vault_world import World, vault_world

SECRET = "sk-proj-" + secrets.token_hex(20)


@pytest.fixture(scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with vault_world(tmp_path_factory.mktemp("vault")) as made:
        yield made


async def refusal(awaited: Any) -> OmniError:
    with pytest.raises(OmniError) as caught:
        await awaited
    return caught.value


def others(lease: LeaseV1) -> Iterator[dict[str, Any]]:
    """Every field of what a lease is bound to, each with values it does not have; and all pairs of those."""
    single: list[dict[str, Any]] = []
    for field, value in lease.model_dump(exclude={"sealed", "signature"}).items():
        if isinstance(value, str):
            values: list[Any] = [value + "x", value[:-1], value.upper(), "", str(uuid4())]
        elif isinstance(value, int):
            values = [value + 1, value - 1, -value, 0]
        else:
            values = [value + timedelta(seconds=step) for step in (1, -1, 3600)] + [value + timedelta(microseconds=1)]
        single += [{field: other} for other in values if other != value]
    yield from single
    yield from (one | two for one, two in combinations(single, 2) if one.keys() != two.keys())


def flipped(encoded: str) -> Iterator[str]:
    """Base64 of every value that differs in one bit, of one that is longer, and of shorter ones."""
    raw = sealing.decode(encoded)
    for place in range(len(raw)):
        yield sealing.encode(raw[:place] + bytes([raw[place] ^ (1 << place % 8)]) + raw[place + 1 :])
    yield sealing.encode(raw + b"\0")
    yield from (sealing.encode(raw[:length]) for length in (0, 1, 31, len(raw) - 1))


def opens(world: World, lease: LeaseV1, **changes: object) -> bool:
    try:
        return bool(world.opened(lease, **changes))
    except (CannotOpen, ValueError):
        return False


async def test_a_lease_opens_for_its_router_and_its_place_only(world: World) -> None:
    lease = await world.lease(await world.create(SECRET))
    again = await world.lease(await world.create(SECRET))
    assert world.opened(lease) == SECRET
    tried = [opens(world, lease, **changes) for changes in others(lease)]
    tried += [opens(world, lease.model_copy(update={"sealed": sealed})) for sealed in flipped(lease.sealed)]
    tried += [opens(world, lease.model_copy(update={"signature": forged})) for forged in flipped(lease.signature)]
    swaps = {name: getattr(again, name) for name in LeaseV1.model_fields}
    unlike = [{name: value} for name, value in swaps.items() if value != getattr(lease, name)]
    tried += [opens(world, lease.model_copy(update=swap)) for swap in unlike]
    print(f"\nleases altered={len(tried)} opened={sum(tried)}")
    assert (len(tried) > 600, len(unlike), sum(tried)) == (True, 5, 0)


async def test_another_router_and_another_vault_are_nobody(world: World) -> None:
    lease = await world.lease(await world.create(SECRET))
    info = sealing.lease_info(**lease.model_dump(exclude={"sealed", "signature"}))
    sealed, opened = sealing.decode(lease.sealed), 0
    for _ in range(50):
        with pytest.raises(CannotOpen):
            sealing.unseal(sealed, X25519PrivateKey.generate(), info)
        mine = sealing.seal(b"sk-of-somebody-else", world.router_key.public_key(), info)
        signature = sealing.encode(sealing.sign(Ed25519PrivateKey.generate(), info, mine))
        forged = lease.model_copy(update={"sealed": sealing.encode(mine), "signature": signature})
        opened += opens(world, forged)
    assert opened == 0


async def test_a_lease_is_good_for_thirty_seconds_at_most(world: World) -> None:
    key = await world.create(SECRET)
    before = time.time()  # noqa: TID251 - compared with the vault's own clock
    lease = await world.lease(key)
    after = time.time()  # noqa: TID251
    assert before + 30 <= lease.expires_at.timestamp() <= after + 30


async def test_scopes_are_kept_for_every_modality(world: World) -> None:
    granted = refused = 0
    for size in range(len(Modality) + 1):
        for scopes in combinations(Modality, size):
            key = await world.create(SECRET, scopes=frozenset(scopes))
            for scope in Modality:
                if scope in scopes:
                    assert world.opened(await world.lease(key, scope)) == SECRET
                    granted += 1
                    continue
                error = await refusal(world.lease(key, scope))
                assert (error.code, error.extra["scope"]) == (Code.UNSUPPORTED_SCOPE, scope.value)
                refused += 1
    print(f"\nscopes: keys=16 granted={granted} refused={refused}")
    assert (granted, refused) == (32, 32)


async def test_restrictions_are_kept(world: World) -> None:
    narrow = RestrictionsV1(models=frozenset({"gpt-4o*", "o3"}), regions=frozenset({"eu"}))
    key = await world.create(SECRET, restrictions=narrow)
    assert key.restrictions == narrow
    assert await world.api.request(GetKeyV1(workspace_id=1, key_id=key.id), KeyV1) == key
    assert world.opened(await world.lease(key, model="gpt-4o-mini", region="eu")) == SECRET
    assert world.opened(await world.lease(key, verifying=True)) == SECRET
    refused: list[tuple[dict[str, Any], dict[str, Any]]] = [
        ({"model": "gpt-4", "region": "eu"}, {"model": "gpt-4"}),
        ({"model": "o3-pro", "region": "eu"}, {"model": "o3-pro"}),
        ({"region": "eu"}, {"model": None}),
        ({"model": "o3", "region": "us"}, {"region": "us"}),
        ({"model": "o3"}, {"region": None}),
    ]
    for asked, extra in refused:
        error = await refusal(world.lease(key, **asked))
        assert (error.code, error.extra) == (Code.UNSUPPORTED_SCOPE, {"key_id": key.id, **extra})
    bad = world.creation(SECRET, restrictions=RestrictionsV1(models=frozenset({"a*b"})))
    assert (await refusal(world.api.request(bad, KeyV1))).code is Code.INVALID_REQUEST


# -- the database ----------------------------------------------------------------------------------------------


async def test_the_fast_road_sees_one_workspace_only(world: World) -> None:
    keys = [await world.create(SECRET, workspace_id=workspace_id) for workspace_id in (61, 62, 62)]
    connections = Connections(Database(world.vault_url))
    try:
        counted = "SELECT count(*) AS n, current_setting('omnipost.workspace') AS scope FROM ai_provider_keys"
        for _ in range(2):
            assert tuple(await connections.first(61, counted)) == (1, "61")
            assert tuple(await connections.first(62, counted)) == (2, "62")
        by_id = "SELECT id FROM ai_provider_keys WHERE id = %s"
        assert await connections.first(61, by_id, keys[0].id)
        assert await connections.first(61, by_id, keys[1].id) is None
        raw = connections._lines[-1]._raw
        assert raw is not None
        assert await (await raw.execute("SELECT count(*) FROM ai_provider_keys")).fetchone() == (0,)
        with pytest.raises(OmniError):
            await connections.first(61, "SELECT nonsense")
        assert await connections.first(61, by_id, keys[0].id)
    finally:
        await connections.close()


def backends(world: World) -> list[int]:
    found = world.sql("SELECT pid FROM pg_stat_activity WHERE usename LIKE '%%vault'")
    return [pid for (pid,) in found if isinstance(pid, int)]


async def test_a_connection_that_was_lost_costs_no_lease(world: World) -> None:
    key = await world.create(SECRET)
    for _ in range(3):
        leases = await asyncio.gather(*(world.lease(key) for _ in range(20)))
        assert {world.opened(lease) for lease in leases} == {SECRET}
        world.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename LIKE '%%vault'")


@contextmanager
def frozen(world: World) -> Iterator[None]:
    """A database that accepts and says nothing."""
    processes = [world.postgres.pid, *backends(world)]
    for process in processes:
        os.kill(process, signal.SIGSTOP)
    try:
        yield
    finally:
        for process in processes:
            os.kill(process, signal.SIGCONT)


async def test_a_database_that_hangs_is_given_up_in_two_seconds(world: World) -> None:
    key = await world.create(SECRET)
    await asyncio.gather(*(world.lease(key) for _ in range(8)))
    with frozen(world):
        began = time.monotonic()
        errors = await asyncio.gather(*(refusal(world.lease(key)) for _ in range(8)))
        spent = time.monotonic() - began
    assert {error.code for error in errors} == {Code.UNAVAILABLE}
    assert 1.5 < spent < 2.6
    assert world.opened(await world.lease(key)) == SECRET
    print(f"\nfrozen database: leases=8 refused=8 seconds={spent:.2f}")


async def test_a_row_from_before_the_end_is_refused_by_metering_only(world: World) -> None:
    # What the vault destroyed is gone; whoever restores the row from a backup has the ciphertext again. Then the
    # block at metering is what keeps it out of use, and it has no unblock.
    key = await world.create(SECRET)
    with psycopg.connect(world.owner_url, autocommit=True, options="-c search_path=vault") as owner:
        owner.execute("CREATE TABLE backup AS SELECT * FROM ai_provider_keys WHERE id = %s", (key.id,))
        await world.api.request(RevokeKeyV1(workspace_id=1, key_id=key.id), Done)
        assert (await refusal(world.lease(key))).code is Code.MISSING_KEY
        assert world.blocked[-1] == key.id
        owner.execute("DELETE FROM ai_provider_keys WHERE id = %s", (key.id,))
        owner.execute("INSERT INTO ai_provider_keys SELECT * FROM backup")
        owner.execute("DROP TABLE backup")
    assert world.opened(await world.lease(key)) == SECRET


async def test_leases_per_second(world: World) -> None:
    key = await world.create(SECRET)
    started = time.monotonic()
    for _ in range(20):
        await asyncio.gather(*(world.lease(key) for _ in range(16)))
    print(f"\nleases_per_s={320 / (time.monotonic() - started):.0f}")
