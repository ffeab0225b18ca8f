"""The official SDKs as referees: for the same logical call they and our adapters send the same request.

Both are answered by a real server on loopback with an answer of ``fixtures``, and what arrives there is compared:
method, path, the headers that matter, the body by the table of ``conformance/EXCEPTIONS.md``.
"""

import asyncio
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import pytest

from services.router.providers import PROVIDERS
from shared.testing.upstream import Answer, Received, Upstream
from tests.providers.conformance.__main__ import FIXTURES
from tests.providers.conformance.comparing import differences
from tests.providers.conformance.material import Item, items_in
from tests.providers.conformance.saying import canonical
from tests.providers.referees.logical import Call, Sdk, drained, ours
from tests.providers.referees.openai_like import by_groq, by_openai, by_openai_for_openrouter, by_zai
from tests.providers.referees.own_dialects import by_anthropic, by_mistral
from tests.providers.referees.own_google import by_genai
from tests.providers.referees.own_replicate import by_replicate

KEY = "sk-referee-canary-0123456789"
REFEREES: Mapping[str, Sdk] = {
    "openai": by_openai,
    "anthropic": by_anthropic,
    "google": by_genai,
    "mistral": by_mistral,
    "groq": by_groq,
    "zhipu": by_zai,
    "openrouter": by_openai_for_openrouter,
    "replicate": by_replicate,
}
HEADERS = ("content-type", "authorization", "x-api-key", "anthropic-version", "x-goog-api-key", "prefer")
ANSWERS = items_in(FIXTURES)


def _answer(provider: str, call: Call) -> Answer:
    """An answer the SDK can read; of embeddings OpenAI's, where there is none of the provider's own."""
    if call == "embedding":
        wanted = provider if provider in {"google", "mistral"} else "openai"
        return next(item.answer for item in ANSWERS if (item.provider, item.kind) == (wanted, "embedding"))
    named = "chat__stream.json" if call == "stream" and provider != "replicate" else "chat__basic.json"
    return next(item.answer for item in ANSWERS if item.provider == provider and named in item.name)


async def _sent_by_sdk(provider: str, call: Call) -> Received:
    answer = _answer(provider, call)
    async with Upstream() as upstream:
        upstream.always("POST", "*", answer)
        upstream.always("GET", "*", answer)
        with REFEREES[provider](upstream.base_url, KEY) as calls:
            await asyncio.to_thread(lambda: drained(calls[call]()))
        assert len(upstream.requests) == 1
        return upstream.requests[0]


def _compared(provider: str, call: Call, theirs: Received) -> list[str]:
    request, adapter = ours(provider, call), PROVIDERS[provider].adapter
    assert adapter is not None
    mine = {**request.headers, **adapter.auth(KEY)}
    path = urlsplit(PROVIDERS[provider].base_url).path + request.path
    wanted = {name: theirs.headers[name] for name in HEADERS if name in theirs.headers}
    if "content-type" in wanted:
        wanted["content-type"] = wanted["content-type"].lower().removesuffix("; charset=utf-8")
    if provider == "anthropic":  # its SDK sends the key as a bearer's since 2.0; either is taken
        wanted["x-api-key"] = wanted.pop("authorization").removeprefix("Bearer ")
    got = {name: mine[name] for name in HEADERS if name in mine}
    kind = "embedding" if call == "embedding" else "chat"
    item = Item("", provider, kind, Answer(), None, {})
    return [
        *differences(
            "request", {"method": theirs.method, "path": theirs.path}, {"method": request.method, "path": path}
        ),
        *differences("headers", wanted, got),
        *(_of_bodies(provider, item, theirs, request.body) if theirs.body or request.body else ()),
    ]


def _of_bodies(provider: str, item: Item, theirs: Received, body: bytes) -> list[str]:
    return differences("body", canonical(item, theirs.json), canonical(item, _as_told(provider, body)))


def _as_told(provider: str, body: bytes) -> Any:
    # zai-sdk sends a picture's base64 alone; Zhipu documents "URL or base64", and a data URL is both.
    return json.loads(body.replace(b"data:image/png;base64,", b"") if provider == "zhipu" else body)


@pytest.mark.parametrize("provider", REFEREES)
async def test_official_sdk_sends_the_same(provider: str, capsys: pytest.CaptureFixture[str]) -> None:
    with REFEREES[provider]("http://127.0.0.1:9", KEY) as named:
        calls = list(named)
    found = {call: _compared(provider, call, await _sent_by_sdk(provider, call)) for call in calls}
    wrong = {call: problems for call, problems in found.items() if problems}
    with capsys.disabled():
        print(f"\nreferee: {provider} {len(calls) - len(wrong)} of {len(calls)}")
    assert not wrong, "\n".join(f"{call}: {problem}" for call in wrong for problem in wrong[call])
    assert len(calls) >= 8
