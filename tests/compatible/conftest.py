from collections.abc import AsyncIterator, Iterator

import pytest

from shared.testing.stack import Stack
from tests.compatible.here import Here, at
from tests.compatible.place import Place, placed
from tests.e2e.world import World, connected


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """One stack for all SDKs; provider base URLs may point at test servers on loopback."""
    home = tmp_path_factory.mktemp("compatible") / "home"
    running = Stack.start(home, environment={"OMNIPOST_ALLOWED_PRIVATE_HOSTS": "127.0.0.1"})
    yield running
    running.stop()


@pytest.fixture(scope="session")
async def world(stack: Stack) -> AsyncIterator[World]:
    """A platform admin on the stack."""
    async with connected(stack) as made:
        yield made


@pytest.fixture
async def here(place: Place) -> AsyncIterator[Here]:
    """The same, as an SDK of another dialect sees it."""
    async with at(place) as made:
        yield made


@pytest.fixture
async def place(world: World, stack: Stack) -> AsyncIterator[Place]:
    """A workspace of one's own, with a scripted provider and aliases to it."""
    async with placed(world, stack) as made:
        yield made
