"""A thousand stored keys whose rows somebody with all rights in the database has changed: none can be leased."""

import asyncio
import re
from collections.abc import AsyncIterator, Coroutine
from dataclasses import dataclass
from secrets import token_hex
from typing import Any, Self, TypeVar
from uuid import uuid4

import psycopg
import pytest

from shared import sealing
from shared.errors import OmniError
from shared.messages.vault import CreateKeyV1, KeyV1, LeaseKeyV1, LeaseV1, UpdateKeyV1
from shared.messages.vocabulary import Modality
from shared.testing.stack import full_run
from tests.integration.vault_world import World, vault_world

ROWS = 1000
WORKSPACES = 20
# No more than the vault has connections: what waits too long for one is an outage and refuses nothing.
AT_ONCE = 10
# All rows are altered, but only every eighth is asked for, others each time; with FULL=1 all are.
TURNS = 8
KEYS, DEKS = "ai_provider_keys", "workspace_deks"
REFUSED = re.compile(r"not_found: |unavailable: This key cannot be opened\.")
T = TypeVar("T")
Place = tuple[int, str, str]
# Partners are keys of any two workspaces, and data keys of two workspaces of which both or none are in use.
ORDERS = {KEYS: "id", DEKS: "active, id"}
# Where the parts of an envelope begin: format, layer, salt, commitment, ciphertext; the last is the tag's last byte.
_PARTS = {"format": 0, "layer": 1, "salt": 2, "commitment": 34, "ciphertext": 66, "tag": -1}


@dataclass(frozen=True)
class Alteration:
    """``columns`` of ``table`` are set to SQL expressions over the row ``mine`` and its partner ``other``.

    In ``order``, row 2n and row 2n + 1 are partners.
    """

    name: str
    table: str
    columns: dict[str, str]
    order: str


def _swap(table: str, *columns: str, order: str = "") -> Alteration:
    name = f"{table}: {' and '.join(columns)} swapped{' within the workspace' if order else ''}"
    return Alteration(name, table, {name: f"other.{name}" for name in columns}, order or ORDERS[table])


def _flip(table: str, column: str, expression: str, part: str = "") -> Alteration:
    name = f"{table}: {f'{column} ({part})' if part else column} flipped"
    return Alteration(name, table, {column: expression}, ORDERS[table])


def _bit(column: str, place: int) -> str:
    at = str(place) if place >= 0 else f"length(mine.{column}) + {place}"
    return f"set_byte(mine.{column}, {at}, get_byte(mine.{column}, {at}) # (1 << (mine.place % 8)::int))"


def _uuid_bit(column: str) -> str:
    raw = f"decode(replace(mine.{column}::text, '-', ''), 'hex')"
    flipped = f"set_byte({raw}, 15, get_byte({raw}, 15) # (1 << (mine.place % 8)::int))"
    return f"encode({flipped}, 'hex')::uuid"


ALTERATIONS = (
    *(_swap(KEYS, name) for name in ("id", "workspace_id", "provider", "host", "version", "dek_id", "ciphertext")),
    _swap(KEYS, "workspace_id", "dek_id"),
    _swap(KEYS, "dek_id", order="workspace_id, md5(id::text)"),
    _swap(KEYS, "ciphertext", order="workspace_id, md5(id::text)"),
    _swap(KEYS, "ciphertext", "version"),
    _swap(KEYS, "ciphertext", "dek_id", "workspace_id"),
    _swap(KEYS, "provider", "host", "version", "dek_id", "ciphertext"),
    _flip(KEYS, "id", _uuid_bit("id")),
    _flip(KEYS, "workspace_id", "mine.workspace_id # 64"),
    _flip(KEYS, "provider", "mine.provider || 'x'"),
    _flip(KEYS, "host", "'x' || mine.host"),
    _flip(KEYS, "version", "mine.version # 4"),
    _flip(KEYS, "dek_id", _uuid_bit("dek_id")),
    *(_flip(KEYS, "ciphertext", _bit("ciphertext", place), part) for part, place in _PARTS.items()),
    *(_swap(DEKS, name) for name in ("id", "workspace_id", "wrapped")),
    _swap(DEKS, "workspace_id", "wrapped"),
    _swap(DEKS, "wrapped", order="workspace_id, id"),
    _swap(DEKS, "id", order="workspace_id, id"),
    _flip(DEKS, "id", _uuid_bit("id")),
    _flip(DEKS, "workspace_id", "mine.workspace_id # 64"),
    _flip(DEKS, "kek_id", "mine.kek_id || '0'"),
    *(_flip(DEKS, "wrapped", _bit("wrapped", place), part) for part, place in _PARTS.items()),
)


