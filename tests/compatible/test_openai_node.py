"""The real ``openai`` package of npm, in a Node process of its own, over real sockets against a whole stack.

Node and npm are programs of the machine (20 or newer); the package comes by ``npm ci`` from the suite's lock.
"""

import asyncio
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from shared.testing.upstream import Answer, Received, Upstream
from tests.compatible.openai_failures import TIMES_OUT
from tests.compatible.place import (
    CHAT,
    EMBEDDINGS,
    Place,
    Tally,
    called,
    called_in_pieces,
    chat_answer,
    openai_error,
    streamed,
    vectors_answer,
)

HOME = Path(__file__).parent / "node"
SAID = {
    "stream": streamed("Hel", "lo"),
    "tools": called(),
    "tool stream": called_in_pieces(),
    "json": chat_answer('{"name":"Oslo"}'),
    "busy": openai_error(429, "rate_limit_exceeded"),
    "hang": Answer(hang=True),
    "cut": streamed("Hel", last=b""),
}


class Listening(Upstream):
    """A provider that answers by the last message of the question."""

    def _choose(self, request: Received) -> Answer:
        if request.path != CHAT:
            return super()._choose(request)
        content: Any = request.json["messages"][-1]["content"]
        return SAID.get(content) or chat_answer()


@pytest.fixture(scope="module")
async def installed() -> None:
    """The package is in the suite's folder, as its lock says."""
    assert shutil.which("npm"), "install Node 20 or newer: the npm package is tested as it is used"
    lock, done = HOME / "package-lock.json", HOME / "node_modules" / ".lock"
    if not done.exists() or done.read_bytes() != lock.read_bytes():
        code, said = await _run("npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts")
        assert code == 0, said
        done.write_bytes(lock.read_bytes())


async def _run(*command: str) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        *command, cwd=HOME, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    said, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, said.decode()


@pytest.mark.usefixtures("installed")
async def test_the_npm_package(place: Place) -> None:
    async with Listening() as upstream:
        await place.world.admin.put(f"/ai-providers/{place.provider}", base_url=f"{upstream.base_url}/v1")
        key = await place.world.key(place.workspace, place.provider)
        assert key["status"] in {"active", "unverified"}
        place.upstream.always("POST", EMBEDDINGS, vectors_answer())
        slow = await place.alias_with(**TIMES_OUT, on_stream_cut="error")
        told = {
            "baseURL": place.base_url, "token": place.token, "alias": place.alias, "embeds": place.embeds,
            "model": place.model, "slow": slow,
        }  # fmt: skip
        code, said = await _run("node", "suite.mjs", json.dumps(told))
        hung = sum(b'"hang"' in request.body for request in upstream.requests)
    lines = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    assert (code, bool(lines)) == (0, True), said
    tally = Tally("openai-node", cases=len(lines), passed={line["case"] for line in lines if line["error"] is None})
    tally.say()
    assert not [line for line in lines if line["error"] is not None], said
    assert hung == 1, "a timeout is not asked for again"
