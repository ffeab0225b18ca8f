"""Every migration goes up, down to nothing, and up again; and running them twice changes nothing."""

import importlib.util
from pathlib import Path
from types import ModuleType

import psycopg
from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy import create_engine

from shared.db import sqlalchemy_url
from shared.migrate import migrate
from shared.schemas import head_of, migrations_of, services
from tests.integration.servers import migrated_postgres

TABLES = {"ai_providers", "ai_provider_keys", "ai_model_aliases", "ai_call_logs", "ai_provider_budgets"}
LEFT = "SELECT table_name FROM information_schema.tables WHERE table_schema = %s AND table_name <> 'alembic_version'"


def test_up_and_down_and_up_again(tmp_path: Path) -> None:
    found: set[str] = set()
    with migrated_postgres(tmp_path) as postgres:
        migrate(postgres.url, tmp_path / "passwords")
        for service in services():
            modules = [_load(file) for file in sorted((migrations_of(service) / "versions").glob("[0-9]*.py"))]
            assert modules[-1].revision == head_of(service)
            engine = create_engine(sqlalchemy_url(postgres.url), connect_args={"options": f"-csearch_path={service}"})
            with engine.begin() as connection, Operations.context(MigrationContext.configure(connection)):
                before = _tables(postgres.url, service)
                for module in reversed(modules):
                    module.downgrade()
                assert not list(connection.exec_driver_sql(LEFT, (service,)))
                for module in modules:
                    module.upgrade()
            engine.dispose()
            assert _tables(postgres.url, service) >= before - {name for name in before if name[-7:-5] == "20"}
            found |= before
    assert found >= TABLES


def _tables(url: str, service: str) -> set[str]:
    with psycopg.connect(url) as connection:
        return {str(row[0]) for row in connection.execute(LEFT, (service,))}


def _load(file: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
