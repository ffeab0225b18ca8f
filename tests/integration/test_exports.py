"""Exports between the edge's half and metering's, on real NATS and PostgreSQL: snapshots, pulls, readers that stop."""

import asyncio
import hashlib
import random
from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest

from services.api.domain.pulled import NOTHING
from services.api.exports import Exports, PulledPage
from services.metering.app import Metering
from shared.errors import Code, OmniError
from shared.messages.export import CallPageV1, ReadCallsV1
from tests.integration.export_world import FILL, fill, invoice, lines, row_groups, types_of
from tests.integration.metering_world import World

SECRET = b"s" * 32
FORMATS = ("csv", "ndjson", "parquet", "focus")
OPTIONS = "-c search_path=metering -c omnipost.workspace=* -c timezone=UTC"


@pytest.fixture
def exports(world: World, app: Metering) -> Exports:
    return Exports(world.api, SECRET)


def write(world: World, workspace: int, rows: int, *, keys: int = 3) -> list[str]:
    """That many attempts, and the keys they used."""
    made = [str(uuid4()) for _ in range(keys)]
    fill(world.postgres.url, workspace=workspace, rows=rows, keys=made, start=world.clock.now())
    return made


async def whole(chunks: AsyncIterator[bytes]) -> bytes:
    return b"".join([chunk async for chunk in chunks])


async def pulled(exports: Exports, workspace: int, cursor: str | None, limit: int) -> tuple[list[PulledPage], str]:
    """Pages until the end, each with its checksums proven, and the cursor to come back with."""
    pages: list[PulledPage] = []
    while not pages or not pages[-1].at_end:
        page = await exports.pull(workspace, cursor, limit)
        assert hashlib.sha256(page.body).hexdigest() == page.sha256
        assert page.body.count(b"\n") == page.rows
        pages.append(page)
        cursor = page.cursor
    return pages, pages[-1].cursor


async def test_every_format_is_the_same_invoice(world: World, exports: Exports, workspace: int, tmp_path: Path) -> None:
    write(world, workspace, 21_000)
    by_format = {}
    for format_ in FORMATS:
        download = await exports.download(ReadCallsV1(workspace_id=workspace), format_)
        assert download.total == 21_000
        path = tmp_path / format_
        path.write_bytes(await whole(download.chunks))
        by_format[format_] = invoice(format_, path)
        assert sum(line.attempts for line in by_format[format_]) == 21_000
    expected = world.sql(
        "SELECT sum(charged_usd_micros)::bigint AS micros FROM ai_call_logs WHERE workspace_id = %s", workspace
    )
    assert {sum(line.micros for line in invoice_) for invoice_ in by_format.values()} == {expected[0]["micros"]}
    assert len({frozenset(invoice_) for invoice_ in by_format.values()}) == 1
    types = types_of(tmp_path / "parquet")
    assert (types["charged_usd"], types["started_at"]) == ("DECIMAL(18,6)", "TIMESTAMP WITH TIME ZONE")
    assert "DOUBLE" not in types.values()
    assert "FLOAT" not in types.values()
    assert row_groups(tmp_path / "parquet") == [20_000, 1_000]


async def test_a_snapshot_has_what_was_there_and_nothing_else(world: World, exports: Exports, workspace: int) -> None:
    write(world, workspace, 5000)
    query = ReadCallsV1(workspace_id=workspace, limit=700)
    expected = [row["attempt_id"] for row in reversed(world.rows(workspace))]
    page, seen = await exports._read(query), []
    while True:
        seen += page.columns["attempt_id"]
        # Older and newer ones arrive all the time; an old one is corrected.
        write(world, workspace, 200)
        world.sql("UPDATE ai_call_logs SET cost_usd_micros = 1 WHERE attempt_id = %s", str(expected[-1]))
        if not page.more:
            break
        page = await exports._read(query.model_copy(update={"after": page.next, "upto": page.upto}))
    assert seen == [str(attempt) for attempt in expected]
    now = world.clock.now()
    part = await exports.download(
        ReadCallsV1(workspace_id=workspace, since=now - timedelta(minutes=5), until=now - timedelta(minutes=2)),
        "ndjson",
    )
    rows = lines(await whole(part.chunks))
    assert part.total == len(rows) > 0
    assert {row["workspace_id"] for row in rows} == {workspace}
    nobody = await exports.download(ReadCallsV1(workspace_id=workspace + 1), "ndjson")
    assert (nobody.total, await whole(nobody.chunks)) == (0, b"")


