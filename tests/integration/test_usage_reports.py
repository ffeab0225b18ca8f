"""Reports from real rollups: what they say is what the log says, and they say it at once."""

import asyncio
import importlib
import random
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from services.metering import rollups
from services.metering.connection import Connection
from services.metering.domain import usage
from shared.db import Database
from shared.errors import Code, OmniError
from shared.messages.usage import UsageV1
from shared.messages.vocabulary import Outcome
from tests.integration.metering_world import World

FAILED: dict[str, Any] = {
    "outcome": Outcome.TIMEOUT,
    "billing": "unknown",
    "status": None,
    "cost_usd_micros": None,
    "tokens": {},
}
FIRST = {"provider": "openai", "model": "gpt-4o"}
migration = importlib.import_module("services.metering.migrations.versions.0005_usage")
GROUPS = {
    "provider": "provider", "alias": "alias_name", "model": "model", "key": "key_id::text", "capability": "capability",
    "outcome": "outcome", "day": "to_char(started_at AT TIME ZONE 'UTC', 'YYYY-MM-DD')",
    "hour": "to_char(started_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:00\"Z\"')",
}  # fmt: skip


async def _one(world: World, workspace: int, key: str, started_at: datetime, chance: random.Random) -> str:
    provider, alias = chance.choice(("openai", "anthropic")), chance.choice(("a", "b"))
    attempt = (await world.reserve(workspace, key, provider=provider, alias_name=alias)).attempt_id
    change: dict[str, Any] = {"started_at": started_at, "finished_at": started_at, "latency_ms": chance.randrange(9000)}
    if chance.random() < 0.3:
        change |= {"fallback_reason": Outcome.RATE_LIMITED, "fallback_from": FIRST}
    if chance.random() < 0.3:
        change |= FAILED
    else:
        change |= {"first_token_ms": chance.randrange(900), "cost_usd_micros": chance.randrange(700)}
    await world.finish(attempt, workspace, key, provider=provider, **change)
    return attempt


async def _fill(world: World, workspace: int, number: int) -> str:
    chance = random.Random(workspace)  # noqa: S311 - a test's inputs
    key, now = await world.key(workspace), world.clock.now()
    moments = [now - timedelta(minutes=chance.randrange(60 * 24 * 4)) for _ in range(number)]
    await world.settled(*await asyncio.gather(*(_one(world, workspace, key, moment, chance) for moment in moments)))
    return key


async def test_every_group_and_stretch_says_what_the_log_says(world: World, workspace: int) -> None:
    await _fill(world, workspace, 300)
    now = world.clock.now()
    stretches = [(None, None), (now - timedelta(hours=60), now - timedelta(hours=3)), (now - timedelta(hours=5), None)]
    compared = 0
    for group_by, expression in GROUPS.items():
        for since, until in stretches:
            if group_by == "hour" and since is None:
                continue
            report = await world.usage(workspace, group_by=group_by, since=since, until=until)
            assert {group.group: _figures(group) for group in report.groups} == _log(
                world, workspace, expression, since, until
            )
            compared += len(report.groups)
    print(f"reports: {compared} groups equal the sums of the log")


def _figures(sums: UsageV1) -> tuple[int, ...]:
    return (
        sums.requests, sums.succeeded, sums.failed, sums.unknown, sums.fallbacks, sums.input_tokens,
        sums.cost_usd_micros, sums.charged_usd_micros, sums.reserved_usd_micros, sums.latency_ms.count,
        sums.first_token_ms.count,
    )  # fmt: skip


def _log(
    world: World, workspace: int, expression: str, since: datetime | None, until: datetime | None
) -> dict[object, tuple[object, ...]]:
    rows = world.sql(
        f"""
        SELECT {expression} AS name, count(*) AS n, count(*) FILTER (WHERE outcome = 'success') AS ok,
            count(*) FILTER (WHERE outcome <> 'success') AS bad, count(*) FILTER (WHERE billing = 'unknown') AS unknown,
            count(*) FILTER (WHERE fallback_reason IS NOT NULL AND outcome = 'success') AS fallbacks,
            coalesce(sum(input_tokens), 0)::bigint AS tokens, coalesce(sum(cost_usd_micros), 0)::bigint AS cost,
            sum(charged_usd_micros)::bigint AS charged,
            coalesce(sum(reserved_usd_micros) FILTER (WHERE billing = 'cost'), 0)::bigint AS reserved,
            count(latency_ms) AS latencies, count(first_token_ms) AS first_tokens
        FROM ai_call_logs WHERE workspace_id = %s
            AND started_at >= coalesce(%s::timestamptz, '-infinity')
            AND started_at < coalesce(%s::timestamptz, 'infinity')
        GROUP BY 1
        """,
        workspace,
        since and usage.hour_of(since),
        until and usage.hour_after(until),
    )
    return {row["name"]: tuple(row.values())[1:] for row in rows}


