"""PostgreSQL for a service: one login role, one schema (the role's ``search_path``), one engine.

Every connection says whose rows it may touch, in the setting ``omnipost.workspace``: a workspace's id, or
``EVERY_WORKSPACE`` for work that belongs to none. Row-level security holds it to that, and without the setting it sees
nothing (``docs/decisions/0007-row-level-security.md``).
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Literal

import psycopg
from psycopg import AsyncConnection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlmodel import text
from sqlmodel.ext.asyncio.session import AsyncSession

from shared.errors import unavailable

CONNECT_TIMEOUT_S = 5
POOL_TIMEOUT_S = 3
# A transaction of ``session`` in all: a database that hangs is a database that is away.
SESSION_TIMEOUT_S = 5
EVERY_WORKSPACE: Literal["*"] = "*"
Scope = int | Literal["*"]
_SCOPE = text("SELECT set_config('omnipost.workspace', :scope, true)")
_OPTIONS = "-c statement_timeout=4000 -c lock_timeout=3000 -c idle_in_transaction_session_timeout=10000"


class Database:
    """Sessions for ordinary statements; ``connect`` for the ledger's hand-written ones."""

    def __init__(self, url: str, *, pool_size: int = 5) -> None:
        self._url = url
        self._engine: AsyncEngine = create_async_engine(
            sqlalchemy_url(url),
            pool_size=pool_size,
            max_overflow=5,
            pool_pre_ping=True,
            hide_parameters=True,
            pool_timeout=POOL_TIMEOUT_S,
            connect_args={"connect_timeout": CONNECT_TIMEOUT_S, "options": _OPTIONS},
        )

    @asynccontextmanager
    async def session(self, scope: Scope) -> AsyncIterator[AsyncSession]:
        """A transaction on the rows of ``scope``: committed at the end, rolled back by an exception.

        Raises OmniError ``unavailable`` when the database cannot be reached or does not answer in time.
        """
        try:
            async with (
                asyncio.timeout(SESSION_TIMEOUT_S),
                AsyncSession(self._engine, expire_on_commit=False) as session,
                session.begin(),
            ):
                await (await session.connection()).execute(_SCOPE, {"scope": str(scope)})
                yield session
        except (TimeoutError, PoolTimeoutError) as error:
            raise unavailable("The database does not answer; try again shortly.") from error
        except DBAPIError as error:
            if error.connection_invalidated or isinstance(error.orig, psycopg.OperationalError):
                raise unavailable("The database cannot be reached; try again shortly.") from error
            raise

    async def connect(self, scope: Scope) -> AsyncConnection[tuple[object, ...]]:
        """A connection of its own on the rows of ``scope``, outside the pool. Raises psycopg.OperationalError."""
        options = f"-c omnipost.workspace={scope}"
        return await AsyncConnection.connect(
            self._url, connect_timeout=CONNECT_TIMEOUT_S, autocommit=True, options=options
        )

    async def wait_for_schema(self, version: str, *, timeout_s: float = 60.0) -> None:
        """Return once the migrations have reached ``version`` (or are past it). Raises OmniError ``unavailable``."""
        deadline = asyncio.get_running_loop().time() + timeout_s
        while not await self._has_schema(version):
            if asyncio.get_running_loop().time() > deadline:
                raise unavailable(f"The database schema never reached version {version}; run the migrations.")
            await asyncio.sleep(0.1)

    async def _has_schema(self, version: str) -> bool:
        try:
            async with self._engine.connect() as connection:
                found = (await connection.execute(text("SELECT version_num FROM alembic_version"))).scalar()
        except (DBAPIError, OSError):
            return False
        return found is not None and str(found) >= version

    async def close(self) -> None:
        """Close every pooled connection."""
        await self._engine.dispose()


def sqlalchemy_url(url: str) -> str:
    """``url`` with the driver named, as SQLAlchemy wants it."""
    return "postgresql+psycopg://" + url.partition("://")[2]