async def test_pulls_miss_nothing_although_earlier_rows_come_later(
    world: World, exports: Exports, workspace: int
) -> None:
    write(world, workspace, 900)
    how = {"workspace": workspace, "keys": [str(uuid4())], "start": world.clock.now()}
    with psycopg.connect(world.postgres.url, options=OPTIONS) as slow:
        # It has written rows that nobody sees yet; others commit before it.
        slow.execute(FILL, {**how, "rows": 50})
        write(world, workspace, 30)
        first, cursor = await pulled(exports, workspace, None, 400)
        slow.commit()
    write(world, workspace, 20)
    second, cursor = await pulled(exports, workspace, cursor, 1000)
    pages = [*first, *second]
    attempts = [row["attempt_id"] for page in pages for row in lines(page.body)]
    assert len(attempts) == len(set(attempts)) == 1000
    assert set(attempts) == {str(row["attempt_id"]) for row in world.rows(workspace)}
    chain = NOTHING
    for page in pages:
        if page.rows:
            chain = hashlib.sha256(chain + hashlib.sha256(page.body).digest()).digest()
    assert (pages[-1].pulled.rows, pages[-1].pulled.chain) == (1000, chain)
    # A correction comes again; polling without news counts nothing.
    world.sql("UPDATE ai_call_logs SET cost_usd_micros = 1 WHERE attempt_id = %s", attempts[0])
    third, cursor = await pulled(exports, workspace, cursor, 400)
    assert [row["attempt_id"] for row in lines(third[0].body)] == attempts[:1]
    again = await exports.pull(workspace, cursor, 400)
    assert (again.rows, again.at_end, again.cursor) == (0, True, cursor)


async def test_a_cursor_opens_one_workspace(exports: Exports, world: World, workspace: int) -> None:
    write(world, workspace, 3)
    cursor = (await exports.pull(workspace, None, 1)).cursor
    for wrong, other in ((cursor, workspace + 1), (cursor[:-1], workspace), ("AAAA", workspace)):
        with pytest.raises(OmniError) as caught:
            await exports.pull(other, wrong, 1)
        assert caught.value.code is Code.INVALID_REQUEST
    for place in ("", "x.y", "1.2", f"-1.{uuid4()}", f"{2**64}.{uuid4()}"):
        with pytest.raises(OmniError) as caught:
            await world.api.request(ReadCallsV1(workspace_id=workspace, order="changed", after=place), CallPageV1)
        assert caught.value.code is Code.INVALID_REQUEST


class Counting(Exports):
    """Counts the pages it has asked for."""

    asked = 0

    async def _read(self, query: ReadCallsV1) -> CallPageV1:
        self.asked += 1
        return await super()._read(query)


@pytest.mark.parametrize("format_", FORMATS)
async def test_who_does_not_read_asks_for_nothing_and_who_leaves_ends_it(
    world: World, app: Metering, workspace: int, format_: str
) -> None:
    write(world, workspace, 20_000)
    exports = Counting(world.api, SECRET)
    download = await exports.download(ReadCallsV1(workspace_id=workspace, limit=200), format_)
    async with aclosing(download.chunks) as chunks:  # type: ignore[type-var]
        await anext(chunks)
        asked = -1
        while asked != exports.asked:
            # Until the pipes are full. There is no event for a question that is not asked.
            asked = exports.asked
            await asyncio.sleep(0.5)
        assert exports._running == 1
        # Parquet is written a group of rows at a time, so all of them may have been read.
        assert asked < 100 or format_ == "parquet"
    assert exports._running == 0
    asked = exports.asked
    await asyncio.sleep(0.2)
    assert exports.asked == asked


async def test_a_file_that_is_cut_short_does_not_look_complete(world: World, exports: Exports, workspace: int) -> None:
    write(world, workspace, 3000)
    for format_ in FORMATS:
        broken = Breaking(world.api, SECRET)
        download = await broken.download(ReadCallsV1(workspace_id=workspace, limit=500), format_)
        with pytest.raises(OmniError):
            await whole(download.chunks)
        assert broken._running == 0


class Breaking(Exports):
    """Metering is away at the third page."""

    asked = 0

    async def _read(self, query: ReadCallsV1) -> CallPageV1:
        self.asked += 1
        if self.asked == 3:
            raise OmniError(Code.UNAVAILABLE, "away")
        return await super()._read(query)


async def test_pages_that_are_too_large_for_the_bus_are_halved(world: World, exports: Exports, workspace: int) -> None:
    write(world, workspace, 2000)
    long = "".join(random.choice("äöü🦊") for _ in range(300))  # noqa: S311 - no secret
    names = ("model", "finish_reason", "provider_request_id", "trace_id", "call_id", "price_version", "alias_name")
    world.sql(f"UPDATE ai_call_logs SET {', '.join(f'{name} = %s' for name in names)} WHERE workspace_id = {workspace}",
              *[long] * len(names))  # fmt: skip
    page = await world.api.request(ReadCallsV1(workspace_id=workspace), CallPageV1)
    assert 0 < page.rows < 1000
    assert page.more
    download = await exports.download(ReadCallsV1(workspace_id=workspace), "ndjson")
    assert len(lines(await whole(download.chunks))) == 2000
