"""The platform's own keys, as real vault processes take them from their environment."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import contextmanager
from typing import Any

import pytest

from shared.errors import Code, OmniError
from shared.messages.base import Done
from shared.messages.catalogue import CatalogueChangedV1
from shared.messages.platform_credits import ListPlatformKeysV1
from shared.messages.vault import (
    GetKeyV1,
    KeysV1,
    KeyV1,
    LeaseV1,
    ListKeysV1,
    RecordVerdictV1,
    RevokeKeyV1,
    UpdateKeyV1,
)
from shared.messages.vocabulary import Funds, KeyStatus
from tests.integration.vault_world import HOST, PASSPHRASE, World, ready, vault_process, world_without_a_vault

SETTLED = b"keys are settled"
SECRETS = [f"sk-platform-{secrets.token_hex(20)}" for _ in range(3)]
ROWS = "SELECT * FROM ai_provider_keys WHERE workspace_id = 0 ORDER BY created_at"


@pytest.fixture(scope="module")
async def servers(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with world_without_a_vault(tmp_path_factory.mktemp("platform")) as made:
        yield made


@pytest.fixture
def world(servers: World) -> World:
    """Nothing of an earlier test is left."""
    servers.sql("DELETE FROM ai_provider_keys")
    servers.hosts, servers.metering_away = {"openai": HOST}, False
    servers.admitted.clear()
    servers.blocked.clear()
    return servers


class vault:  # noqa: N801 - reads as what it is
    """A vault process that has settled the platform's keys; ``replicas`` of them start at once."""

    def __init__(self, world: World, openai: str | None, *, replicas: int = 1, **more: str) -> None:
        environment = {"VAULT_REVERIFY_HOURS": "0", **more} | ({} if openai is None else {"OPENAI_API_KEY": openai})
        self._world, self._count = world, replicas
        self._processes = [vault_process(world, PASSPHRASE, **environment) for _ in range(replicas)]

    async def __aenter__(self) -> None:
        before = self._world.log.read_bytes().count(SETTLED) if self._world.log.exists() else 0
        for process in self._processes:
            process.__enter__()
        async with asyncio.timeout(60):
            while self._world.log.read_bytes().count(SETTLED) < before + self._count:  # noqa: ASYNC110 - a file
                await asyncio.sleep(0.05)
        await ready(self._world)

    async def __aexit__(self, *_: object) -> None:
        for process in self._processes:
            process.__exit__(None, None, None)


async def keys_of(world: World) -> list[KeyV1]:
    return list((await world.router.request(ListPlatformKeysV1(), KeysV1)).items)


async def leased(world: World, key: KeyV1, workspace_id: int = 7, **changes: Any) -> LeaseV1:
    return await world.lease(key, workspace_id=workspace_id, **{"funds": Funds.PLATFORM} | changes)


async def refused(awaited: Any) -> Code:
    with pytest.raises(OmniError) as caught:
        await awaited
    return Code(caught.value.code)


async def test_a_key_is_taken_kept_replaced_and_revoked(world: World) -> None:
    async with vault(world, SECRETS[0]):
        [key] = await keys_of(world)
        assert (key.workspace_id, key.provider, key.version, key.host) == (0, "openai", 1, HOST)
        assert world.admitted == [key.id]
        assert world.opened(await leased(world, key)) == SECRETS[0]
    before, told = world.sql(ROWS), len(await audited(world))
    async with vault(world, SECRETS[0]):
        assert world.sql(ROWS) == before, "the same key again writes nothing"
    async with vault(world, SECRETS[1]):
        [again] = await keys_of(world)
        assert (again.id, again.version) == (key.id, 2)
        assert world.opened(await leased(world, again)) == SECRETS[1]
    async with vault(world, None):
        [ended] = await keys_of(world)
        assert (ended.id, ended.status) == (key.id, KeyStatus.REVOKED)
        assert world.blocked[:1] == [key.id], "blocked at metering first"
        assert await refused(leased(world, ended)) is Code.MISSING_KEY
    async with vault(world, SECRETS[2]):
        new = (await keys_of(world))[-1]
        assert new.id != key.id
        assert world.opened(await leased(world, new)) == SECRETS[2]
        entries = (await world.audit(0))[told:]
        assert [entry.action for entry in entries] == ["secret_replaced", "key_revoked", "key_created"]
        assert {(entry.actor.kind, entry.actor.id) for entry in entries} == {("service", "vault")}
        assert (await world.verify_audit(0)).intact


async def audited(world: World) -> list[tuple[object, ...]]:
    return world.sql("SELECT seq FROM key_audit WHERE workspace_id = 0")


