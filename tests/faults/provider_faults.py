"""What a provider can do to a call, and how the call must end: the expected outcome table of the fault matrix.

``whole``/``streamed``: outcome, detail and number of requests at the faulty host when it is the only target. ``code``:
the caller's error then. With a healthy target behind it the call succeeds, unless ``stops``.
"""

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from shared.errors import Code
from shared.messages.vocabulary import Outcome
from shared.testing.upstream import Answer, json_answer, stream_answer

GOOD = {
    "choices": [{"finish_reason": "stop", "message": {"content": "Hello there, world."}}],
    "usage": {"prompt_tokens": 3, "completion_tokens": 4},
}
JSON, SSE = {"content-type": "application/json"}, {"content-type": "text/event-stream"}
_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


def event(payload: Any) -> bytes:
    return b"data: " + json.dumps(payload).encode() + b"\n\n"


def words(*texts: str) -> tuple[bytes, ...]:
    return tuple(event({"choices": [{"delta": {"content": text}, "finish_reason": None}]}) for text in texts)


END = event({"choices": [{"delta": {}, "finish_reason": "stop"}]})
USAGE = event({"choices": [], "usage": GOOD["usage"]})
DONE = b"data: [DONE]\n\n"
BEGUN = words("Hello ", "there")
HEALTHY = {False: json_answer(GOOD), True: stream_answer(*words("Hello ", "there, ", "world."), END, USAGE, DONE)}


@dataclass(frozen=True)
class End:
    """How a call at the faulty host alone ends. ``tries``: requests that reach the host; ``began``: text was told."""

    outcome: Outcome
    detail: str | None
    code: Code | None
    tries: int = 1
    began: bool = False


@dataclass(frozen=True)
class Fault:
    """``answer(streams)`` is what the host does; ``place``: where it is, when no answer can show it."""

    name: str
    answer: Callable[[bool], Answer]
    whole: End
    streamed: End
    stops: bool = False
    place: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


def _error(status: int, code: str | None = None, **headers: str) -> Callable[[bool], Answer]:
    return lambda _: json_answer({"error": {"message": "no", "code": code}}, status, headers=headers)


def _always(answer: Answer) -> Callable[[bool], Answer]:
    return lambda _: answer


def _by(whole: Answer, streamed: Answer) -> Callable[[bool], Answer]:
    return lambda streams: streamed if streams else whole


def _same(name: str, answer: Callable[[bool], Answer], end: End, **more: Any) -> Fault:
    return Fault(name, answer, end, end, **more)


_DOWN = (Outcome.PROVIDER_ERROR, Code.PROVIDER_ERROR)
_BODY = json.dumps(GOOD).encode()
_BAD, _CUT = Outcome.BAD_RESPONSE, "cut_answer"


def _status(status: int, detail: str | None = None, tries: int = 3) -> Fault:
    end = End(Outcome.PROVIDER_ERROR, detail or f"http_{status}", Code.PROVIDER_ERROR, tries)
    return _same(f"status {status}", _error(status), end)


def _refused(status: int, code: str | None, outcome: Outcome, detail: str, error: Code, tries: int = 1) -> Fault:
    return _same(f"{status} {code or ''}".strip(), _error(status, code), End(outcome, detail, error, tries))


def _late(name: str, answer: Callable[[bool], Answer], detail: str = "first_byte_timeout") -> Fault:
    return _same(name, answer, End(Outcome.TIMEOUT, detail, Code.TIMEOUT))


