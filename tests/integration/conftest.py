import random
from collections.abc import AsyncIterator

import pytest

from services.metering.app import Metering
from shared.testing.upstream import Upstream
from tests.integration.metering_world import World, metering_in_world


@pytest.fixture(scope="module")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[World, Metering]]:
    """Metering's world, with one replica inside this process."""
    async with metering_in_world(tmp_path_factory.mktemp("metering")) as running:
        yield running


@pytest.fixture
def world(running: tuple[World, Metering]) -> World:
    return running[0]


@pytest.fixture
def app(running: tuple[World, Metering]) -> Metering:
    return running[1]


@pytest.fixture
async def first() -> AsyncIterator[Upstream]:
    """A provider's host."""
    async with Upstream() as serving:
        yield serving


@pytest.fixture
async def second() -> AsyncIterator[Upstream]:
    """Another provider's host."""
    async with Upstream() as serving:
        yield serving


@pytest.fixture
def workspace() -> int:
    return random.randrange(1, 2**40)  # noqa: S311 - only unlike the others
