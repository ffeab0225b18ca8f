"""Streams of the chat-completions family: what their events add up to, however they are cut."""

import json
from typing import Any

import pytest

from services.router.domain.sse import EventParser
from services.router.providers import OPENAI_COMPATIBLE, PROVIDERS
from services.router.providers.assembly import Assembly
from services.router.providers.base import Adapter, ChatAnswer, Dialect, Failure, billing_of
from shared.messages.chat import DeltaV1, ToolCallV1
from shared.messages.router import TokensV1
from shared.messages.vocabulary import Billing, Outcome

DONE = "data: [DONE]\n\n"


def _adapter(name: str) -> Adapter:
    adapter = OPENAI_COMPATIBLE if name == "compatible" else PROVIDERS[name].adapter
    assert adapter is not None
    return adapter


def sse(*payloads: Any, done: bool = True) -> bytes:
    lines = [item if isinstance(item, str) else f"data: {json.dumps(item)}\n\n" for item in payloads]
    return ("".join(lines) + (DONE if done else "")).encode()


def chunk(finish: str | None = None, usage: Any = None, **delta: Any) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    told = {} if usage is None else {"usage": usage}
    return {"id": "c-1", "model": "m-1", "choices": [choice], **told}


def heard(
    dialect: Dialect, body: bytes, size: int = 1 << 20, *, clean: bool = True
) -> tuple[ChatAnswer | Failure, list[DeltaV1]]:
    parser, assembly = EventParser(), Assembly()
    deltas = []
    for start in range(0, len(body), size):
        for event in parser.feed(body[start : start + size]):
            deltas += [delta for item in dialect.events(event) if (delta := assembly.add(item)) is not None]
    return assembly.end(clean=clean, lenient=dialect.lenient), deltas


USAGE = {"prompt_tokens": 12, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 4},
         "completion_tokens_details": {"reasoning_tokens": 2}}  # fmt: skip
TOLD = TokensV1(input_tokens=12, output_tokens=5, cache_read_tokens=4, reasoning_tokens=2)
LAST = {"id": "c-1", "model": "m-1", "choices": [], "usage": USAGE}
STREAMS: dict[str, tuple[str, bytes]] = {
    "usage without choices": ("openai", sse(
        chunk(role="assistant", content="", refusal=None) | {"usage": None, "obfuscation": "x7"},
        chunk(content="Héllo "), chunk(content="🌍"), chunk("stop"), LAST)),
    "usage in the last piece": ("mistral", sse(
        chunk(content=""), chunk(content="Héllo ") | {"p": "abc"}, chunk("stop", USAGE, content="🌍"))),
    "thoughts as parts": ("mistral", sse(
        chunk(content=[{"type": "thinking", "thinking": [{"type": "text", "text": "Hm"}], "closed": True}]),
        chunk(content=[{"type": "thinking", "thinking": []}, {"type": "text", "text": "Héllo "}]),
        chunk("stop", USAGE, content="🌍"))),
    "usage in a place of its own": ("groq", sse(
        chunk(content="Héllo ", reasoning="Hm"), chunk(content="🌍"), chunk("stop") | {"x_groq": {"usage": USAGE}})),
    "thoughts beside the text": ("zhipu", sse(
        chunk(role="assistant", reasoning_content="\n1"), chunk(content="Héllo "), chunk("stop", USAGE, content="🌍"))),
    "comments and a repeated end": ("openrouter", sse(
        ": OPENROUTER PROCESSING\n\n", chunk(content="Héllo 🌍"), chunk("stop"),
        chunk("stop", USAGE | {"cost": 1e-6}))),
    "no mark of the end": ("openai", sse(chunk(content="Héllo 🌍"), chunk("stop"), LAST, done=False)),
    "other line ends and a byte order mark": ("compatible", b"\xef\xbb\xbf" + sse(
        chunk(content="Héllo 🌍"), chunk("stop", USAGE)).replace(b"\n", b"\r\n")),
}  # fmt: skip


@pytest.mark.parametrize("case", STREAMS)
def test_every_way_to_stream_gives_the_same_answer_at_every_split(case: str) -> None:
    name, body = STREAMS[case]
    dialect = _adapter(name).chat
    for size in (*range(1, 40), 1 << 20):
        result, deltas = heard(dialect, body, size)
        assert isinstance(result, ChatAnswer), result
        assert (result.text, result.finish_reason, result.tokens) == ("Héllo 🌍", "stop", TOLD)
        assert "".join(delta.text for delta in deltas) == "Héllo 🌍"
        assert result.provider_cost_usd_micros == (1 if name == "openrouter" else None)
    whole = [body[:at] for at in range(len(body))]
    complete = [cut for cut in whole if isinstance(heard(dialect, cut, clean=False)[0], ChatAnswer)]
    assert all(b'"finish_reason": "stop"' in cut for cut in complete)
    print(f"\nstream {case!r}: 40 of 40 splits alike; {len(whole)} cuts, none before its end complete")


