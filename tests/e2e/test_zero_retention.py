"""Nothing that is said stays: prompts, answers, tools, pictures and vectors, searched for in everything left behind."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from shared.testing.upstream import Answer, Upstream, json_answer
from tests.e2e.test_streaming import EMBEDDINGS, LAST, USAGE, chunk
from tests.e2e.watched import Watched, watch
from tests.e2e.world import CHAT, accept_keys, chat_answer, openai_error

MARK = "c4naryQz"
CASES = ("prompt", "system", "answer", "piece", "tool", "schema", "arguments", "result", "option", "field", "input")
SAID = {case: f"{MARK}-{case}" for case in CASES}
FUNCTION = {
    "name": "look",
    "description": SAID["tool"],
    "parameters": {"type": "object", "title": SAID["schema"]},
}
CALL = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": json.dumps({"a": SAID["arguments"]})}}
MESSAGES: list[dict[str, Any]] = [
    {"role": "system", "content": SAID["system"]},
    {"role": "user", "content": SAID["prompt"]},
    {"role": "assistant", "content": None, "tool_calls": [CALL]},
    {"role": "tool", "tool_call_id": "c1", "content": SAID["result"]},
]
TOOL = {"type": "function", "function": FUNCTION}
ASKED: dict[str, Any] = {"prompt": None, "messages": MESSAGES, "options": {"tools": [TOOL]}}


def called() -> Answer:
    message = {"role": "assistant", "content": SAID["answer"], "tool_calls": [CALL]}
    choice = {"message": message, "finish_reason": "tool_calls"}
    return json_answer({"model": f"the model says {SAID['answer']}", "choices": [choice], "usage": USAGE})


def stream(*, last: bytes = LAST) -> Answer:
    piece = {"index": 0, **CALL}
    parts = (chunk(delta={"content": SAID["piece"]}), chunk(delta={"tool_calls": [piece]}), last)
    return Answer(headers={"content-type": "text/event-stream"}, parts=parts)


async def say_everything(watched: Watched) -> list[int]:
    """Calls that succeed, fail, are cut and are refused; the statuses they were answered with."""
    world, statuses = watched.world, []
    async with Upstream() as upstream:
        accept_keys(upstream)
        workspace = await world.workspace()
        provider = await world.provider(upstream, capabilities=["chat", "embedding"])
        await world.key(workspace, provider)
        alias = "an-alias-by-its-name"
        await world.alias(workspace, provider, alias_name=alias)
        cut = chunk(delta={"content": SAID["piece"]})[:-9]
        upstream.script("POST", CHAT, called(), stream(), stream(last=cut), chat_answer(SAID["answer"]))
        upstream.always("POST", CHAT, openai_error(400, SAID["answer"]))
        own = {"provider_options": {provider: {"user": SAID["option"], SAID["field"]: SAID["option"]}}}
        bodies: list[dict[str, Any]] = [
            ASKED, {**ASKED, "stream": True}, {**ASKED, "stream": True}, {"prompt": SAID["prompt"]}, ASKED,
            {"prompt": SAID["prompt"], "options": own},
            {"prompt": SAID["prompt"], "options": {SAID["field"]: SAID["option"]}},
            {**ASKED, "options": {"tools": [{"type": "function", "function": {**FUNCTION, "name": SAID["tool"] * 9}}]}},
            {**ASKED, "options": {"response_format": {"type": SAID["schema"]}}},
            {**ASKED, "messages": [{"role": SAID["prompt"], "content": [{"type": SAID["prompt"]}]}]},
        ]  # fmt: skip
        for body in bodies:
            statuses.append((await world.invoke(workspace, alias, **body)).status_code)
        statuses += await embed(watched, upstream, workspace, provider)
        explained = await world.admin.get("/ai-aliases", workspace_id=workspace)
        for item in explained.json()["items"]:
            asked = {name: value for name, value in ASKED.items() if value is not None}
            statuses.append((await world.admin.post(f"/ai-aliases/{item['id']}/explain", **asked)).status_code)
        await world.calls(workspace, 4)
    return statuses


async def embed(watched: Watched, upstream: Upstream, workspace: int, provider: str) -> list[int]:
    world = watched.world
    alias = await world.alias(workspace, provider, capability="embedding")
    vectors = {"data": [{"index": 0, "embedding": [1.0, 2.0]}], "usage": {"prompt_tokens": 1}}
    upstream.script("POST", EMBEDDINGS, json_answer(vectors), json_answer({"data": [{"embedding": SAID["answer"]}]}))
    asked = [await world.invoke(workspace, alias, prompt=None, input=[SAID["input"]]) for _ in range(2)]
    return [answer.status_code for answer in asked]


def left_behind(folder: Path, mark: str) -> list[str]:
    """Files below ``folder`` that hold ``mark``."""
    files = [file for file in folder.rglob("*") if file.is_file() and not file.is_symlink()]
    return [str(file) for file in files if mark.encode() in file.read_bytes()]


@pytest.mark.timeout(180)
async def test_nothing_that_is_said_stays(tmp_path_factory: pytest.TempPathFactory) -> None:
    home = tmp_path_factory.mktemp("retention") / "home"
    async with watch(home, "debug") as watched:
        statuses = await say_everything(watched)
        logs = [name for name in ("api", "router", "vault", "metering") if MARK in watched.stack.log(name)]
        spans = sum(MARK.encode() in request.body for request in watched.collector.requests)
    files = await asyncio.to_thread(left_behind, home, MARK)
    kept = await asyncio.to_thread(left_behind, home, "an-alias-by-its-name")
    print(f"statuses={statuses} logs={logs} spans={spans} files={len(files)} files_with_the_alias={len(kept)}")
    assert {200, 422} <= set(statuses)
    assert not logs
    assert not spans
    assert not files
    assert kept, "what is kept is found"
