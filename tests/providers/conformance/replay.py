"""One item played: our request beside the recorded one, the recorded answer through a real server and our client."""

import json
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from services.router.client import ProviderClient
from services.router.domain.sse import ServerEvent
from services.router.providers import OPENAI_COMPATIBLE, PROVIDERS
from services.router.providers.assembly import Assembly
from services.router.providers.base import (
    Adapter,
    ChatRequest,
    Dialect,
    EmbedRequest,
    Failure,
    HttpAnswer,
    HttpRequest,
    Pending,
)
from services.router.sending import Limits, Streamed
from shared.messages.chat import ChatMessageV1, ChatOptionsV1
from shared.testing.upstream import Received, Upstream
from tests.providers.conformance.canon import same_calls
from tests.providers.conformance.comparing import difference, differences
from tests.providers.conformance.expectations import EXPECTED, key_of
from tests.providers.conformance.material import CUSTOM, Item
from tests.providers.conformance.reference import reading
from tests.providers.conformance.saying import canonical, dialect_of, encoded, reason_of, say
from tests.providers.conformance.splitting import every_split

KEY = "sk-recorded-canary-0123456789"
LIMITS = Limits(connect_s=5, first_byte_s=5, total_s=20)
_CARRIES_KEY = {"anthropic": "x-api-key", "google": "x-goog-api-key"}
_SAME_HEADER = {"application/json; charset=utf-8": "application/json", "2026-10-21": "2023-06-01"}
_HELLO = (ChatMessageV1(role="user", content="Hello!"),)


@dataclass
class Outcome:
    """What became of an item. ``refused``: what the recorded request is refused for, and why; ``splits``: ways cut."""

    item: Item
    problems: list[str] = field(default_factory=list)
    refused: str | None = None
    by_hand: bool = False
    request_compared: bool = False
    splits: int = 0


class Ear:
    """Adds up a stream (a ``sending.Listener``)."""

    def __init__(self, dialect: Dialect) -> None:
        self.assembly, self._dialect = Assembly(), dialect

    @property
    def started(self) -> bool:
        return self.assembly.started

    @property
    def is_over(self) -> bool:
        return self.assembly.is_over

    async def hear(self, event: ServerEvent) -> None:
        for item in self._dialect.events(event):
            self.assembly.add(item)


def adapter_for(item: Item) -> Adapter:
    """The adapter of the item's provider."""
    if item.provider == CUSTOM:
        return OPENAI_COMPATIBLE
    adapter = PROVIDERS[item.provider].adapter
    assert adapter is not None, "a provider without an adapter"
    return adapter


async def replay(item: Item, client: ProviderClient, adapter: Adapter | None = None) -> Outcome:
    """Play ``item`` with its provider's adapter, or with another. ``problems`` says what differs."""
    outcome = Outcome(item)
    try:
        used = adapter or adapter_for(item)
        made = _request(item, used, outcome)
        received, result = await _played(item, made, client, used)
        if made is not None and item.exchange is not None:
            _compare_requests(item, received, outcome)
        _compare_answers(item, result, outcome)
    except Exception as error:  # noqa: BLE001 - one item that cannot be played must not hide the others
        outcome.problems.append(f"cannot be played: {type(error).__name__}: {error}")
    return outcome


def _request(item: Item, adapter: Adapter, outcome: Outcome) -> HttpRequest | None:
    """Our request for what was recorded; None where there is none, or where it is refused by name."""
    if item.exchange is None:
        return None
    if item.provider == "replicate" and not (item.exchange.method == "POST" and item.exchange.request_body):
        return _follow_up(item, adapter)
    said = say(item)
    made = said.refused[0] if said.request is None else encoded(item, adapter, said.request)
    if isinstance(made, HttpRequest):
        return made
    reason = reason_of(made)
    outcome.refused = f"{made}: {reason}"
    if reason is None:
        outcome.problems.append(f"refused, and not on purpose: {made}")
    return None


