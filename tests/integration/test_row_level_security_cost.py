"""What row-level security costs the path of every call: the ledger with and without it in turns, and its plans."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from statistics import median
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from services.metering import accounts, budgets, granting, postings, reports, store, sweeper
from services.metering.connection import Connection
from services.metering.domain.ledger import Ask, owners_of
from services.metering.domain.usage import Piece
from services.metering.ledger import Ledger
from services.metering.settler import Settler
from shared.clock import SystemClock
from shared.db import EVERY_WORKSPACE, Database, Scope
from shared.messages.base import Service
from shared.records import Delivery
from shared.schemas import service_url
from shared.telemetry import Telemetry
from tests.integration.isolation_world import connect
from tests.integration.metering_world import finished
from tests.integration.servers import PASSWORD, migrated_postgres

WORKSPACE, KEY = 7, UUID(int=7)
CLIENTS, PER_CLIENT, ROUNDS = 64, 20, 9
CLOCK = SystemClock()
NOW = CLOCK.now()
PERIOD, TODAY = NOW.replace(day=1).date(), NOW.date()
BUDGETS = (budgets.ALL_OF_WORKSPACE, budgets.BALANCES_OF_WORKSPACE, budgets.ONE, budgets.BALANCES_OF_ONE)
FILL = f"""
    INSERT INTO ai_provider_budgets (workspace_id, scope, key_id, created_at, updated_at)
        SELECT w, 'key', CASE k WHEN 1 THEN lpad(to_hex(w), 32, '0')::uuid ELSE gen_random_uuid() END, now(), now()
        FROM generate_series(1, 2000) w, generate_series(1, 10) k;
    INSERT INTO budget_periods (budget_id, period_start) SELECT id, '{PERIOD}' FROM ai_provider_budgets;
    INSERT INTO reservations (attempt_id, call_id, workspace_id, key_id, provider, model, alias_name, capability,
            attempt_index, tokens, period_start, created_at, expires_at)
        SELECT gen_random_uuid(), 'c', g % 2000, gen_random_uuid(), 'p', 'm', 'a', 'chat', 0, 1, '{PERIOD}', now(),
            now() + interval '1 hour' FROM generate_series(1, 20000) g;
    INSERT INTO ended_attempts (attempt_id, workspace_id, state)
        SELECT gen_random_uuid(), g % 2000, 'settled' FROM generate_series(1, 20000) g;
    INSERT INTO ai_call_logs (attempt_id, call_id, workspace_id, key_id, provider, model, alias_name, capability,
            attempt_index, outcome, billing, charged_usd_micros, started_at, finished_at)
        SELECT gen_random_uuid(), 'c', g % 50, gen_random_uuid(), 'p', 'm', 'a', 'chat', 0, 'ok', 'cost', 1,
            now() - g * interval '1 second', now() FROM generate_series(1, 50000) g;
    INSERT INTO usage_rollups SELECT w, now() - h * interval '1 hour', 'p', 'a', 'm', gen_random_uuid(), 'chat', 'own',
        'success', 1, 1, 0, 0, 1, 1, 1, 1, 0, 1, 0, 0, 0, 0, 1, 0
        FROM generate_series(1, 500) w, generate_series(1, 40) h;
    INSERT INTO usage_days SELECT * FROM usage_rollups;
    INSERT INTO ended_attempts (attempt_id, workspace_id, state)
        SELECT gen_random_uuid(), g % 2000, 'settled' FROM generate_series(1, 20000) g;
    ANALYZE;
"""
TABLES = ("ai_provider_budgets", "budget_periods", "reservations", "usage_rollups", "ai_call_logs")


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The owner's URL of a database that holds enough for an index to pay."""
    with migrated_postgres(tmp_path_factory.mktemp("cost")) as postgres:
        _as_owner(postgres.url, FILL)
        yield postgres.url


