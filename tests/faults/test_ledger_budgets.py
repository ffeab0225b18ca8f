"""Budgets under load: whole with ``FULL=1``. ``tests/integration/test_metering_load.py`` runs some of it in short."""

from collections.abc import AsyncIterator

import pytest

from services.metering.app import Metering
from shared.testing.stack import full_run
from tests.integration import ledger_runs
from tests.integration.metering_world import World, metering, metering_world

pytestmark = [pytest.mark.faults, pytest.mark.timeout(1200)]


@pytest.fixture
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with metering_world(tmp_path_factory.mktemp("budgets")) as world:
        yield world


@pytest.fixture
async def app(world: World) -> AsyncIterator[Metering]:
    async with metering(world) as app:
        yield app


class TestLedgerBudgets:
    async def test_no_cap_is_passed(self, world: World) -> None:
        await ledger_runs.no_overshoot(world, 1000 if full_run() else 100)

    async def test_settle_void_and_expire_have_one_winner(self, world: World, app: Metering) -> None:
        await ledger_runs.one_winner(world, app, 301, 10_000 if full_run() else 1000)

    async def test_no_hold_is_left_behind(self, world: World, app: Metering) -> None:
        await ledger_runs.no_hold_is_left(world, app, 302, 10_000 if full_run() else 1000)
