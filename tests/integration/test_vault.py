"""The vault as a process: storing, leasing and revoking keys over NATS and PostgreSQL."""

import asyncio
import base64
import secrets
import signal
import time
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import pytest

from shared.errors import ADD_A_KEY, Code, OmniError
from shared.messages.base import Done
from shared.messages.vault import (
    GetKeyV1,
    KeysV1,
    KeyV1,
    ListKeysV1,
    RecordVerdictV1,
    RevokeKeyV1,
    UpdateKeyV1,
)
from shared.messages.vocabulary import KeyStatus, Modality
from tests.integration.vault_world import HOST, World, replicas, vault_process, vault_world

SECRET = "sk-proj-" + secrets.token_hex(20)


@pytest.fixture(scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with vault_world(tmp_path_factory.mktemp("vault")) as made:
        yield made


async def verdict(world: World, key: KeyV1, status: KeyStatus, version: int = 1) -> KeyV1:
    message = RecordVerdictV1(
        workspace_id=key.workspace_id, key_id=key.id, version=version, status=status, reason="refused_by_provider"
    )
    return await world.router.request(message, KeyV1)


async def refusal(awaited: object) -> OmniError:
    with pytest.raises(OmniError) as caught:
        await awaited  # type: ignore[misc]
    return caught.value


async def test_a_stored_key_comes_back_only_as_a_lease(world: World) -> None:
    key = await world.create(SECRET)
    assert (key.status, key.version, key.masked_key) == (KeyStatus.UNVERIFIED, 1, f"sk-proj-…{SECRET[-4:]}")
    lease = await world.lease(key)
    assert world.opened(lease) == SECRET
    assert 25 < lease.expires_at.timestamp() - time.time() <= 30  # noqa: TID251 - compared with the vault's own clock
    assert SECRET not in key.model_dump_json() + lease.model_dump_json() + repr(lease)


async def test_a_lease_needs_scope_host_workspace_and_a_sound_public_key(world: World) -> None:
    key = await world.create(SECRET)
    error = await refusal(world.lease(key, Modality.VIDEO))
    assert error.code is Code.UNSUPPORTED_SCOPE
    assert error.detail == "This key doesn't allow video. Enable 'video' scope or pick another alias."
    assert error.extra == {"scope": "video", "key_id": key.id}
    assert world.opened(await world.lease(key, Modality.VIDEO, verifying=True)) == SECRET
    assert (await refusal(world.lease(key, host="evil.example"))).code is Code.CONFLICT
    assert (await refusal(world.lease(key, host="evil.example", verifying=True))).code is Code.CONFLICT
    assert (await refusal(world.lease(key, workspace_id=2))).code is Code.NOT_FOUND
    assert (await refusal(world.lease(key, key_id="nonsense"))).code is Code.NOT_FOUND
    for public_key in ("", "?", base64.b64encode(bytes(31)).decode(), base64.b64encode(bytes(32)).decode()):
        assert (await refusal(world.lease(key, public_key=public_key))).code is Code.INVALID_REQUEST


async def test_creating_again_is_the_same_key_or_a_conflict(world: World) -> None:
    request = world.creation(SECRET)
    first = await world.api.request(request, KeyV1)
    assert await world.api.request(request, KeyV1) == first
    again: dict[str, Any] = {"key_id": request.key_id}
    assert (await refusal(world.create("sk-another-secret-123", **again))).code is Code.CONFLICT
    assert (await refusal(world.create(SECRET, label="Other", **again))).code is Code.CONFLICT
    assert (await refusal(world.create(SECRET, workspace_id=2, **again))).code is Code.CONFLICT
    assert world.opened(await world.lease(first)) == SECRET


async def test_bad_input_is_refused_without_an_echo(world: World) -> None:
    canary = "sk-canary with-space"
    bad = [
        world.creation(canary),
        world.creation("short"),
        world.creation(SECRET, key_id="not-a-uuid"),
        world.creation(SECRET, label="a\x00b"),
        world.creation(SECRET, workspace_id=2**63),
        world.creation(SECRET).model_copy(update={"host": "evil.example"}),
        world.creation(SECRET).model_copy(update={"sealed": "%"}),
    ]
    for request in bad:
        error = await refusal(world.api.request(request, KeyV1))
        assert error.code is Code.INVALID_REQUEST
        assert "canary" not in str(error)


async def test_twenty_first_keys_at_once_share_one_data_key(world: World) -> None:
    made = await asyncio.gather(*(world.create(f"{SECRET}-{n}", workspace_id=77) for n in range(20)))
    assert len({key.id for key in made}) == 20
    assert world.sql("SELECT count(*) FROM workspace_deks WHERE workspace_id = 77") == [(1,)]
    leases = await asyncio.gather(*(world.lease(key) for key in made))
    assert [world.opened(lease) for lease in leases] == [f"{SECRET}-{n}" for n in range(20)]


async def test_workspaces_see_their_own_keys_only(world: World) -> None:
    mine, other = await world.create(SECRET, workspace_id=501), await world.create(SECRET, workspace_id=502)
    groq = await world.create(SECRET, workspace_id=501, provider="groq")
    listed = await world.api.request(ListKeysV1(workspace_id=501), KeysV1)
    assert [key.id for key in listed.items] == [mine.id, groq.id]
    narrowed = ListKeysV1(workspace_id=501, providers=frozenset({"groq"}))
    assert [key.id for key in (await world.router.request(narrowed, KeysV1)).items] == [groq.id]
    assert await world.api.request(GetKeyV1(workspace_id=None, key_id=other.id), KeyV1) == other
    foreign = [
        GetKeyV1(workspace_id=501, key_id=other.id),
        UpdateKeyV1(workspace_id=501, key_id=other.id, label="mine now"),
        RevokeKeyV1(workspace_id=501, key_id=other.id),
    ]
    for request in foreign:
        assert (await refusal(world.api.request(request, KeyV1))).code is Code.NOT_FOUND
    assert (await refusal(verdict(world, other.model_copy(update={"workspace_id": 501}), KeyStatus.INVALID))).code


async def test_a_refused_key_is_fixed_by_entering_it_again(world: World) -> None:
    key = await world.create(SECRET)
    invalid = await verdict(world, key, KeyStatus.INVALID)
    assert (invalid.status, invalid.status_reason) == (KeyStatus.INVALID, "refused_by_provider")
    assert invalid.last_verified_at
    error = await refusal(world.lease(key))
    assert (error.code, error.detail) == (Code.MISSING_KEY, ADD_A_KEY)
    assert error.extra == {"key_id": key.id, "key_status": "invalid", "reason": "refused_by_provider"}

    place: dict[str, Any] = {"key_id": key.id, "workspace_id": 1, "provider": "openai", "host": "new.example:8443"}
    update = UpdateKeyV1(
        workspace_id=1,
        key_id=key.id,
        label="Fixed",
        host="new.example:8443",
        sealed=world.sealed("sk-ant-" + "f" * 40 + "wxyz", **place),
    )
    fixed = await world.api.request(update, KeyV1)
    assert (fixed.version, fixed.status, fixed.masked_key) == (2, KeyStatus.UNVERIFIED, "sk-ant-…wxyz")
    assert (fixed.label, fixed.host, fixed.last_verified_at) == ("Fixed", "new.example:8443", None)
    assert (await verdict(world, key, KeyStatus.INVALID, version=1)).status is KeyStatus.UNVERIFIED
    assert (await verdict(world, key, KeyStatus.ACTIVE, version=2)).status is KeyStatus.ACTIVE
    assert world.opened(await world.lease(fixed)) == "sk-ant-" + "f" * 40 + "wxyz"
    alone = UpdateKeyV1(workspace_id=1, key_id=key.id, host=HOST)
    assert (await refusal(world.api.request(alone, KeyV1))).code is Code.INVALID_REQUEST


async def test_revoking_blocks_first_then_destroys_for_good(world: World) -> None:
    key = await world.create(SECRET)
    while not world.news.empty():
        world.news.get_nowait()
    request = RevokeKeyV1(workspace_id=1, key_id=key.id)
    await world.api.request(request, Done)
    assert world.blocked[-1] == key.id
    event = await asyncio.wait_for(world.news.get(), 5)
    assert (event.key_id, event.revoked) == (key.id, True)
    assert world.sql("SELECT ciphertext, status FROM ai_provider_keys WHERE id = %s", key.id) == [(None, "revoked")]
    assert await world.api.request(request, Done) == Done()
    for verifying in (False, True):
        error = await refusal(world.lease(key, verifying=verifying))
        assert (error.code, error.extra["key_status"]) == (Code.MISSING_KEY, "revoked")
    assert (await verdict(world, key, KeyStatus.ACTIVE)).status is KeyStatus.REVOKED
    update = UpdateKeyV1(workspace_id=1, key_id=key.id, label="back")
    assert (await refusal(world.api.request(update, KeyV1))).code is Code.CONFLICT
    assert (await refusal(world.create(SECRET, key_id=key.id))).code is Code.CONFLICT


async def test_without_metering_nothing_is_revoked(world: World) -> None:
    key = await world.create(SECRET)
    world.metering_away = True
    try:
        error = await refusal(world.api.request(RevokeKeyV1(workspace_id=1, key_id=key.id), Done, timeout=5))
    finally:
        world.metering_away = False
    assert error.code is Code.UNAVAILABLE
    assert world.opened(await world.lease(key)) == SECRET
    assert await world.api.request(GetKeyV1(workspace_id=1, key_id=key.id), KeyV1) == key


async def test_a_ciphertext_moved_to_another_row_does_not_open(world: World) -> None:
    first, second = await world.create(SECRET, workspace_id=9), await world.create(SECRET + "2", workspace_id=9)
    moved = "UPDATE ai_provider_keys SET ciphertext = (SELECT ciphertext FROM ai_provider_keys WHERE id = %s)"
    world.sql(moved + " WHERE id = %s", first.id, second.id)
    error = await refusal(world.lease(second))
    assert (error.code, error.extra) == (Code.UNAVAILABLE, {"key_id": second.id})
    world.sql("UPDATE ai_provider_keys SET host = 'evil.example' WHERE id = %s", first.id)
    assert (await refusal(world.lease(first, host="evil.example"))).code is Code.UNAVAILABLE


async def test_another_kek_is_refused_at_start(world: World) -> None:
    await world.create(SECRET)
    for kek, reason in (("another passphrase, long", b"is not the one"), ("weak", b"AI_ENCRYPTION_KEY is refused")):
        before = len(world.log.read_bytes())
        with vault_process(world, kek) as process:
            assert await asyncio.to_thread(process.wait, 20) == 1
        said = world.log.read_bytes()[before:]
        assert reason in said
        assert kek.encode() not in said.replace(b"is refused", b"")


async def test_a_replica_takes_part_and_leaves_in_order(world: World) -> None:
    key = await world.create(SECRET)
    with vault_process(world, "correct horse battery staple") as process:
        await replicas(world, 2)
        leases = await asyncio.gather(*(world.lease(key) for _ in range(50)))
        process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(process.wait, 15) == 0
    assert {world.opened(lease) for lease in leases} == {SECRET}


async def test_no_secret_reaches_the_log_or_the_database(world: World) -> None:
    canary = f"sk-canary-{uuid4().hex}"
    key = await world.create(canary)
    await world.lease(key)
    await refusal(world.api.request(world.creation(canary + " "), KeyV1))
    log = world.log.read_bytes()
    dump = repr(world.sql("SELECT k::text FROM ai_provider_keys k")) + repr(world.sql("SELECT * FROM workspace_deks"))
    forms = {
        canary,
        canary[4:20],
        canary.encode().hex(),
        base64.b64encode(canary.encode()).decode()[:40],
        quote(canary),
    }
    found = [form for form in forms if form.encode() in log or form in dump]
    print(f"\ncanary found {len(found)} times in {len(log)} bytes of log and {len(dump)} characters of tables")
    assert not found