STATUS_FAULTS = (
    *(_status(status) for status in (500, 501, 502, 503, 520, 529)),
    _refused(504, None, Outcome.TIMEOUT, "http_504", Code.TIMEOUT),
    _refused(408, None, Outcome.TIMEOUT, "http_408", Code.TIMEOUT),
    _refused(429, "rate_limit_exceeded", Outcome.RATE_LIMITED, "rate_limit_exceeded", Code.RATE_LIMITED, 3),
    _refused(429, "insufficient_quota", Outcome.QUOTA_EXHAUSTED, "insufficient_quota", Code.PROVIDER_ERROR),
    _refused(402, None, Outcome.QUOTA_EXHAUSTED, "http_402", Code.PROVIDER_ERROR),
    _refused(401, "invalid_api_key", Outcome.INVALID_KEY, "invalid_api_key", Code.MISSING_KEY),
    _refused(403, None, Outcome.INVALID_KEY, "http_403", Code.MISSING_KEY),
    _refused(404, "model_not_found", Outcome.INVALID_REQUEST, "unknown_model", Code.PROVIDER_ERROR),
    _refused(400, "unknown_parameter", Outcome.INVALID_REQUEST, "unknown_parameter", Code.INVALID_REQUEST),
    _refused(413, None, Outcome.INVALID_REQUEST, "http_413", Code.INVALID_REQUEST),
    _refused(422, None, Outcome.INVALID_REQUEST, "http_422", Code.INVALID_REQUEST),
    _refused(
        400, "context_length_exceeded", Outcome.CONTEXT_LENGTH_EXCEEDED, "context_length_exceeded",
        Code.CONTEXT_LENGTH_EXCEEDED,
    ),
    Fault(
        "400 content_filter", _error(400, "content_filter"),
        End(Outcome.CONTENT_POLICY, "content_filter", Code.CONTENT_POLICY),
        End(Outcome.CONTENT_POLICY, "content_filter", Code.CONTENT_POLICY), stops=True,
    ),
    _same("redirect", _error(302, location="http://127.0.0.1:1/"), End(_BAD, "http_302", Code.PROVIDER_ERROR)),
    _same("status 204", _always(Answer(204)), End(_BAD, None, Code.PROVIDER_ERROR)),
    _same(
        "429 wait a day", _error(429, "rate_limit_exceeded", **{"retry-after": "86400"}),
        End(Outcome.RATE_LIMITED, "rate_limit_exceeded", Code.RATE_LIMITED),
    ),
)  # fmt: skip

TIMING_FAULTS = (
    _late("no answer", _always(Answer(hang=True))),
    Fault(
        "headers, then silence", _by(Answer(body=_BODY, headers=JSON, cut_after=0, hang=True),
                                     stream_answer(asyncio.Event())),
        End(Outcome.TIMEOUT, "silent", Code.TIMEOUT), End(Outcome.TIMEOUT, "first_byte_timeout", Code.TIMEOUT),
    ),
    Fault(
        "silence in the middle", _by(Answer(body=_BODY, headers=JSON, cut_after=20, hang=True),
                                     stream_answer(*BEGUN, asyncio.Event())),
        End(Outcome.TIMEOUT, "silent", Code.TIMEOUT), End(Outcome.TIMEOUT, "silent", Code.TIMEOUT, began=True),
    ),
    Fault(
        "one byte at a time", _by(Answer(body=_BODY, headers=JSON, drip_s=0.05),
                                  stream_answer(*BEGUN, b": x" * 2_000, drip_s=0.002)),
        End(Outcome.TIMEOUT, "total_timeout", Code.TIMEOUT),
        End(Outcome.TIMEOUT, "total_timeout", Code.TIMEOUT, began=True), stops=True,
    ),
    Fault(
        "comments for ever", _by(Answer(hang=True), stream_answer(b": still working\n\n" * 400, drip_s=0.01)),
        End(Outcome.TIMEOUT, "first_byte_timeout", Code.TIMEOUT),
        End(Outcome.TIMEOUT, "first_byte_timeout", Code.TIMEOUT),
    ),
)  # fmt: skip

