"""What somebody said and was answered is on no disk: by default, under zero retention, or stored sealed."""

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.canaries import Search, draw
from tests.e2e.content_run import CRASHES, Talk, search_of
from tests.e2e.content_ways import WAYS
from tests.e2e.echo import Echo
from tests.e2e.watched import Watched, watch
from tests.e2e.world import eventually, ok

WORDS = 250


@pytest.mark.timeout(900)
async def test_prompts_and_answers_are_nowhere(tmp_path_factory: pytest.TempPathFactory) -> None:
    words = iter(draw(WORDS, seed=11))
    async with watch(tmp_path_factory.mktemp("contents") / "home", "debug") as watched, Echo() as echo:
        providers = await echo.providers(watched.world)
        usual, zero, stored = (Talk(watched, echo, providers, words) for _ in range(3))
        await usual.begin()
        await zero.begin(zero_retention=True)
        await stored.begin(store_content=True)
        for talk in (usual, zero, stored):
            await talk.everything()
        opened = await _what_is_stored(watched, stored, echo)
        for part, how in CRASHES:
            for talk in (usual, zero):
                await talk.crash(part, how)
        counts = await _rows(watched, usual, zero, stored)
        await _ended(watched, stored, opened)
        said = {word: way for talk in (usual, zero, stored) for word, way in talk.said.items()}
        refusals = [answer for talk in (usual, zero, stored) for answer in talk.refusals]
        search, found = await search_of(watched, list(said), refusals)
        spans = sum(len(request.body) for request in watched.collector.requests)
    print(
        f"words said={len(said)} reached_a_provider={len(echo.heard)} ways={len(WAYS) + 1} crashes={2 * len(CRASHES)} "
        f"refusals={len(refusals)} spans_bytes={spans} files={search.files} bytes={search.bytes} found={len(found)}"
    )
    print(f"stored: default={counts[0]} zero_retention={counts[1]} opted_in={counts[2]} opened={len(opened)}")
    assert not found[:20]
    assert counts[:2] == [0, 0]
    assert counts[2] == len(opened) > len(WAYS)


async def _what_is_stored(watched: Watched, talk: Talk, echo: Echo) -> dict[str, dict[str, Any]]:
    """Every stored content, opened: each word that reached a provider is in one, as it was said and answered."""
    held = "SELECT 1 FROM metering.reservations WHERE workspace_id = %s AND state = 'held'"

    async def all_settled() -> bool | None:
        return None if await watched.stack.query(held, talk.workspace) else True

    await eventually(all_settled, within_s=30)
    calls = await watched.world.calls(talk.workspace, len(WAYS) + 1)

    async def all_of_it() -> dict[str, dict[str, Any]] | None:
        found = {}
        for call in calls:
            answer = await talk.owner.get(f"/ai-usage/calls/{call['attempt_id']}/content")
            if answer.status_code == 404:
                return None
            found[call["attempt_id"]] = ok(answer)
        return found

    opened = await eventually(all_of_it, within_s=30)
    texts = {attempt: json.dumps(content) for attempt, content in opened.items()}
    heard = [word for word in talk.said if word in echo.heard]
    missed = [talk.said[word] for word in heard if not any(word in text for text in texts.values())]
    print(f"opted in: attempts={len(calls)} words={len(heard)} not_found_in_what_was_opened={missed}")
    assert not missed
    assert any(Search([word]).look("control", text.encode()) for word in heard for text in texts.values())
    answered = Counter(talk.said[word] for word in heard for one in opened.values() if word in str(_answer(one)))
    assert {"prompt", "conversation", "streamed", "continued", "held", "cut", "left"} <= set(answered)
    return opened


def _answer(content: dict[str, Any]) -> list[Any]:
    return [content.get("text"), content.get("tool_calls")]


async def _rows(watched: Watched, *talks: Talk) -> list[int]:
    query = "SELECT count(*) FROM metering.ai_call_contents WHERE workspace_id = %s"
    return [(await watched.stack.query(query, talk.workspace))[0][0] for talk in talks]


async def _ended(watched: Watched, talk: Talk, opened: dict[str, dict[str, Any]]) -> None:
    """Who may read, that it is audited, and that it ends: by days, by zero retention, with the workspace."""
    world, attempts = watched.world, list(opened)
    for role, status in (("viewer", 403), ("member", 403), ("admin", 200)):
        reader = await world.member(talk.workspace, role)
        assert (await reader.get(f"/ai-usage/calls/{attempts[0]}/content")).status_code == status
    audit = ok(await talk.owner.get("/ai-audit", limit=500))["items"]
    read = {entry["facts"]["attempt_id"] for entry in audit if entry["action"] == "content_opened"}
    assert read == set(attempts)
    table, days = "metering.ai_call_contents", "interval '31 days'"
    old = f"UPDATE {table} SET stored_at = stored_at - {days} WHERE attempt_id = %s RETURNING 1"
    await watched.stack.query(old, attempts[0])
    here = f"/ai-workspaces/{talk.workspace}/retention"
    for status, attempt in ((404, attempts[0]), (200, attempts[1])):
        assert (await talk.owner.get(f"/ai-usage/calls/{attempt}/content")).status_code == status
    ok(await talk.owner.put(here, zero_retention=True))
    assert [(await talk.owner.get(f"/ai-usage/calls/{one}/content")).status_code for one in attempts[1:4]] == [404] * 3
    assert (await talk.owner.put(here, store_content=True)).status_code == 409

    async def gone() -> bool | None:
        return (await _rows(watched, talk)) == [0] or None

    await eventually(gone)
    roots = await watched.stack.query("SELECT 1 FROM vault.content_roots WHERE workspace_id = %s", talk.workspace)
    assert roots == []


def test_there_are_enough_words() -> None:
    words: Iterator[str] = iter(draw(WORDS, seed=11))
    assert len(set(words)) == WORDS
