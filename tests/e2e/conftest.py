from collections.abc import AsyncIterator, Iterator

import pytest

from shared.testing.stack import Stack
from tests.e2e.world import World, connected


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """One stack for all end-to-end tests; provider base URLs may point at test servers on loopback."""
    home = tmp_path_factory.mktemp("e2e") / "home"
    running = Stack.start(home, environment={"OMNIPOST_ALLOWED_PRIVATE_HOSTS": "127.0.0.1"})
    yield running
    running.stop()


@pytest.fixture(scope="session")
async def world(stack: Stack) -> AsyncIterator[World]:
    """A platform admin on the stack."""
    async with connected(stack) as made:
        yield made