BYTE_FAULTS = (
    _same("garbage", _always(Answer(raw=b"\x00\x01\x02nonsense\r\n\r\n")), End(_BAD, "not_http", Code.PROVIDER_ERROR)),
    _same("closed without a word", _always(Answer(raw=b"")),
          End(Outcome.CONNECTION_ERROR, "connection_lost", Code.PROVIDER_ERROR)),
    _same("reset at once", _always(Answer(reset=True)),
          End(Outcome.CONNECTION_ERROR, "connection_lost", Code.PROVIDER_ERROR)),
    Fault(
        "cut in the middle", _by(Answer(body=_BODY, headers=JSON, cut_after=30),
                                 stream_answer(*BEGUN, *words("never"), cut_after=sum(map(len, BEGUN)) + 20)),
        End(_BAD, _CUT, Code.PROVIDER_ERROR), End(_BAD, _CUT, Code.PROVIDER_ERROR, 2, began=True),
    ),
    Fault(
        "reset in the middle", _by(Answer(body=_BODY, headers=JSON, cut_after=30, reset=True),
                                   stream_answer(*BEGUN, reset=True)),
        End(_BAD, _CUT, Code.PROVIDER_ERROR), End(_BAD, _CUT, Code.PROVIDER_ERROR, 2, began=True),
    ),
    _same("no JSON", _always(Answer(body=b"<html>hello</html>", headers={"content-type": "text/html"})),
          End(_BAD, "not_json", Code.PROVIDER_ERROR)),
    _same("an empty body", _always(Answer(body=b"", headers=JSON)), End(_BAD, "not_json", Code.PROVIDER_ERROR)),
    _same("JSON that is no object", _always(json_answer([1, 2])), End(_BAD, "not_json", Code.PROVIDER_ERROR)),
    _same("no choices", _always(json_answer({"choices": []})), End(_BAD, None, Code.PROVIDER_ERROR)),
    _same("broken gzip", _always(Answer(body=b"\x1f\x8bnope", headers=JSON | {"content-encoding": "gzip"})),
          End(_BAD, None, Code.PROVIDER_ERROR)),
    _same("an unknown encoding", _always(Answer(body=_BODY, headers=JSON | {"content-encoding": "br"})),
          End(_BAD, None, Code.PROVIDER_ERROR)),
    _same("deep JSON", _always(Answer(body=b"[" * 100_000, headers=JSON)), End(_BAD, "not_json", Code.PROVIDER_ERROR)),
    _same("half a surrogate", _always(Answer(body=_BODY.replace(b"there", b"\\ud800"), headers=JSON)),
          End(_BAD, "not_unicode", Code.PROVIDER_ERROR)),
)  # fmt: skip


def _streamed(name: str, streamed: Answer, end: End) -> Fault:
    return Fault(name, _by(Answer(body=b"{", headers=JSON), streamed), End(_BAD, "not_json", Code.PROVIDER_ERROR), end)


STREAM_FAULTS = (
    _streamed("no end", stream_answer(*BEGUN), End(_BAD, "unfinished", Code.PROVIDER_ERROR, 2, began=True)),
    _streamed("an end without [DONE]", stream_answer(*BEGUN, END, USAGE), End(Outcome.SUCCESS, None, None, began=True)),
    _streamed("nothing but [DONE]", stream_answer(DONE), End(Outcome.SUCCESS, None, None)),
    _streamed("a malformed chunk", stream_answer(*BEGUN, b"data: {nope\n\n"),
              End(_BAD, "malformed_chunk", Code.PROVIDER_ERROR, 2, began=True)),
    _streamed("an error in a 200", stream_answer(event({"error": {"message": "no", "code": "server_error"}})),
              End(Outcome.PROVIDER_ERROR, "server_error", Code.PROVIDER_ERROR)),
    _streamed("an error in the middle", stream_answer(*BEGUN, event({"error": {"code": "server_error"}})),
              End(Outcome.PROVIDER_ERROR, "server_error", Code.PROVIDER_ERROR, 2, began=True)),
    _streamed("an empty stream", stream_answer(), End(_BAD, "unfinished", Code.PROVIDER_ERROR)),
    _streamed("half a character", stream_answer(b'data: {"choices":[{"delta":{"content":"\xc3'),
              End(_BAD, "unfinished", Code.PROVIDER_ERROR)),
    _streamed("half a chunk header", Answer(raw=_HEAD + b"5"), End(_BAD, _CUT, Code.PROVIDER_ERROR)),
)  # fmt: skip

PLACE_FAULTS = (
    _same("nobody listens", _error(500), End(Outcome.CONNECTION_ERROR, "connect_failed", Code.PROVIDER_ERROR, 0),
          place="closed"),
    _same("no such name", _error(500), End(Outcome.CONNECTION_ERROR, "connect_failed", Code.PROVIDER_ERROR, 0),
          place="unknown"),
    _same("no TLS where TLS is asked for", _error(500),
          End(Outcome.CONNECTION_ERROR, "tls_failed", Code.PROVIDER_ERROR, 0), place="plain"),
    _same("a certificate nobody vouches for", _error(500),
          End(Outcome.CONNECTION_ERROR, "tls_failed", Code.PROVIDER_ERROR, 0), place="self-signed"),
)  # fmt: skip

FAULTS = (*STATUS_FAULTS, *TIMING_FAULTS, *BYTE_FAULTS, *STREAM_FAULTS, *PLACE_FAULTS)