async def test_failures_fallbacks_and_quantiles(world: World, workspace: int) -> None:
    await _fill(world, workspace, 200)
    report = await world.usage(workspace)
    rows = world.rows(workspace)
    failures = {failure.provider: failure.requests for failure in report.failures}
    assert {failure.outcome for failure in report.failures} == {Outcome.TIMEOUT}
    assert failures == {
        provider: len([row for row in rows if (row["provider"], row["outcome"]) == (provider, "timeout")])
        for provider in ("openai", "anthropic")
    }
    stood_in = [row for row in rows if row["fallback_reason"]]
    assert sum(fallback.requests for fallback in report.fallbacks) == len(stood_in)
    assert sum(fallback.succeeded for fallback in report.fallbacks) == report.totals.fallbacks
    assert {(one.fallback_from, one.target, one.reason) for one in report.fallbacks} == {
        ("openai/gpt-4o", f"{provider}/gpt-4o-mini", Outcome.RATE_LIMITED) for provider in ("openai", "anthropic")
    }
    latencies = sorted(int(str(row["latency_ms"])) for row in rows)
    for percent, found in ((50, report.totals.latency_ms.p50), (95, report.totals.latency_ms.p95)):
        exact = latencies[-(-len(latencies) * percent // 100) - 1]
        assert found is not None
        assert abs(found - exact) <= 0.05 * exact + 1
    assert report.forecast is not None
    assert report.forecast.charged_usd_micros == report.totals.charged_usd_micros


async def test_a_call_is_in_the_reports_at_once(world: World, workspace: int) -> None:
    key = await world.key(workspace)
    loop, waits = asyncio.get_running_loop(), []
    for number in range(1, 11):
        attempt = (await world.reserve(workspace, key)).attempt_id
        began = loop.time()
        await world.finish(attempt, workspace, key)

        async def counted(number: int = number) -> bool:
            return (await world.usage(workspace)).totals.requests == number

        await world.until(counted)
        waits.append(loop.time() - began)
    print(f"reports: a finished call is counted after {1000 * max(waits):.0f} ms at most, of {len(waits)}")
    assert max(waits) < 2


async def test_by_hour_only_over_days_that_can_be_shown(world: World, workspace: int) -> None:
    now = world.clock.now()
    for since in (None, now - timedelta(days=4)):
        with pytest.raises(OmniError) as caught:
            await world.usage(workspace, group_by="hour", since=since)
        assert caught.value.code is Code.INVALID_REQUEST
    assert (await world.usage(workspace, group_by="hour", since=now - timedelta(days=3))).groups == ()


async def test_the_budget_that_will_not_last_is_named(world: World, workspace: int) -> None:
    key = await world.key(workspace, requests=12)
    for _ in range(6):
        await world.finish((await world.reserve(workspace, key)).attempt_id, workspace, key)

    async def counted() -> bool:
        return (await world.usage(workspace)).totals.requests == 6

    await world.until(counted)
    report = await world.usage(workspace)
    assert report.forecast is not None
    assert [(end.scope, end.key_id, end.unit) for end in report.forecast.budgets] == [("key", key, "requests")]
    assert world.clock.now() < report.forecast.budgets[0].at < report.forecast.month_ends_at
    assert not (await world.usage(workspace + 1)).forecast.budgets  # type: ignore[union-attr]


async def test_a_row_is_corrected_where_it_is_counted(world: World, workspace: int) -> None:
    attempt, key = str(uuid4()), await world.key(workspace)
    await world.reserve(workspace, key, attempt_id=attempt)
    await world.finish(attempt, workspace, key, **FAILED)
    await world.settled(attempt)
    row, database = world.rows(workspace)[0], Database(world.settings.database_url)
    connection = Connection(database)
    assert await connection.run(lambda raw: rollups.correct(raw, row, {"unknown": -1, "cost_usd_micros": 5}))
    assert not await connection.run(lambda raw: rollups.correct(raw, row | {"model": "another"}, {"unknown": -1}))
    await connection.close()
    await database.close()
    for table in ("usage_rollups", "usage_days"):
        row = world.sql(f"SELECT outcome, unknown, cost_usd_micros FROM {table} WHERE workspace_id = %s", workspace)[0]
        assert tuple(row.values()) == ("timeout", 0, 5)
        world.sql(f"DELETE FROM {table} WHERE workspace_id = %s", workspace)
    world.sql("DELETE FROM ai_call_logs WHERE workspace_id = %s", workspace)


async def test_the_migration_counts_the_log_as_the_writers_do(world: World, workspace: int) -> None:
    await _fill(world, workspace, 100)
    tables = [table for grains in migration.TABLES.values() for table in grains.values()]
    written = {table: _sorted(world, table) for table in tables}
    world.sql(f"TRUNCATE {', '.join(tables)}")
    for statement in migration.fill():
        world.sql(statement)
    assert {table: _sorted(world, table) for table in tables} == written
    assert all(written.values())


def _sorted(world: World, table: str) -> list[str]:
    return sorted(str(row) for row in world.sql(f"SELECT * FROM {table}"))
