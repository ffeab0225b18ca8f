"""200 canary keys through every route and every failure, at the usual log level; then a search of all that is left."""

import pytest

from tests.e2e.canaries import draw
from tests.e2e.canary_run import CanaryRun
from tests.e2e.watched import watch

CANARIES = 200


@pytest.mark.timeout(600)
async def test_two_hundred_canary_keys_are_nowhere(tmp_path_factory: pytest.TempPathFactory) -> None:
    async with watch(tmp_path_factory.mktemp("canaries") / "home", "info") as watched:
        run = CanaryRun(watched, draw(CANARIES), thorough=False)
        await run.live()
        search, found = await run.search()
        exported = b"".join(request.body for request in watched.collector.requests)
    print(
        f"canaries={len(run.sent)} routes={len(run.routes)} answers={len(run.answers)} spans_bytes={len(exported)} "
        f"files={search.files} bytes={search.bytes} found={len(found)}"
    )
    assert not found[:20]
    assert len(run.sent) == CANARIES, "every canary has reached the provider"
    assert search.files > 1000
    assert b"chat m" in exported
