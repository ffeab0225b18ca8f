"""The stores' own statements with their workspace filter taken out: row-level security alone keeps workspaces apart.

Each is asked twice: on its own workspace's rows, where nothing foreign may be met, and on every workspace's, where it
must be, or else the filter was not out and the first answer proves nothing.
"""

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import event
from sqlmodel.ext.asyncio.session import AsyncSession

from services.api.store import Store as EdgeStore
from services.api.store import TokenRow
from services.metering.budgets import Budgets
from services.metering.reports import Reports
from services.metering.store import CallFilter
from services.metering.store import Store as MeteringStore
from services.router.store import AliasRow
from services.router.store import Store as RouterStore
from services.vault.store import KeyRow
from services.vault.store import Store as VaultStore
from shared.db import EVERY_WORKSPACE, Database, Scope
from shared.schemas import service_url
from tests.integration.isolation_world import MINE, NOW, THEIRS, fill
from tests.integration.servers import PASSWORD, migrated_postgres

# What our statements say of a workspace, in SQLAlchemy's words and in ours; behind SET it assigns, it does not filter.
FILTER = re.compile(r"(?:\w+\.)?workspace_id = %\(\w+\)s(?:::\w+)?")
MY_ROW, THEIR_ROW = UUID(int=MINE), UUID(int=THEIRS)
Met = set[int]


class Unfiltered(Database):
    """A database whose statements have lost their workspace filter; ``guarded`` False: row-level security's too."""

    def __init__(self, url: str, *, guarded: bool) -> None:
        super().__init__(url)
        self._guarded, self.changed = guarded, 0
        event.listen(self._engine.sync_engine, "before_cursor_execute", self._unfilter, retval=True)

    @asynccontextmanager
    async def session(self, scope: Scope) -> AsyncIterator[AsyncSession]:
        """On the rows asked for, or on all."""
        async with super().session(scope if self._guarded else EVERY_WORKSPACE) as session:
            yield session

    def _unfilter(self, _c: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> tuple[str, Any]:
        before, where, after = statement.partition("WHERE")
        after, changes = FILTER.subn(r"(\g<0> OR true)", after)
        self.changed += changes
        return before + where + after, parameters


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with migrated_postgres(tmp_path_factory.mktemp("unfiltered")) as postgres:
        fill(postgres.url)
        yield postgres.url


@asynccontextmanager
async def unfiltered(url: str, service: str, *, guarded: bool) -> AsyncIterator[Unfiltered]:
    database = Unfiltered(service_url(url, service, PASSWORD), guarded=guarded)
    try:
        yield database
    finally:
        await database.close()


async def _tokens(database: Database) -> Met:
    return {row.workspace_id or 0 for row in await EdgeStore(database).tokens(MINE)}


async def _aliases(database: Database) -> Met:
    return {row.workspace_id for row in await RouterStore(database).aliases(MINE)}


async def _budgets(database: Database) -> Met:
    return {account.workspace_id for account in await Budgets(database).all(MINE, NOW)}


async def _calls(database: Database) -> Met:
    return {row["workspace_id"] for row in await MeteringStore(database).calls(CallFilter(MINE), 100)}


async def _usage(database: Database) -> Met:
    report = await Reports(database).report(MINE, None, None, "key", NOW)
    keys = [UUID(name) for name, _ in report.groups if name] + [charge.owner[1] for charge in report.charges]
    return {key.int for key in keys if key}


async def _held(database: Database) -> Met:
    # Theirs is held too: without the filter on the workspace it is the key id that would find it.
    return {THEIRS if await Budgets(database).block_key(MINE, THEIR_ROW, NOW) else MINE}


async def _keys(database: Database) -> Met:
    async with VaultStore(database).transaction(MINE) as rows:
        return {key.workspace_id for key in await rows.keys(MINE, None)}


async def _leased(database: Database) -> Met:
    async with VaultStore(database).transaction(MINE) as rows:
        found = await rows.key_with_dek(MINE, THEIR_ROW)
    return {found[0].workspace_id if found else MINE}


READS: dict[str, tuple[str, Callable[[Database], Awaitable[Met]]]] = {
    "tokens": ("api", _tokens),
    "aliases": ("router", _aliases),
    "budgets": ("metering", _budgets),
    "calls": ("metering", _calls),
    "usage": ("metering", _usage),
    "held": ("metering", _held),
    "keys": ("vault", _keys),
    "leased": ("vault", _leased),
}


@pytest.mark.parametrize("name", READS)
async def test_a_read_without_its_filter_meets_no_foreign_row(url: str, name: str) -> None:
    service, read = READS[name]
    async with unfiltered(url, service, guarded=True) as database:
        assert await read(database) == {MINE}
        assert database.changed, "a filter was taken out"
    async with unfiltered(url, service, guarded=False) as database:
        assert THEIRS in await read(database)


async def test_a_write_without_its_filter_reaches_no_foreign_row(url: str) -> None:
    async with unfiltered(url, "api", guarded=True) as database:
        assert not await EdgeStore(database).revoke_token(THEIR_ROW, MINE, NOW)
        assert database.changed
    async with unfiltered(url, "api", guarded=False) as database:
        assert await EdgeStore(database).revoke_token(THEIR_ROW, MINE, NOW)


async def test_a_row_asked_for_by_id_alone_is_not_there_for_another_workspace(url: str) -> None:
    for service, kind in (("router", AliasRow), ("vault", KeyRow), ("api", TokenRow)):
        async with unfiltered(url, service, guarded=True) as database:
            async with database.session(MINE) as session:
                assert await session.get(kind, MY_ROW) is not None
                assert await session.get(kind, THEIR_ROW) is None
                assert await session.get(kind, THEIR_ROW, with_for_update=True) is None
            async with database.session(EVERY_WORKSPACE) as session:
                assert await session.get(kind, THEIR_ROW) is not None


async def test_a_store_asked_for_another_workspaces_row_by_its_id_changes_nothing(url: str) -> None:
    async with unfiltered(url, "router", guarded=True) as database:
        store = RouterStore(database)
        assert await store.alias(THEIR_ROW, MINE) is None
        assert await store.change_alias(THEIR_ROW, MINE, lambda row: setattr(row, "alias_name", "mine now")) is None
        assert await store.change_alias(MY_ROW, MINE, lambda row: setattr(row, "display_name", "B")) is not None
    async with unfiltered(url, "vault", guarded=True) as database:
        async with VaultStore(database).transaction(THEIRS) as rows:
            key = await rows.key(THEIR_ROW)
        assert key is not None
        async with VaultStore(database).transaction(MINE) as rows:
            assert await rows.key(THEIR_ROW, lock=True) is None
