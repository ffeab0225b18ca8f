"""``python -m shared.migrate``: bring every service's schema and login role up to date. Safe to run at any time.

Runs as the database's owner, who may create roles, under one advisory lock. For each service: schema, role (its
password hashed on this side, so that no statement carries it), alembic up to the head in one transaction, grants.
A service reads and writes the rows of its own schema and can see no other's.
"""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import psycopg
from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.script import ScriptDirectory
from psycopg import sql
from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict
from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool

from shared.db import EVERY_WORKSPACE, sqlalchemy_url
from shared.schemas import database_of, migrations_of, role_of, services
from shared.settings import read_secret

CONNECT_TIMEOUT_S = 10
_LOCK = 0x0441_4D4E  # one number for all stacks: advisory locks are per database
# How a migration marks a table whose rows are written once and for all: COMMENT ON TABLE … IS 'append-only'.
_APPEND_ONLY = """
    SELECT relname FROM pg_class
    WHERE relnamespace = quote_ident(%s)::regnamespace AND obj_description(oid, 'pg_class') = 'append-only'
"""
Connection = psycopg.Connection[tuple[Any, ...]]


class MigrateSettings(BaseSettings):
    """The owner's URL, and a folder with one password file ``pg-<service>`` per service."""

    model_config = SettingsConfigDict(extra="ignore", hide_input_in_errors=True, frozen=True)

    database_url: str = Field(repr=False)
    role_passwords_dir: Path


class CannotMigrate(Exception):  # noqa: N818 - reads as the sentence it is
    """Something the operator must put right; the message says what."""


def migrate(url: str, passwords_dir: Path) -> None:
    """Bring everything to its head. Raises CannotMigrate, OSError (a password file), psycopg.Error, ValueError."""
    database = database_of(url)
    with psycopg.connect(url, autocommit=True, connect_timeout=CONNECT_TIMEOUT_S) as connection:
        connection.execute("SELECT pg_advisory_lock(%s)", (_LOCK,))
        _check_owner(connection)
        _close_database(connection, database)
        for service in services():
            role = role_of(database, service)
            _ensure_role(connection, role, read_secret(passwords_dir / f"pg-{service}"))
            _prepare_schema(connection, database, service, role)
            _upgrade(url, service)
            _grant(connection, service, role)


def _check_owner(connection: Connection) -> None:
    row = connection.execute("SELECT rolsuper OR rolcreaterole FROM pg_roles WHERE rolname = current_user").fetchone()
    if row is None or not row[0]:
        raise CannotMigrate(
            "The user of DATABASE_URL must be able to create one login role per service: ALTER ROLE <user> CREATEROLE"
        )


def _close_database(connection: Connection, database: str) -> None:
    _run(connection, "REVOKE CREATE ON SCHEMA public FROM PUBLIC")
    _run(connection, "REVOKE CONNECT, TEMPORARY ON DATABASE {} FROM PUBLIC", database)


def _ensure_role(connection: Connection, role: str, password: str) -> None:
    hashed = connection.pgconn.encrypt_password(password.encode(), role.encode(), b"scram-sha-256").decode()
    known = connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (role,)).fetchone()
    verb = "ALTER" if known else "CREATE"
    statement = sql.SQL(verb + " ROLE {} LOGIN NOINHERIT PASSWORD {}").format(sql.Identifier(role), sql.Literal(hashed))
    connection.execute(statement)


def _prepare_schema(connection: Connection, database: str, schema: str, role: str) -> None:
    _run(connection, "CREATE SCHEMA IF NOT EXISTS {}", schema)
    _run(connection, "REVOKE ALL ON SCHEMA {} FROM PUBLIC", schema)
    # TEMPORARY: COPY into a temporary table is how rows arrive in bulk.
    _run(connection, "GRANT CONNECT, TEMPORARY ON DATABASE {} TO {}", database, role)
    _run(connection, "ALTER ROLE {} IN DATABASE {} SET search_path = {}", role, database, schema)


def _upgrade(url: str, service: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(migrations_of(service)).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    script = ScriptDirectory.from_config(config)
    # Forced policies hold the owner too, unless it is a superuser: a migration moves every workspace's rows.
    scoped = f"-csearch_path={service} -comnipost.workspace={EVERY_WORKSPACE}"
    options = {"options": scoped, "connect_timeout": CONNECT_TIMEOUT_S}
    engine = create_engine(sqlalchemy_url(url), poolclass=NullPool, hide_parameters=True, connect_args=options)
    with engine.connect() as connection, EnvironmentContext(config, script, fn=_steps_to_head(script)) as environment:
        environment.configure(connection=connection, version_table="alembic_version")
        with environment.begin_transaction():
            environment.run_migrations()
    engine.dispose()


def _steps_to_head(script: ScriptDirectory) -> Callable[..., Any]:
    def steps(revision: Any, _: object) -> Any:  # noqa: ANN401 - alembic's own types are private
        return script._upgrade_revs("head", revision)  # noqa: SLF001 - what alembic's own upgrade command passes here

    return steps


def _grant(connection: Connection, schema: str, role: str) -> None:
    # One transaction, so that there is no moment in which a service may rewrite what only grows.
    with connection.transaction():
        _grant_everything(connection, schema, role)
        for (table,) in connection.execute(_APPEND_ONLY, (schema,)).fetchall():
            _run(connection, "REVOKE UPDATE, DELETE, TRUNCATE ON {}.{} FROM {}", schema, str(table), role)


def _grant_everything(connection: Connection, schema: str, role: str) -> None:
    _run(connection, "GRANT USAGE ON SCHEMA {} TO {}", schema, role)
    tables, sequences = "SELECT, INSERT, UPDATE, DELETE ON", "USAGE ON"
    _run(connection, f"GRANT {tables} ALL TABLES IN SCHEMA {{}} TO {{}}", schema, role)
    _run(connection, f"GRANT {sequences} ALL SEQUENCES IN SCHEMA {{}} TO {{}}", schema, role)
    _run(connection, f"ALTER DEFAULT PRIVILEGES IN SCHEMA {{}} GRANT {tables} TABLES TO {{}}", schema, role)
    _run(connection, f"ALTER DEFAULT PRIVILEGES IN SCHEMA {{}} GRANT {sequences} SEQUENCES TO {{}}", schema, role)
    _run(connection, "REVOKE INSERT, UPDATE, DELETE ON {}.alembic_version FROM {}", schema, role)


def _run(connection: Connection, statement: str, *names: str) -> None:
    connection.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))


def main(arguments: Sequence[str]) -> int:
    """0 when every schema is at its head; otherwise 1, and one line on stderr says what to do."""
    if arguments:
        print("usage: DATABASE_URL=… ROLE_PASSWORDS_DIR=… python -m shared.migrate", file=sys.stderr)  # noqa: T201
        return 2
    try:
        settings = MigrateSettings()
        migrate(settings.database_url, settings.role_passwords_dir)
    except (CannotMigrate, psycopg.OperationalError, psycopg.errors.InsufficientPrivilege) as error:
        print(f"cannot migrate: {str(error).splitlines()[0]}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
