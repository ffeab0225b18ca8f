"""The key audit on a real database: written with every change, proof against whoever owns the database."""

import asyncio
import json
import random
import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest

from shared.errors import Code, OmniError
from shared.messages.base import Done, Service
from shared.messages.custody import ActorV1, AuditEntryV1
from shared.messages.vault import KeyV1, RecordVerdictV1, RestrictionsV1, RevokeKeyV1, UpdateKeyV1
from shared.messages.vocabulary import KeyStatus, Modality
from shared.migrate import migrate
from shared.telemetry import Telemetry
from tests.integration.vault_world import HOST, World, vault_world

SECRET = "sk-proj-" + secrets.token_hex(20)
ACTOR = ActorV1(kind="token", id="token-1", role="admin", address="192.0.2.7")
TRACE = "0af7651916cd43dd8448eb211c80319c"
ENTRIES = 200


@pytest.fixture(scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with vault_world(tmp_path_factory.mktemp("vault")) as made:
        yield made


async def labelled(world: World, key: KeyV1, label: str) -> KeyV1:
    change = UpdateKeyV1(workspace_id=key.workspace_id, key_id=key.id, label=label, actor=ACTOR)
    return await world.api.request(change, KeyV1)


async def verdict(world: World, key: KeyV1, status: KeyStatus, **more: Any) -> KeyV1:
    message = RecordVerdictV1(workspace_id=key.workspace_id, key_id=key.id, version=key.version, status=status, **more)
    return await world.router.request(message, KeyV1)


async def test_a_life_is_told_entry_by_entry(world: World) -> None:
    telemetry = Telemetry(Service.API, None)
    with telemetry.root("request", f"00-{TRACE}-b7ad6b7169203331-01"):
        key = await world.create(SECRET, workspace_id=31, actor=ACTOR)
    await world.create(SECRET, workspace_id=31, key_id=key.id)  # a repetition changes nothing
    await labelled(world, key, key.label)  # nor does the label it has
    narrowed = RestrictionsV1(models=frozenset({"gpt-4o*"}))
    scopes = frozenset({Modality.IMAGE, Modality.TEXT})
    place: dict[str, Any] = {"key_id": key.id, "workspace_id": 31, "provider": "openai", "host": HOST}
    change = UpdateKeyV1(
        workspace_id=31, key_id=key.id, label="S3cret words", scopes=scopes, restrictions=narrowed, host=HOST,
        sealed=world.sealed(SECRET + "2", **place), actor=ACTOR,
    )  # fmt: skip
    key = await world.api.request(change, KeyV1)
    await verdict(world, key, KeyStatus.UNVERIFIED, reason="provider_unreachable")
    await verdict(world, key, KeyStatus.ACTIVE)
    await verdict(world, key, KeyStatus.ACTIVE)
    await verdict(world, key, KeyStatus.INVALID, reason="refused_by_provider", source="traffic")
    for _ in range(2):
        await world.api.request(RevokeKeyV1(workspace_id=31, key_id=key.id), Done)
    await verdict(world, key, KeyStatus.ACTIVE)  # too late to revive it

    told = await world.audit(31)
    created = {"provider": "openai", "host": HOST, "scopes": "text", "restricted": False}
    changed = {"label": True, "restrictions": True, "scopes": "image,text", "scopes_before": "text"}
    api, router = ActorV1(kind="service", id="api"), ActorV1(kind="service", id="router")
    assert [(entry.action, entry.actor, entry.facts) for entry in told] == [
        ("key_created", ACTOR, created),
        ("key_changed", ACTOR, changed),
        ("secret_replaced", ACTOR, {"version": 2, "host": HOST}),
        ("key_verified", router, {"version": 2, "source": "check", "reason": None}),
        ("key_refused", router, {"version": 2, "source": "traffic", "reason": "refused_by_provider"}),
        ("key_revoked", api, {"version": 2}),
    ]
    assert told[0].trace_id == TRACE
    assert {entry.key_id for entry in told} == {key.id}
    text = "".join(entry.model_dump_json() for entry in told)
    assert not [word for word in (SECRET, SECRET[-4:], "S3cret words") if word in text]
    assert (await world.verify_audit(31)).intact


async def test_the_log_witnesses_every_head(world: World) -> None:
    key = await world.create(SECRET, workspace_id=32)
    await labelled(world, key, "Other")
    lines = [json.loads(line) for line in world.log.read_text().splitlines() if '"audited"' in line]
    heads = [(line["seq"], line["hash"]) for line in lines if line["workspace_id"] == 32]
    assert heads == [(entry.seq, entry.hash) for entry in await world.audit(32)]
    assert [seq for seq, _ in heads] == [1, 2]


async def test_pages_are_narrowed_and_other_workspaces_are_not_seen(world: World) -> None:
    keys = [await world.create(SECRET, workspace_id=33) for _ in range(3)]
    for number in range(6):
        await labelled(world, keys[number % 3], f"label {number}")
    told = await world.audit(33, limit=4)
    assert [entry.seq for entry in told] == list(range(1, 10))
    narrowed = await world.audit(33, limit=2, key_id=keys[1].id)
    assert [entry.seq for entry in narrowed] == [2, 5, 8]
    assert await world.audit(34) == []
    assert (await world.verify_audit(34)).entries == 0


async def test_fifty_changes_at_once_make_one_unbroken_chain(world: World) -> None:
    keys = [await world.create(SECRET, workspace_id=35) for _ in range(5)]
    changes = [labelled(world, keys[number % 5], f"at once {number}") for number in range(40)]
    created = [world.create(SECRET, workspace_id=35) for _ in range(10)]
    await asyncio.gather(*changes, *created)
    found = await world.verify_audit(35)
    assert (found.intact, found.entries) == (True, 55)
    assert [entry.seq for entry in await world.audit(35)] == list(range(1, 56))
    print(f"\nconcurrent changes=50 entries={found.entries} intact={found.intact}")


async def test_no_change_without_its_entry(world: World) -> None:
    key = await world.create(SECRET, workspace_id=36)
    role = str(world.sql("SELECT rolname::text FROM pg_roles WHERE rolname LIKE '%%vault'")[0][0])
    world.sql(f"REVOKE INSERT ON key_audit FROM {role}")
    try:
        for change in (
            labelled(world, key, "unseen"),
            world.create(SECRET, workspace_id=36),
            verdict(world, key, KeyStatus.ACTIVE),
            world.api.request(RevokeKeyV1(workspace_id=36, key_id=key.id), Done),
        ):
            with pytest.raises(OmniError):
                await change
    finally:
        world.sql(f"GRANT INSERT ON key_audit TO {role}")
    assert world.sql("SELECT label, status FROM ai_provider_keys WHERE workspace_id = 36") == [("Main", "unverified")]
    assert (await world.verify_audit(36)).entries == 1


REWRITES = (
    "UPDATE key_audit SET action = 'nothing'",
    "DELETE FROM key_audit",
    "TRUNCATE key_audit",
    "ALTER TABLE key_audit DISABLE TRIGGER ALL",
    "DROP TRIGGER append_only ON key_audit",
    "DROP TABLE key_audit",
)


async def test_nobody_rewrites_it(world: World) -> None:
    await world.create(SECRET, workspace_id=37)
    migrate(world.owner_url, world.folder / "passwords")  # grants anew what a service may do
    refused = 0
    with psycopg.connect(world.vault_url, autocommit=True, options="-c omnipost.workspace=*") as service:
        for statement in REWRITES:
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                service.execute(statement.encode())
            refused += 1
    for statement in REWRITES[:3]:
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="append-only"):
            world.sql(statement)
        refused += 1
    assert (await world.verify_audit(37)).intact
    print(f"\nrewrites tried={refused} refused={refused}")


