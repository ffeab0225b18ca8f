"""Requests and answers for the tests of dialects."""

import json
from typing import Any

from services.router.domain.sse import EventParser
from services.router.providers.assembly import Assembly
from services.router.providers.base import Adapter, ChatAnswer, ChatRequest, Dialect, Failure, HttpAnswer
from shared.messages.chat import ChatMessageV1, ChatOptionsV1, DeltaV1

USER = ChatMessageV1(role="user", content="Hi")
SYSTEM = ChatMessageV1(role="system", content="Be kind.")


def answer(payload: object, status: int = 200, **headers: str) -> HttpAnswer:
    body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    return HttpAnswer(status, {name.replace("_", "-"): value for name, value in headers.items()}, body)


def request(*messages: ChatMessageV1, model: str = "m", **options: Any) -> ChatRequest:
    return ChatRequest(model, messages or (USER,), ChatOptionsV1(**({"max_tokens": 9} | options)))


def sent(adapter: Adapter, made: ChatRequest) -> Any:
    return json.loads(adapter.chat.encode(made).body)


def streamed(dialect: Dialect, raw: str, *, clean: bool = True) -> tuple[list[DeltaV1], ChatAnswer | Failure]:
    """What a streamed answer delivers and amounts to; the same however its bytes are cut."""
    body = raw.encode()
    readings = [_heard(dialect, body, size, clean=clean) for size in (1, 3, 64, len(body))]
    assert all(reading == readings[0] for reading in readings)
    return readings[0]


def _heard(dialect: Dialect, body: bytes, size: int, *, clean: bool) -> tuple[list[DeltaV1], ChatAnswer | Failure]:
    parser, assembly, deltas = EventParser(), Assembly(), []
    for start in range(0, len(body), size):
        for event in parser.feed(body[start : start + size]):
            deltas += [delta for said in dialect.events(event) if (delta := assembly.add(said)) is not None]
    return deltas, assembly.end(clean=clean, lenient=dialect.lenient)