@pytest.fixture(scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with vault_world(tmp_path_factory.mktemp("swaps")) as made:
        yield made


@pytest.mark.timeout(300)
async def test_whatever_is_swapped_or_flipped_between_stored_keys_none_opens(world: World) -> None:
    stored = await _store(world)
    assert len(stored) == ROWS
    with _Tables(world) as tables:
        assert await _leased(world, tables.restored()) == stored, "as they are, all of them open"
        altered = tried = refused = 0
        for number, alteration in enumerate(ALTERATIONS):
            places = tables.altered(alteration)
            asked = places if full_run() else places[number % TURNS :: TURNS]
            opened = await _leased(world, asked)
            print(f"{alteration.name}: altered={len(places)} asked={len(asked)} opened={len(opened)}")
            assert len(places) > ROWS / 3, alteration.name
            altered, tried, refused = altered + len(places), tried + len(asked), refused + len(asked) - len(opened)
        assert await _leased(world, tables.restored()) == stored, "and again"
    print(f"stored keys: rows={ROWS} alterations={len(ALTERATIONS)} altered={altered} asked={tried} refused={refused}")
    assert refused == tried
    assert tried > 4 * ROWS


# -- the keys ------------------------------------------------------------------------------------------------


async def _store(world: World) -> dict[str, str]:
    """Secrets by key id. Every workspace has two data keys with half of its keys each; half are at version 2."""
    secrets: dict[str, str] = {}
    for half in range(2):
        stored = await _gathered([_stored(world, number) for number in range(half, ROWS, 2)])
        secrets |= dict(stored)
        # The next key of a workspace makes a new data key.
        world.sql("UPDATE workspace_deks SET active = false WHERE %s = 0", half)
    return secrets


async def _stored(world: World, number: int) -> tuple[str, str]:
    key_id, workspace_id = str(uuid4()), 1 + number // 2 % WORKSPACES
    provider, host = f"provider-{number % 7}", f"host-{number % 11}.example"
    secret = f"sk-{number}-{token_hex(16)}"

    def sealed(text: str) -> str:
        return world.sealed(text, key_id=key_id, workspace_id=workspace_id, provider=provider, host=host)

    creation = CreateKeyV1(
        key_id=key_id,
        workspace_id=workspace_id,
        provider=provider,
        host=host,
        label="x",
        scopes=frozenset({Modality.TEXT}),
        sealed=sealed(secret),
    )
    await world.api.request(creation, KeyV1, timeout=20)
    if number % 4 < 2:
        secret += "-again"
        change = UpdateKeyV1(workspace_id=workspace_id, key_id=key_id, host=host, sealed=sealed(secret))
        await world.api.request(change, KeyV1, timeout=20)
    return key_id, secret


async def _leased(world: World, places: list[Place]) -> dict[str, str]:
    """What is in the leases that are granted, by key id."""
    return dict(filter(None, await _gathered([_lease(world, place) for place in places])))


async def _lease(world: World, place: Place) -> tuple[str, str] | None:
    workspace_id, key_id, host = place
    request = LeaseKeyV1(
        router_id="router-1",
        public_key=sealing.encode(world.router_key.public_key().public_bytes_raw()),
        workspace_id=workspace_id,
        key_id=str(key_id),
        host=host,
        scope=Modality.TEXT,
    )
    try:
        lease = await world.router.request(request, LeaseV1, timeout=20)
    except OmniError as error:
        if not REFUSED.match(str(error)):
            raise
        return None
    return str(key_id), world.opened(lease)


async def _gathered(coroutines: list[Coroutine[Any, Any, T]]) -> list[T]:
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(coroutine: Coroutine[Any, Any, T]) -> T:
        async with gate:
            return await coroutine

    return await asyncio.gather(*map(one, coroutines))


# -- the rows ------------------------------------------------------------------------------------------------


class _Tables:
    """The vault's two tables under the hands of their owner, who is kept back by no trigger and no foreign key."""

    def __init__(self, world: World) -> None:
        options = "-c search_path=vault -c session_replication_role=replica"
        self._connection = psycopg.connect(world.owner_url, autocommit=True, options=options)
        for table in (KEYS, DEKS):
            self._run("CREATE TABLE public.{} AS TABLE {}", f"kept_{table}", table)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def restored(self) -> list[Place]:
        """Both tables as they were; where every key is."""
        for table in (KEYS, DEKS):
            self._fill(table, {}, ORDERS[table])
        return self._run("SELECT workspace_id, id, host FROM {}", KEYS)

    def altered(self, alteration: Alteration) -> list[Place]:
        """The tables with that and no other alteration; where the keys it concerns are to be found now."""
        self.restored()
        self._fill(alteration.table, alteration.columns, alteration.order)
        if alteration.table == KEYS:
            # A row that got from its partner what it had itself is not altered.
            return self._run(
                "SELECT workspace_id, id, host FROM {} now WHERE NOT EXISTS (SELECT FROM public.{} kept"
                " WHERE (kept.id, kept.workspace_id, kept.provider, kept.host, kept.version, kept.dek_id,"
                " kept.ciphertext) = (now.id, now.workspace_id, now.provider, now.host, now.version, now.dek_id,"
                " now.ciphertext))", KEYS, f"kept_{KEYS}",
            )  # fmt: skip
        return self._run("SELECT workspace_id, id, host FROM {}", KEYS)

    def _fill(self, table: str, columns: dict[str, str], order: str) -> None:
        names = [name for (name,) in self._run("SELECT attname FROM pg_attribute WHERE attnum > 0 AND NOT attisdropped"
                                               " AND attrelid = '{}'::regclass", table)]  # fmt: skip
        values = ", ".join(columns.get(name, f"mine.{name}") for name in names)
        placed = f"SELECT *, row_number() OVER (ORDER BY {order}) - 1 AS place FROM public.kept_{table}"
        with self._connection.transaction():
            self._run("DELETE FROM {}", table)
            self._connection.execute(
                f"WITH placed AS ({placed}) INSERT INTO {table} ({', '.join(names)}) SELECT {values}"
                " FROM placed mine JOIN placed other ON other.place = (mine.place # 1)".encode()
            )

    def _run(self, statement: str, *tables: str) -> list[Any]:
        cursor = self._connection.execute(statement.format(*tables).encode())
        return cursor.fetchall() if cursor.description else []