def _call(index: int | None, id_: str | None, name: str | None, arguments: Any) -> dict[str, Any]:
    row = {"id": id_, "type": "function", "function": {"name": name, "arguments": arguments}}
    return row if index is None else row | {"index": index}


TWO = (ToolCallV1(id="a1", name="f", arguments='{"x":1}'), ToolCallV1(id="b2", name="g", arguments="{}"))
TOOLS = {
    "in pieces, interleaved": sse(
        chunk(tool_calls=[_call(0, "a1", "f", "")]), chunk(tool_calls=[_call(1, "b2", "g", "")]),
        chunk(tool_calls=[_call(0, None, None, '{"x"')]), chunk(tool_calls=[_call(1, None, None, "{}")]),
        chunk(tool_calls=[_call(0, None, None, ":1}")]), chunk("tool_calls")),
    "whole, in one piece": sse(
        chunk("tool_calls", tool_calls=[_call(0, "a1", "f", '{"x":1}'), _call(1, "b2", "g", "{}")])),
    "whole, without numbers": sse(
        chunk(tool_calls=[_call(None, "a1", "f", '{"x":1}'), _call(None, "b2", "g", "{}")]), chunk("stop")),
    "arguments as objects": sse(
        chunk(tool_calls=[_call(0, "a1", "f", {"x": 1})]), chunk("tool_calls", tool_calls=[_call(1, "b2", "g", {})])),
}  # fmt: skip


@pytest.mark.parametrize("case", TOOLS)
@pytest.mark.parametrize("name", ["openai", "mistral", "groq", "zhipu", "openrouter", "compatible"])
def test_tool_calls(name: str, case: str) -> None:
    for size in (1, 5, 1 << 20):
        result, deltas = heard(_adapter(name).chat, TOOLS[case], size)
        assert isinstance(result, ChatAnswer), result
        assert (result.finish_reason, result.tool_calls, result.text) == ("tool_calls", TWO, "")
        pieces = [piece for delta in deltas for piece in delta.tool_calls]
        assert "".join(piece.arguments for piece in pieces if piece.index == 0) == TWO[0].arguments
        assert [piece.id for piece in pieces if piece.id] == ["a1", "b2"]


HELLO = chunk(content="Hel")
GROQ_ERROR = 'event: error\ndata: {"error":{"message":"m","code":"tool_use_failed","status_code":400}}\n\n'
HALF = 'data: {"choices":[{"delta":{"content":"\\ud83d"}}]}\n\n'
ROUTED = {"id": "g", "error": {"code": 502, "message": "m"}, "choices": [{"delta": {}, "finish_reason": "error"}]}
BAD, FAULT, POLICY, LIMITED = (
    Outcome.BAD_RESPONSE,
    Outcome.PROVIDER_ERROR,
    Outcome.CONTENT_POLICY,
    Outcome.RATE_LIMITED,
)
TROUBLES: list[tuple[str, str, bytes, Outcome, str, int]] = [
    ("error at once, with its number", "openrouter", sse(ROUTED), FAULT, "http_502", 502),
    ("error in the middle", "openrouter", sse(HELLO, ROUTED), FAULT, "http_502", 200),
    ("rate limit at once", "openrouter", sse({"error": {"code": 429, "message": "m"}}), LIMITED, "http_429", 429),
    ("event named error", "groq", sse(HELLO, GROQ_ERROR, done=False), BAD,
     "tool_use_failed", 200),
    ("event named error at once", "groq", sse(GROQ_ERROR), BAD, "tool_use_failed", 400),
    ("type error", "openai", sse({"type": "error", "code": "rate_limit_exceeded"}),
     LIMITED, "rate_limit_exceeded", 200),
    ("error without a code", "openai", sse({"error": {"message": "m"}}), FAULT, "error_in_answer", 200),
    ("error that is a text", "compatible", sse(HELLO, {"error": "out of memory"}), FAULT, "error_in_answer", 200),
    ("the provider's network", "zhipu", sse(HELLO, chunk("network_error")), FAULT, "network_error", 200),
    ("overloaded", "zhipu", sse({"error": {"code": "1305", "message": "m"}}), FAULT, "server_error", 200),
    ("half a chunk", "openai", sse(HELLO, 'data: {"choices":[{"del\n\n', chunk("stop")), BAD, "malformed_chunk", 200),
    ("no object", "compatible", sse("data: 7\n\n"), BAD, "malformed_chunk", 200),
    ("half a surrogate pair", "openai", sse(HALF), BAD, "not_unicode", 200),
    ("cut", "openai", sse(HELLO, done=False), BAD, "unfinished", 200),
    ("the mark of the end without a reason", "openai", sse(HELLO), BAD, "unfinished", 200),
    ("a reason nobody knows", "mistral", sse(HELLO, chunk("whim")), BAD, "unfinished", 200),
    ("tool calls announced, none came", "openai", sse(HELLO, chunk("tool_calls")), BAD, "unfinished", 200),
    ("a tool call of no tool", "openai", sse(chunk("tool_calls", tool_calls=[7])), BAD, "bad_tool_call", 200),
    ("filtered", "openai", sse(HELLO, chunk("content_filter", USAGE)), POLICY, "content_filter", 200),
    ("sensitive", "zhipu", sse(HELLO, chunk("sensitive", USAGE)), POLICY, "sensitive", 200),
    ("refused", "openai", sse(chunk(refusal="I'm"), chunk(refusal=" sorry"), chunk("stop", USAGE)),
     POLICY, "refusal", 200),
    ("context used up", "zhipu", sse(HELLO, chunk("model_context_window_exceeded", USAGE)),
     Outcome.CONTEXT_LENGTH_EXCEEDED, "model_context_window_exceeded", 200),
]  # fmt: skip