def test_the_ledgers_statements_and_the_queries_still_use_their_indexes(url: str) -> None:
    owned = accounts._parameters(owners_of(WORKSPACE, KEY))
    one, zero = [uuid4()], [0]
    ours: list[tuple[str, Any]] = [
        (accounts._LOCK, owned),
        (accounts._BALANCES, owned | {"month": PERIOD, "day": TODAY}),
        (granting._KNOWN, {"ids": one}),
        (granting._HOLD, (*[[1]] * 4, PERIOD, TODAY)),
        (postings._FINISH, (CLOCK.now(), postings.array(one), postings.array(["settled"]))),
        (postings._MOVE, ([1], ["month"], [PERIOD], *[zero] * 6)),
        (sweeper._LOCK_DUE, (CLOCK.now(), 200)),
    ]
    mine = {"workspace_id": WORKSPACE, "key_id": KEY, "funds": "own", "month": PERIOD, "day": TODAY}
    mine |= {"since": None, "until": None, "limit": 50}
    filtered = {name: mine[name] for name in ("workspace_id", "key_id", "limit")}
    calls = [store._plain({"workspace_id": WORKSPACE}), store._among_newest(filtered), store._by_sort(filtered)]
    theirs = [str(one) for one in BUDGETS] + [*calls, reports._grouped("key", [Piece("hour", None, None)])]
    plans = [_plan(url, EVERY_WORKSPACE, *asked) for asked in ours]
    plans += [_plan(url, WORKSPACE, _named(statement, mine), mine) for statement in theirs]
    for plan in plans:
        assert "Seq Scan" not in plan, plan
        assert "current_setting" not in plan, f"the setting is read for every row:\n{plan}"
        assert "InitPlan" in plan, "row-level security is in this plan"
    print(f"row-level security: plans={len(plans)} sequential=0")


def _named(statement: str, parameters: dict[str, object]) -> str:
    for name in parameters:
        statement = statement.replace(f":{name}", f"%({name})s")
    return statement


def _plan(url: str, scope: Scope, statement: str, parameters: Any) -> str:
    with connect(url, "metering", scope) as connection:
        rows = connection.execute(("EXPLAIN " + statement).encode(), parameters)
        return "\n".join(str(row[0]) for row in rows)


async def test_reserving_and_settling_keep_their_speed(url: str) -> None:
    reserved: dict[bool, list[float]] = {True: [], False: []}
    settled: dict[bool, list[float]] = {True: [], False: []}
    async with _ledger(url) as (ours, settler):
        await _reserve(ours)
        for turn in range(ROUNDS):
            # Each goes first every other time: whatever slows the machine down meets both.
            for guarded in (True, False) if turn % 2 else (False, True):
                _switch(url, on=guarded)
                attempts, rate = await _reserve(ours)
                reserved[guarded].append(rate)
                settled[guarded].append(await _settle(settler, attempts))
    _switch(url, on=True)
    kept = [_kept(rates) for rates in (reserved, settled)]
    print(f"row-level security: reserve {median(reserved[True]):.0f}/s, {kept[0]:.2f} of without; "
          f"settle {median(settled[True]):.0f}/s, {kept[1]:.2f} of without")  # fmt: skip
    assert min(kept) > 0.7


def _kept(rates: dict[bool, list[float]]) -> float:
    return median(on / off for on, off in zip(rates[True], rates[False], strict=True))


@asynccontextmanager
async def _ledger(url: str) -> AsyncIterator[tuple[Ledger, Settler]]:
    database = Database(service_url(url, "metering", PASSWORD))
    ours = Ledger(Connection(database), CLOCK)
    settler = Settler(Connection(database), CLOCK, Telemetry(Service.METERING, None))
    await ours.start()
    yield ours, settler
    await ours.stop()
    await settler.close()
    await database.close()


async def _reserve(ours: Ledger) -> tuple[list[UUID], float]:
    attempts = [uuid4() for _ in range(CLIENTS * PER_CLIENT)]

    async def client(mine: Sequence[UUID]) -> None:
        for attempt in mine:
            ask = Ask(attempt, "c", WORKSPACE, KEY, "openai", "m", "a", "chat", 0, None, 700, 1100, 360, NOW)
            assert (await ours.reserve(ask)).granted

    before = CLOCK.monotonic()
    await asyncio.gather(*(client(attempts[n::CLIENTS]) for n in range(CLIENTS)))
    return attempts, len(attempts) / (CLOCK.monotonic() - before)


async def _settle(settler: Settler, attempts: Sequence[UUID]) -> float:
    facts = [finished(str(attempt), WORKSPACE, str(KEY)).model_dump_json().encode() for attempt in attempts]
    before = CLOCK.monotonic()
    for batch in (facts[start : start + 64] for start in range(0, len(facts), 64)):
        await settler.settle([Delivery(body, None, 1) for body in batch])
    return len(facts) / (CLOCK.monotonic() - before)


def _switch(url: str, *, on: bool) -> None:
    verb = "ENABLE" if on else "DISABLE"
    _as_owner(url, "; ".join(f"ALTER TABLE {table} {verb} ROW LEVEL SECURITY" for table in TABLES))


def _as_owner(url: str, statements: str) -> None:
    with psycopg.connect(url, autocommit=True, options="-c search_path=metering") as connection:
        connection.execute(statements.encode())
