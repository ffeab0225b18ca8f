"""Real bytes of real providers, through a real server on loopback, our client and our adapters.

The shared recordings where they are, else fixtures of our own writing; the last test prints which, and how many.
"""

import json
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace

import pytest

from services.router.client import ProviderClient
from services.router.domain.sse import EventParser, ServerEvent
from services.router.providers.base import (
    Adapter,
    ChatAnswer,
    ChatRequest,
    Failure,
    HttpAnswer,
    HttpRequest,
    Pending,
    json_body,
)
from tests.providers.conformance.__main__ import FIXTURES, SHARED, default_folder, numbers
from tests.providers.conformance.expectations import EXPECTED, key_of
from tests.providers.conformance.material import HOSTS, Item, items_in
from tests.providers.conformance.replay import Outcome, adapter_for, replay
from tests.providers.conformance.splitting import every_split

ALL = items_in(default_folder())
IN_SCOPE = [item for item in ALL if item.in_scope]
PLAYED: list[Outcome] = []


@pytest.fixture(scope="module")
async def client() -> AsyncIterator[ProviderClient]:
    async with aclosing(ProviderClient(frozenset({"127.0.0.1"}))) as opened:
        yield opened


@pytest.mark.parametrize("item", IN_SCOPE, ids=lambda item: item.name[:100])
async def test_recorded(client: ProviderClient, item: Item) -> None:
    outcome = await replay(item, client)
    PLAYED.append(outcome)
    assert not outcome.problems


@pytest.mark.parametrize("item", [item for item in items_in(FIXTURES) if item.in_scope], ids=lambda item: item.name)
async def test_fixture_of_our_own(client: ProviderClient, item: Item) -> None:
    assert not (await replay(item, client)).problems


def _forgetful(adapter: Adapter, field: str) -> Adapter:
    """The adapter, but it leaves ``field`` out of what it sends."""

    def encode(request: ChatRequest) -> HttpRequest:
        made = adapter.chat.encode(request)
        return replace(made, body=json_body({k: v for k, v in json.loads(made.body).items() if k != field}))

    return replace(adapter, chat=replace(adapter.chat, encode=encode))


def _hasty(adapter: Adapter) -> Adapter:
    """The adapter, but it loses the last character of every text."""

    def decode(answer: HttpAnswer) -> ChatAnswer | Failure | Pending:
        read = adapter.chat.decode(answer)
        return replace(read, text=read.text[:-1]) if isinstance(read, ChatAnswer) else read

    return replace(adapter, chat=replace(adapter.chat, decode=decode))


async def test_an_adapter_that_errs_is_found(client: ProviderClient) -> None:
    items = {item.provider: item for item in items_in(FIXTURES) if item.name.endswith("chat__basic.json#0")}
    assert set(items) == set(HOSTS.values())
    for provider, item in items.items():
        adapter = adapter_for(item)
        for field in set(item.body) - {"input" if provider == "replicate" else "generationConfig"}:
            assert (await replay(item, client, _forgetful(adapter, field))).problems, (provider, field)
        if provider != "replicate":  # its first answer is that it works on one
            assert (await replay(item, client, _hasty(adapter))).problems, provider


class _Naive(EventParser):
    """Takes every chunk for whole events."""

    def feed(self, chunk: bytes) -> list[ServerEvent]:
        return EventParser().feed(chunk)


def test_a_parser_that_minds_where_bytes_are_cut_is_found() -> None:
    stream = next(item for item in items_in(FIXTURES) if item.streams and item.provider == "openai")
    assert every_split(stream.answer.body, adapter_for(stream).chat, _Naive)[1] is not None
    assert every_split(stream.answer.body, adapter_for(stream).chat)[1] is None


def test_what_was_replayed_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    good = sum(not outcome.problems for outcome in PLAYED)
    with capsys.disabled():
        print(f"\nproviders: {'shared recordings' if SHARED.is_dir() else 'our own fixtures'}: {default_folder()}")
        print("\n".join(numbers(ALL, PLAYED)))
        print(f"providers: {good} of {len(IN_SCOPE)} exchanges")
    assert {item.provider for item in IN_SCOPE} >= set(HOSTS.values())
    if SHARED.is_dir():
        noted = {key_of(item) for item in IN_SCOPE}
        assert set(EXPECTED) == noted, "an expectation that nothing is compared with, or an answer without one"