def _follow_up(item: Item, adapter: Adapter) -> HttpRequest | None:
    """The poll or the cancellation our adapter asks for after it was told of this prediction."""
    assert item.exchange is not None
    steps = item.exchange.path.split("/")
    if "predictions" not in steps:
        return None
    id_ = steps[steps.index("predictions") + 1]
    told = {"id": id_, "status": "starting", "urls": {}}
    pending = adapter.chat.decode(HttpAnswer(201, {}, json.dumps(told).encode()))
    assert isinstance(pending, Pending)
    return pending.cancel if steps[-1] == "cancel" else pending.request


def _base_path(item: Item) -> str:
    if item.provider != CUSTOM:
        return urlsplit(PROVIDERS[item.provider].base_url).path
    path = item.exchange.path if item.exchange is not None else ""
    return path.removesuffix("/chat/completions").removesuffix("/completions").removesuffix("/embeddings")


async def _played(
    item: Item, made: HttpRequest | None, client: ProviderClient, adapter: Adapter
) -> tuple[Received, Any]:
    request = made or _stand_in(item, adapter)
    async with Upstream() as upstream:
        upstream.always("POST", "*", item.answer)
        upstream.always("GET", "*", item.answer)
        base = upstream.base_url + _base_path(item)
        if item.kind == "embedding":
            assert adapter.embedding is not None
            whole = await client.send(base, request, adapter.auth(KEY), LIMITS)
            result = adapter.embedding.decode(whole.result) if isinstance(whole.result, HttpAnswer) else whole.result
            return upstream.requests[0], result
        dialect = dialect_of(adapter, item.kind)
        ear = Ear(dialect)
        if item.streams:
            told = await client.stream(base, request, adapter.auth(KEY), LIMITS, ear)
        else:
            told = await client.send(base, request, adapter.auth(KEY), LIMITS)
        return upstream.requests[0], _result(told.result, ear, dialect)


def _result(told: Streamed | HttpAnswer | Failure, ear: Ear, dialect: Dialect) -> Any:
    if isinstance(told, Streamed):
        return ear.assembly.end(clean=told.clean, lenient=dialect.lenient)
    return dialect.decode(told) if isinstance(told, HttpAnswer) else told


def _stand_in(item: Item, adapter: Adapter) -> HttpRequest:
    """Any request: the answer is what counts."""
    if item.kind == "embedding":
        assert adapter.embedding is not None
        return adapter.embedding.encode(EmbedRequest("m", ("Hello!",)))
    model = "a/b" if item.provider == "replicate" else "m"
    stand_in = ChatRequest(model, _HELLO, ChatOptionsV1(max_tokens=16), stream=item.streams)
    return dialect_of(adapter, item.kind).encode(stand_in)


def _compare_requests(item: Item, received: Received, outcome: Outcome) -> None:
    assert item.exchange is not None
    outcome.request_compared = True
    theirs, ours = urlsplit(item.exchange.url), urlsplit(received.path)
    query = "" if theirs.query == "beta=true" else theirs.query
    wanted = {"method": item.exchange.method, "path": theirs.path, "query": query}
    got = {"method": received.method, "path": ours.path, "query": ours.query}
    for name in ("content-type", "anthropic-version"):
        if name in item.headers:
            wanted[name] = _SAME_HEADER.get(item.headers[name].lower(), item.headers[name])
            got[name] = received.headers.get(name, "")
    outcome.problems += differences("request", wanted, got)
    carrier = _CARRIES_KEY.get(item.provider, "authorization")
    if KEY not in received.headers.get(carrier, "") or KEY in received.path:
        outcome.problems.append(f"the key is not in {carrier}, or in the path")
    if item.body:
        one, other = canonical(item, item.body), canonical(item, received.json)
        outcome.problems += differences("body", *same_calls(item.provider, one, other))


def _compare_answers(item: Item, result: Any, outcome: Outcome) -> None:
    expected, other = EXPECTED.get(key_of(item)), reading(item)
    outcome.by_hand = expected is not None
    if expected is not None and (problem := difference(expected, other)):
        outcome.problems.append(f"the reference reader differs from the expectation: {problem}")
    for wanted in (expected, other):
        if wanted is not None and (problem := difference(wanted, result)):
            outcome.problems.append(f"answer: {problem}")
    if item.streams and item.answer.status == 200:
        adapter = adapter_for(item)
        outcome.splits, problem = every_split(item.answer.body, dialect_of(adapter, item.kind))
        if problem:
            outcome.problems.append(problem)