async def test_replicas_that_start_together_make_one(world: World) -> None:
    before = len(await audited(world))
    async with vault(world, SECRETS[0], replicas=3):
        [key] = await keys_of(world)
        assert world.opened(await leased(world, key)) == SECRETS[0]
    async with vault(world, SECRETS[1], replicas=3):
        [again] = await keys_of(world)
        assert (again.id, again.version) == (key.id, 2)
    deks = world.sql("SELECT count(*) FROM workspace_deks WHERE workspace_id = 0 AND active")
    print(f"3 vaults started together, twice: {len(await audited(world)) - before} changes, {deks[0][0]} data key")
    assert len(await audited(world)) == before + 2
    assert deks == [(1,)]


async def test_no_workspace_sees_it_or_is_leased_it_as_its_own(world: World) -> None:
    async with vault(world, SECRETS[0]):
        [key] = await keys_of(world)
        own = await world.create(SECRETS[1], workspace_id=7)
        asked = [
            world.api.request(GetKeyV1(workspace_id=who, key_id=key.id), KeyV1) for who in (None, 0, 7)
        ] + [
            world.api.request(UpdateKeyV1(workspace_id=0, key_id=key.id, label="x"), KeyV1),
            world.api.request(RevokeKeyV1(workspace_id=0, key_id=key.id), Done),
            leased(world, own),
            leased(world, key, funds=Funds.OWN),
        ]  # fmt: skip
        assert [await refused(one) for one in asked] == [Code.NOT_FOUND] * 7
        bad = [
            world.api.request(ListKeysV1(workspace_id=0), KeysV1),
            world.create(SECRETS[2], workspace_id=0),
            leased(world, key, workspace_id=0, funds=Funds.OWN),
            leased(world, key, workspace_id=0),
        ]
        assert [await refused(one) for one in bad] == [Code.INVALID_REQUEST] * 4
        assert [one.id for one in (await world.api.request(ListKeysV1(workspace_id=7), KeysV1)).items] == [own.id]
        lease = await leased(world, key)
        assert lease.workspace_id == 0, "it is bound to whose key it is"
        verdict = RecordVerdictV1(workspace_id=0, key_id=key.id, version=1, status=KeyStatus.INVALID, reason="x")
        assert (await world.router.request(verdict, KeyV1)).status is KeyStatus.INVALID
        wrong = verdict.model_copy(update={"workspace_id": 7})
        assert await refused(world.router.request(wrong, KeyV1)) is Code.NOT_FOUND
        assert await refused(leased(world, key)) is Code.MISSING_KEY
        print(f"requests about a key of the platform that are refused: {len(asked) + len(bad)}")


async def test_it_follows_its_provider_only_where_the_environment_allows(world: World) -> None:
    async with vault(world, SECRETS[0], OMNIPOST_ALLOWED_PRIVATE_HOSTS="127.0.0.1"):
        for place, bound in (("http://127.0.0.1:9", "http://127.0.0.1:9"), ("evil.example", HOST)):
            world.hosts["openai"] = place
            while not world.news.empty():
                world.news.get_nowait()
            await world.router.announce(CatalogueChangedV1())
            async with asyncio.timeout(10):
                await world.news.get()
            [key] = await keys_of(world)
            assert key.host == bound
            assert world.opened(await leased(world, key)) == SECRETS[0]
    assert b"does not follow its provider" in world.log.read_bytes()


async def test_it_waits_for_metering_and_serves_meanwhile(world: World) -> None:
    world.metering_away = True
    with served(world):
        await ready(world)
        assert await keys_of(world) == [], "not stored before it can be paid for"
        await world.create(SECRETS[1], workspace_id=7)
        world.metering_away = False
        async with asyncio.timeout(30):
            while not await keys_of(world):  # noqa: ASYNC110 - asked over the bus
                await asyncio.sleep(0.1)
    assert len(set(world.admitted)) == 1


@contextmanager
def served(world: World) -> Any:
    with vault_process(world, PASSPHRASE, OPENAI_API_KEY=SECRETS[0]):
        yield


async def test_no_secret_is_logged_or_stored(world: World) -> None:
    async with vault(world, SECRETS[0]):
        [key] = await keys_of(world)
    log, stored = world.log.read_bytes(), str(world.sql(ROWS))
    rows = str(world.sql("SELECT facts FROM key_audit WHERE workspace_id = 0"))
    for secret in SECRETS:
        assert secret[12:28] not in log.decode() + stored + rows
    assert key.masked_key.endswith(SECRETS[0][-4:])