@pytest.mark.parametrize(("name", "body", "outcome", "detail", "status"), [row[1:] for row in TROUBLES],
                         ids=[row[0] for row in TROUBLES])  # fmt: skip
def test_a_stream_that_is_no_success(name: str, body: bytes, outcome: Outcome, detail: str, status: int) -> None:
    for size in (1, 13, 1 << 20):
        result, deltas = heard(_adapter(name).chat, body, size)
        assert isinstance(result, Failure)
        assert (result.outcome, result.detail, result.status) == (outcome, detail, status)
        assert "".join(delta.text for delta in deltas) in {"", "Hel"}
    # A refusal tells its usage, an error answer costs nothing, and for what was begun nobody knows.
    told = Billing.COST if b"prompt_tokens" in body else Billing.UNKNOWN
    assert billing_of(result, sent=True) is (Billing.NOTHING if status >= 400 else told)


def test_usage_that_an_error_itself_tells_counts() -> None:
    result, _ = heard(_adapter("openrouter").chat, sse(HELLO, ROUTED | {"usage": USAGE}))
    assert isinstance(result, Failure)
    assert (result.tokens, billing_of(result, sent=True)) == (TOLD, Billing.COST)


def test_a_lenient_host_may_end_without_a_reason_but_not_without_its_mark() -> None:
    whole, _ = heard(OPENAI_COMPATIBLE.chat, sse(chunk("", content="Hi")))
    assert isinstance(whole, ChatAnswer)
    assert (whole.text, whole.finish_reason, whole.tokens) == ("Hi", "unknown", TokensV1())
    cut, _ = heard(OPENAI_COMPATIBLE.chat, sse(chunk(content="Hi"), done=False))
    assert isinstance(cut, Failure)


@pytest.mark.parametrize("payload", [
    {"choices": 7}, {"choices": [7]}, {"choices": [{"delta": 7}]}, {"choices": [{"delta": {"tool_calls": 7}}]},
    {"choices": [{"delta": {"content": [7, {"type": "text", "text": 7}]}}]},
    {"choices": [], "usage": 7}, {"id": ["x"], "model": {}, "choices": []}, {},
])  # fmt: skip
@pytest.mark.parametrize("name", ["openai", "openrouter", "compatible"])
def test_no_shape_of_a_chunk_raises(name: str, payload: Any) -> None:
    result, _ = heard(_adapter(name).chat, sse(payload, chunk("length", content="Hi")))
    assert result.provider_request_id == "c-1"


def test_a_streamed_completion() -> None:
    dialect = _adapter("openai").completion
    assert dialect is not None
    rows = [{"id": "c", "choices": [{"text": text, "index": 0, "finish_reason": None}]} for text in (" +", " fib")]
    result, deltas = heard(dialect, sse(*rows, {"choices": [{"text": "", "finish_reason": "length"}]},
                                        {"choices": [], "usage": USAGE}))  # fmt: skip
    assert isinstance(result, ChatAnswer)
    assert (result.text, result.finish_reason, result.tokens) == (" + fib", "length", TOLD)
    assert [delta.text for delta in deltas] == [" +", " fib"]
