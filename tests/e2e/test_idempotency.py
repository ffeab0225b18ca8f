"""The same Idempotency-Key: one call and the same answer, whoever dies in between."""

import asyncio
import json
from typing import Any
from uuid import uuid4

import httpx2
import pytest

from shared.testing.stack import Stack
from shared.testing.upstream import Upstream, json_answer, stream_answer
from tests.e2e.once_world import Asking, answered, arm, asking, back, own, there, true, upstream
from tests.e2e.world import CHAT, KEY, World, chat_answer, eventually, ok, problem

__all__ = ["own", "there", "upstream"]
SECRET_TEXT = "the answer nobody else may read"


async def test_the_same_question_is_answered_twice_and_asked_once(there: World, own: Stack, upstream: Upstream) -> None:
    asked = await asking(there, upstream)
    upstream.always("POST", CHAT, chat_answer(SECRET_TEXT))
    first, second = await asked.ask(), await asked.ask()
    assert ok(first) == ok(second)
    assert asked.called == 1
    assert "idempotent-replayed" not in first.headers
    assert second.headers["idempotent-replayed"] == "true"
    changed = problem(await asked.ask(prompt="Something else"), 422, "invalid_request")
    assert changed["field"] == "Idempotency-Key"
    other = await there.member(asked.workspace)
    theirs = await other.send("POST", "/ai-invoke", json=asked.body, headers={"idempotency-key": asked.key})
    assert ok(theirs)["call_id"] != first.json()["call_id"], "a key is its token's own"
    [(kept, _)] = await own.query(
        "SELECT answer, name FROM api.idempotent_requests WHERE effect_id = %s", first.json()["call_id"]
    )
    assert SECRET_TEXT.encode() not in kept
    rows = await own.query("SELECT row_to_json(r)::text FROM api.idempotent_requests r")
    assert rows
    assert not [row for (row,) in rows if asked.key in row or own.admin_token in row]


async def test_a_streamed_answer_is_streamed_again_from_what_was_kept(there: World, upstream: Upstream) -> None:
    asked = await asking(there, upstream)
    upstream.always("POST", CHAT, stream_answer(*_events("Hello", " there")))
    first, second = await asked.ask(stream=True), await asked.ask(stream=True)
    assert asked.called == 1
    assert first.text.splitlines()[-2] == second.text.splitlines()[-2], "the same last event"
    assert 'data: {"text": "Hello there"}' in second.text
    assert second.headers["idempotent-replayed"] == "true"


async def test_while_it_runs_a_repetition_is_told_to_wait(there: World, upstream: Upstream) -> None:
    asked = await asking(there, upstream)
    upstream.always("POST", CHAT, chat_answer(delay_s=1.5))
    first = asyncio.create_task(asked.ask())
    await eventually(lambda: true(asked.called == 1))
    waiting = await asked.ask()
    assert problem(waiting, 409, "conflict")["reason"] == "running"
    assert int(waiting.headers["retry-after"]) >= 1
    crowd = await asyncio.gather(*(asked.ask() for _ in range(20)))
    assert {response.status_code for response in crowd} == {409}
    ok(await first)
    assert ok(await asked.ask()) == first.result().json()
    assert asked.called == 1


async def test_a_crowd_with_one_key_makes_one_call(there: World, upstream: Upstream) -> None:
    asked = await asking(there, upstream)
    upstream.always("POST", CHAT, chat_answer(delay_s=0.3))
    crowd = await asyncio.gather(*(asked.ask() for _ in range(30)))
    statuses = [response.status_code for response in crowd]
    print(f"30 at once under one key: {statuses.count(200)} answered, {statuses.count(409)} told to wait, "
          f"{asked.called} provider calls")  # fmt: skip
    assert set(statuses) <= {200, 409}
    assert asked.called == 1


@pytest.mark.parametrize("key", ["", "x" * 256, "é", "tab\there"])
async def test_a_key_that_is_none_is_refused(there: World, upstream: Upstream, key: str) -> None:
    asked = await asking(there, upstream)
    asked.key = key
    headers = {"idempotency-key": key.encode("latin-1")}
    for path, body in (("/ai-invoke", asked.body), ("/ai-keys", {"provider": "openai", "api_key": KEY})):
        response = await asked.member.send("POST", path, json=body, headers=headers)
        assert problem(response, 422, "invalid_request")["field"] == "Idempotency-Key"


