"""A connection on one workspace's rows touches no other's, whatever the statement: asked of every table there is."""

import re
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from psycopg.errors import ForeignKeyViolation, InsufficientPrivilege

from shared.db import EVERY_WORKSPACE
from shared.migrate import migrate
from shared.schemas import services
from tests.integration.isolation_world import (
    EXCEPTED,
    MINE,
    MOVED,
    OWNER,
    PLATFORM,
    THEIRS,
    Connection,
    Table,
    connect,
    fill,
    found,
    guarded,
    insert,
)
from tests.integration.servers import migrated_postgres


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The owner's URL of a database with a row of each workspace in every table."""
    with migrated_postgres(tmp_path_factory.mktemp("isolation")) as postgres:
        fill(postgres.url)
        yield postgres.url


def test_every_table_is_forced_or_excepted_by_name(url: str) -> None:
    tables = found(url)
    assert {table.service for table in tables} == set(services())
    assert not [table.name for table in tables if table.kind not in ("r", "p")], "a view reads as its owner"
    open_ones = {table.name for table in tables if not (table.forced and table.policies)}
    assert open_ones == set(EXCEPTED)


def test_no_service_passes_by_its_policies(url: str) -> None:
    with psycopg.connect(url) as owner:
        unbound = "SELECT rolname FROM pg_roles WHERE rolname LIKE 'postgres\\_%' AND (rolsuper OR rolbypassrls)"
        owned = "SELECT tablename FROM pg_tables WHERE tableowner LIKE 'postgres\\_%'"
        assert not owner.execute(unbound).fetchall()
        assert not owner.execute(owned).fetchall()


def test_a_connection_touches_its_own_workspace_only(url: str) -> None:
    tables, refused = guarded(url), 0
    for table in tables:
        with connect(url, table.service, MINE) as connection:
            owners = _owners(connection, table)
            assert owners == (set() if table.name in PLATFORM else {MINE}), table.name
            refused += _foreign_rows_are_refused(connection, table)
        with connect(url, table.service, EVERY_WORKSPACE) as connection:
            everything = _count(connection, table)
        assert everything == (4 if table.has_parts else 2), table.name
    print(f"row-level security: tables={len(tables)} refused={refused}")
    assert refused == 2 * len(tables) - len(PLATFORM)


# No service may delete from these.
APPEND_ONLY = {"vault.key_audit", "metering.ledger_actions", "metering.reconciled_attempts"}


def _foreign_rows_are_refused(connection: Connection, table: Table) -> int:
    """How many ways to write another workspace's row were refused."""
    with pytest.raises(InsufficientPrivilege, match="row-level security"):
        insert(connection, table, table.row(THEIRS))
    if table.name in PLATFORM:
        assert not _write_all(connection, table, "DELETE FROM {}")
        return 1
    column = MOVED.get(table.name, "workspace_id")
    with pytest.raises(InsufficientPrivilege, match=r"row-level security|append-only|permission denied"):
        connection.execute(sql.SQL(f"UPDATE {{}} SET {column} = %s").format(table.sql), (table.row(THEIRS)[column],))
    for statement in (f"UPDATE {{}} SET {column} = {column}", "DELETE FROM {}"):
        touched = _write_all(connection, table, statement)
        assert touched in (None, 2 if table.has_parts else 1), (table.name, statement)
    return 2


def _write_all(connection: Connection, table: Table, statement: str) -> int | None:
    """How many rows it would have written; None where a row that points here, or the table, forbids it to all."""
    try:
        with connection.transaction(force_rollback=True):
            return connection.execute(sql.SQL(statement).format(table.sql)).rowcount
    except (ForeignKeyViolation, InsufficientPrivilege):
        return None


@pytest.mark.parametrize("scope", [None, "", "0", "12", "1 OR true", "%"])
def test_without_a_workspace_of_its_own_a_connection_sees_nothing(url: str, scope: str | None) -> None:
    for table in guarded(url):
        with connect(url, table.service, None) as connection:
            if scope is not None:
                connection.execute("SELECT set_config('omnipost.workspace', %s, false)", (scope,))
            assert _count(connection, table) == 0, table.name
            with pytest.raises(InsufficientPrivilege, match="row-level security"):
                insert(connection, table, table.row(MINE))


def test_deleting_a_whole_schema_leaves_the_other_workspace(url: str) -> None:
    """Children first, so that no foreign key stands in the way: what is left is the other workspace's, untouched."""
    for service in services():
        tables = [table for table in reversed(guarded(url)) if table.service == service and not table.has_parts]
        tables = [table for table in tables if table.name not in PLATFORM | APPEND_ONLY]
        with connect(url, service, MINE) as connection, connection.transaction(force_rollback=True):
            for table in tables:
                assert connection.execute(sql.SQL("DELETE FROM {}").format(table.sql)).rowcount == 1, table.name
            connection.execute("SELECT set_config('omnipost.workspace', '*', true)")
            for table in tables:
                assert _owners(connection, table) == {THEIRS}, table.name


def test_a_new_partition_is_closed_too_whoever_makes_it(url: str) -> None:
    with connect(url, "metering", MINE) as connection:
        assert connection.execute("SELECT ensure_call_log_partition('1999-01-15')").fetchone() == (True,)
        scope = connection.execute("SELECT current_setting('omnipost.workspace')").fetchone()
        assert scope == (str(MINE),), "the door puts back what it has set"
        with pytest.raises(InsufficientPrivilege):
            connection.execute("SELECT make_call_log_partition('1999-02-15')")
    made = next(table for table in found(url) if table.name == "metering.ai_call_logs_1999_01")
    assert made.forced
    for workspace in (MINE, THEIRS):
        # Both workspaces' rows were in the default partition and have moved.
        with connect(url, "metering", workspace) as connection:
            assert _owners(connection, made) == {workspace}


def test_an_owner_who_is_no_superuser_migrates_and_makes_partitions(url: str, tmp_path: Path) -> None:
    for service in services():
        (tmp_path / f"pg-{service}").write_text("secret")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE ROLE plain LOGIN CREATEROLE NOSUPERUSER NOBYPASSRLS")
        connection.execute("CREATE DATABASE plain OWNER plain")
    plain = re.sub(r"owner@(.*)/postgres", r"plain@\1/plain", url)
    migrate(plain, tmp_path)
    fill(plain)
    migrate(plain, tmp_path)
    with psycopg.connect(plain, options="-c search_path=metering") as owner:
        assert owner.execute("SELECT * FROM ai_call_logs").fetchall() == [], "forced: the owner is held too"
    with connect(plain, "metering", EVERY_WORKSPACE) as connection:
        assert connection.execute("SELECT ensure_call_log_partition('1999-01-15')").fetchone() == (True,)
        assert connection.execute("SELECT count(*) FROM ai_call_logs_1999_01").fetchone() == (2,)


def _owners(connection: Connection, table: Table) -> set[object]:
    column = "NULL" if table.name in PLATFORM else OWNER.get(table.name, "workspace_id")
    return {row[0] for row in connection.execute(sql.SQL(f"SELECT {column} FROM {{}}").format(table.sql))}


def _count(connection: Connection, table: Table) -> int:
    return connection.execute(sql.SQL("SELECT * FROM {}").format(table.sql)).rowcount