# -- against the owner of the database, who can do anything but sign ---------------------------------------------

FORGERIES = {
    "at": "at + interval '1 microsecond'",
    "action": "'key_verified'",
    "key_id": "CASE WHEN key_id IS NULL THEN gen_random_uuid() END",
    "actor": """actor || '{"id": "somebody else"}'""",
    "trace_id": "CASE WHEN trace_id IS NULL THEN '' END",
    "facts": """facts || '{"label": false}'""",
    "previous": "set_byte(previous, 0, get_byte(previous, 0) # 1)",
    "hash": "set_byte(hash, 31, get_byte(hash, 31) # 1)",
}


@contextmanager
def tampering(world: World, *statements: str) -> Iterator[None]:
    """The owner gets rid of the trigger and rewrites workspace 40's audit, for a while."""
    world.sql("ALTER TABLE key_audit DISABLE TRIGGER ALL")
    for table in ("key_audit", "audit_heads"):
        world.sql(f"CREATE TABLE kept_{table} AS SELECT * FROM {table} WHERE workspace_id = 40")
    try:
        for statement in statements:
            world.sql(statement)
        yield
    finally:
        world.sql("DELETE FROM key_audit WHERE workspace_id IN (40, 41)")
        world.sql("DELETE FROM audit_heads WHERE workspace_id = 40")
        for table in ("key_audit", "audit_heads"):
            world.sql(f"INSERT INTO {table} SELECT * FROM kept_{table}")
            world.sql(f"DROP TABLE kept_{table}")
        world.sql("ALTER TABLE key_audit ENABLE TRIGGER ALL")