async def test_what_failed_may_be_tried_again_what_was_refused_for_good_may_not(
    there: World, upstream: Upstream
) -> None:
    asked = await asking(there, upstream)
    upstream.always("POST", CHAT, json_answer({"error": {"message": "no", "type": "x", "code": "x"}}, status=500))
    problem(await asked.ask(), 502, "provider_error")
    before = asked.called
    upstream.always("POST", CHAT, chat_answer())
    # The provider may rest for a moment after its failure, so another question stands in for that time.
    ok(await _until_ok(asked))
    assert asked.called == before + 1


async def test_zero_retention_keeps_no_answer(there: World, own: Stack, upstream: Upstream) -> None:
    asked = await asking(there, upstream)
    upstream.always("POST", CHAT, chat_answer(SECRET_TEXT))
    kept = ok(await asked.ask())["call_id"]
    ok(await asked.member.put(f"/ai-workspaces/{asked.workspace}/retention", zero_retention=True))
    destroyed = problem(await asked.ask(), 409, "conflict")
    assert (destroyed["reason"], destroyed["call_id"]) == ("zero_retention", kept)
    asked.key = str(uuid4())
    first = ok(await asked.ask())
    again = problem(await asked.ask(), 409, "conflict")
    assert (again["reason"], again["call_id"]) == ("zero_retention", first["call_id"])
    assert asked.called == 2
    answers = "SELECT answer FROM api.idempotent_requests WHERE workspace_id = %s"
    assert {row[0] for row in await own.query(answers, asked.workspace)} == {None}


async def test_an_edge_that_died_before_it_asked_lets_the_call_be_made(
    there: World, own: Stack, upstream: Upstream
) -> None:
    asked = await asking(there, upstream)
    upstream.always("POST", CHAT, chat_answer())
    arm(own, "api.asks")
    await _killed(own, asked)
    ok(await answered(asked))
    assert asked.called == 1


async def test_an_edge_that_died_while_the_call_ran_does_not_make_it_again(
    there: World, own: Stack, upstream: Upstream
) -> None:
    asked = await asking(there, upstream)
    upstream.always("POST", CHAT, chat_answer(delay_s=1.0))
    first = asyncio.create_task(asked.ask())
    await eventually(lambda: true(asked.called == 1))
    killed = own.kill("api")
    with pytest.raises(httpx2.TransportError):
        await first
    await back(own, killed)
    lost = problem(await answered(asked), 409, "conflict")
    assert (lost["reason"], lost["outcome"]) == ("lost", "success")
    [row] = await there.calls(asked.workspace, 1)
    assert row["call_id"] == lost["call_id"], "what came of it can be looked up"
    assert asked.called == 1


async def test_an_edge_that_died_before_it_told_the_answer_tells_it_afterwards(
    there: World, own: Stack, upstream: Upstream
) -> None:
    asked = await asking(there, upstream)
    upstream.always("POST", CHAT, chat_answer(SECRET_TEXT))
    arm(own, "api.answers")
    await _killed(own, asked)
    assert ok(await answered(asked))["output"]["text"] == SECRET_TEXT
    assert asked.called == 1


async def test_a_router_that_died_over_a_call_does_not_have_it_made_again(
    there: World, own: Stack, upstream: Upstream
) -> None:
    asked = await asking(there, upstream)
    upstream.always("POST", CHAT, chat_answer(delay_s=2.0))
    first = asyncio.create_task(asked.ask())
    await eventually(lambda: true(asked.called == 1))
    killed = own.kill("router")
    assert (await first).status_code == 503
    await back(own, killed, "router")
    assert problem(await asked.ask(), 409, "conflict")["reason"] in ("running", "lost")
    assert asked.called == 1


async def _killed(own: Stack, asked: Asking) -> None:
    killed = own.pid("api")
    with pytest.raises(httpx2.TransportError):
        await asked.ask()
    await back(own, killed)


async def _until_ok(asked: Asking) -> httpx2.Response:
    async def fine() -> httpx2.Response | None:
        response = await asked.ask()
        return response if response.status_code == 200 else None

    return await eventually(fine, within_s=30)


def _events(*texts: str) -> list[bytes]:
    chunks: list[Any] = [{"choices": [{"index": 0, "delta": {"content": text}}]} for text in texts]
    chunks.append({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    chunks.append({"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}})
    return [*(f"data: {json.dumps(chunk)}\n\n".encode() for chunk in chunks), b"data: [DONE]\n\n"]
