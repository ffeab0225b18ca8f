"""Answers of the router, and what a stream of a dialect says, for tests of dialects."""

import json
from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st

from services.api.dialects.dialect import Dialect, Writer
from shared.errors import OmniError
from shared.messages.chat import DeltaV1, ToolCallDeltaV1, ToolCallV1
from shared.messages.router import AttemptV1, InvokedV1, TokensV1
from shared.messages.vocabulary import Capability, Outcome

CALL_ID = "0190a5c8-6f5e-7c3e-9f7b-0a4b5c6d7e8f"
BARE = CALL_ID.replace("-", "")
CREATED = 1_795_000_000
TOKENS = TokensV1(input_tokens=100, output_tokens=20, cache_read_tokens=30, cache_write_tokens=10, reasoning_tokens=5)
WEATHER = ToolCallV1(id="call_1", name="weather", arguments='{"city":"Köln"}')
Events = list[tuple[str, dict[str, Any]]]


def answered(text: str = "Hello.", **more: Any) -> InvokedV1:
    """A complete answer."""
    given: dict[str, Any] = {
        "call_id": CALL_ID,
        "alias_name": "writer",
        "capability": Capability.CHAT,
        "provider": "openai",
        "model": "gpt-4o",
        "text": text,
        "finish_reason": "stop",
        "tokens": TOKENS,
        "cost_usd_micros": 12,
        "fallback_reason": None,
        "attempts": (AttemptV1(provider="openai", model="gpt-4o", outcome=Outcome.SUCCESS, status=200),),
        "latency_ms": 7,
    }
    return InvokedV1(**given | more)


def read(dialect: Dialect, **body: Any) -> Any:
    """The question in a body."""
    return dialect.read(json.dumps(body).encode())


def refused(dialect: Dialect, **body: Any) -> tuple[str, str]:
    """Field and rule that a body is refused by; nothing of what was sent may be in them."""
    try:
        dialect.read(json.dumps(body).encode())
    except OmniError as error:
        told = json.dumps([error.detail, error.extra, dialect.problem(error)])
        assert "canary" not in told, told
        first = error.extra["errors"][0]
        return first["field"], first["problem"]
    raise AssertionError("it was taken")


def events_of(written: bytes) -> Events:
    """Names and data of the events in ``written``."""
    found: Events = []
    for block in written.decode().split("\n\n")[:-1]:
        name, _, data = block.partition("\n")
        if not name.startswith(":"):
            found.append((name.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
    return found


def stream(writer: Writer, deltas: Sequence[DeltaV1], answer: InvokedV1) -> Events:
    """What ``writer`` says of an answer that came in ``deltas``; the first is made before the beginning is."""
    first = b"".join(writer.delta(delta) for delta in deltas)
    last = writer.end(answer)
    return events_of(writer.begin() + first + last)


def calls(*told: ToolCallDeltaV1) -> DeltaV1:
    """A piece of an answer with pieces of calls."""
    return DeltaV1(tool_calls=told)


def opening(index: int, arguments: str = "") -> ToolCallDeltaV1:
    """The first piece of a call."""
    return ToolCallDeltaV1(index=index, id=f"call_{index}", name=f"tool_{index}", arguments=arguments)


_ARGUMENTS = ('{"a": 1}', '{"city": "Köln", "days": [1, 2]}', "{}", "not json", "")


@st.composite
def pieces(draw: st.DrawFn) -> tuple[list[DeltaV1], str, tuple[ToolCallV1, ...]]:
    """Deltas in any order a provider could send, the whole text, and the whole calls."""
    deltas: list[DeltaV1] = []
    text = ""
    told: dict[int, str] = {}
    left: dict[int, str] = {}
    for _ in range(draw(st.integers(0, 24))):
        kind = draw(st.sampled_from(("text", "open", "go on")))
        if kind == "text":
            word = draw(st.text(min_size=1, max_size=5))
            text += word
            deltas.append(DeltaV1(text=word))
        elif kind == "open" and len(told) < 4:
            index = len(told)
            told[index] = draw(st.sampled_from(_ARGUMENTS))
            cut = draw(st.integers(0, len(told[index])))
            left[index] = told[index][cut:]
            deltas.append(calls(opening(index, told[index][:cut])))
        elif waiting := [index for index, rest in left.items() if rest]:
            index = draw(st.sampled_from(waiting))
            deltas.append(calls(ToolCallDeltaV1(index=index, arguments=left.pop(index))))
    deltas += [calls(ToolCallDeltaV1(index=index, arguments=rest)) for index, rest in left.items() if rest]
    whole = [ToolCallV1(id=f"call_{index}", name=f"tool_{index}", arguments=said) for index, said in told.items()]
    return deltas, text, tuple(whole)