async def found_at(world: World, *statements: str) -> tuple[int | None, str | None]:
    with tampering(world, *statements):
        verdict = await world.verify_audit(40)
    assert not verdict.intact, statements
    return verdict.broken_at, verdict.fault


async def test_whatever_the_owner_does_is_found_at_its_place(world: World) -> None:
    key = await world.create(SECRET, workspace_id=40)
    for number in range(ENTRIES - 1):
        await labelled(world, key, f"label {number}")
    assert (await world.verify_audit(40)).entries == ENTRIES
    here, last, tried = "workspace_id = 40", f"workspace_id = 40 AND seq = {ENTRIES}", 0
    for seq in random.sample(range(2, ENTRIES - 1), 4):
        entry = f"{here} AND seq = {seq}"
        for field, forged in FORGERIES.items():
            one = f"UPDATE key_audit SET {field} = {forged} WHERE {entry}"
            assert await found_at(world, one) == (seq, "altered"), field
            tried += 1
        gone = f"DELETE FROM key_audit WHERE {entry}"
        moved = f"UPDATE key_audit SET workspace_id = 41 WHERE {entry}"
        renumbered = f"UPDATE key_audit SET seq = seq + 1000 WHERE {entry}"
        for one in (gone, moved, renumbered):
            assert await found_at(world, one) == (seq, "missing")
        swapped = f"UPDATE key_audit SET seq = CASE seq WHEN {seq} THEN -1 ELSE {seq} END WHERE {here} AND seq IN "
        swap = (
            "ALTER TABLE key_audit DROP CONSTRAINT key_audit_seq_check",
            swapped + f"({seq})",
            f"UPDATE key_audit SET seq = {seq} WHERE {here} AND seq = {seq + 1}",
            f"UPDATE key_audit SET seq = {seq + 1} WHERE {here} AND seq = -1",
            "ALTER TABLE key_audit ADD CONSTRAINT key_audit_seq_check CHECK (seq > 0)",
        )
        assert await found_at(world, *swap) == (seq, "altered")
        cut = f"DELETE FROM key_audit WHERE {here} AND seq >= {seq}"
        assert await found_at(world, cut) == (seq, "cut_off")
        back = (
            f"UPDATE audit_heads SET (seq, hash) = (SELECT seq, hash FROM key_audit WHERE {here} AND seq = {seq - 1})"
            f" WHERE {here}"
        )
        assert await found_at(world, cut, back) == (seq - 1, "altered")
        tried += 6
    assert await found_at(world, f"DELETE FROM key_audit WHERE {last}") == (ENTRIES, "cut_off")
    assert await found_at(world, f"DELETE FROM audit_heads WHERE {here}") == (ENTRIES, "missing")
    assert await found_at(world, f"DELETE FROM key_audit WHERE {here}") == (1, "cut_off")
    assert (await world.verify_audit(40)).intact
    print(f"\nstored audit: entries={ENTRIES} tampered={tried + 3} found={tried + 3}")


async def test_a_page_that_was_tampered_with_is_not_shown(world: World) -> None:
    await world.create(SECRET, workspace_id=40, key_id="00000000-0000-4000-8000-000000000040")
    assert isinstance((await world.audit(40))[0], AuditEntryV1)
    with tampering(world, "UPDATE key_audit SET actor = '[]' WHERE workspace_id = 40"):
        with pytest.raises(OmniError) as caught:
            await world.audit(40)
        assert caught.value.code is Code.UNAVAILABLE
