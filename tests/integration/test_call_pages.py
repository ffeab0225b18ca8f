"""Filtered pages of a call log that is longer than what is searched row by row: the same rows as the log itself has."""

import asyncio
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from services.metering.store import NEWEST
from shared.messages.vocabulary import Outcome
from tests.faults.usage_scale import DAYS, RARE_KEY, grow
from tests.integration.metering_world import World

WORKSPACE, ROWS = 1, 20_000
FILTERS: tuple[dict[str, Any], ...] = (
    {"model": "rare"}, {"key_id": str(RARE_KEY)}, {"alias_name": "rare", "provider": "openai"},
    {"outcome": Outcome.CONTENT_POLICY}, {"outcome": Outcome.RATE_LIMITED}, {"outcome": Outcome.TIMEOUT},
    {"model": "model-1", "alias_name": "alias-2", "key_id": str(UUID(int=2))},
    {"provider": "mistral", "outcome": Outcome.SUCCESS}, {"model": "model-2", "outcome": Outcome.RATE_LIMITED},
)  # fmt: skip


@pytest.fixture(scope="module")
async def grown(running: tuple[World, object]) -> World:
    """The module's world with ``ROWS`` calls of 90 days."""
    await asyncio.to_thread(grow, running[0].postgres.url, WORKSPACE, 0, ROWS)
    return running[0]


async def test_pages_hold_what_the_log_holds(grown: World) -> None:
    assert ROWS > 5 * NEWEST
    now = grown.clock.now()
    stretches: tuple[dict[str, Any], ...] = (
        {},
        {"until": now - timedelta(days=DAYS // 2, hours=3)},
        {"since": now - timedelta(days=50, hours=5), "until": now - timedelta(days=20, hours=9)},
    )
    compared = 0
    for filters in FILTERS:
        for stretch in stretches:
            found, pages = await _paged(grown, filters | stretch)
            assert found == _of_log(grown, filters | stretch), (filters, stretch)
            compared += pages
    print(f"calls: {compared} pages of {len(FILTERS) * len(stretches)} questions are the log's")


async def _paged(world: World, asked: dict[str, Any]) -> tuple[list[str], int]:
    found: list[str] = []
    place, pages = None, 0
    while place is not None or not pages:
        page = await world.calls(WORKSPACE, limit=60, cursor=place, **asked)
        found += [call.attempt_id for call in page.items]
        place, pages = page.next_cursor, pages + 1
    return found, pages


def _of_log(world: World, asked: dict[str, Any]) -> list[str]:
    signs = {"since": "started_at >=", "until": "started_at <"}
    conditions = " AND ".join(f"{signs.get(name, f'{name} =')} %s" for name in asked)
    rows = world.sql(
        f"SELECT attempt_id FROM ai_call_logs WHERE {conditions} ORDER BY started_at DESC, attempt_id DESC",
        *asked.values(),
    )
    return [str(row["attempt_id"]) for row in rows]
