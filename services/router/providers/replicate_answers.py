"""Answers of Replicate: predictions at every stage, their streams, errors."""

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import quote, urlsplit

from services.router.domain.sse import ServerEvent
from services.router.providers.answers import bad_response, failure_of, generated, request_id
from services.router.providers.base import (
    ChatAnswer,
    Failure,
    HttpAnswer,
    HttpRequest,
    Pending,
    at,
    count_at,
    json_of,
    object_in,
    text_at,
)
from services.router.providers.events import Broken, Done, Ended, Event, Text
from shared.messages.router import TokensV1
from shared.messages.vocabulary import Outcome

_ID = re.compile(r"[A-Za-z0-9_-]{1,100}")
_CREATED = frozenset({201, 202})
_SOONEST_S, _LATEST_S = 0.5, 5.0
_STREAM_HOSTS = (".replicate.com", ".replicate.net")
# What a prediction says only in words when it fails, in lower case.
_SAYINGS: Mapping[str, tuple[Outcome, str]] = {
    "nsfw": (Outcome.CONTENT_POLICY, "content_policy"),
    "safety": (Outcome.CONTENT_POLICY, "content_policy"),
    "sensitive": (Outcome.CONTENT_POLICY, "content_policy"),
    "content policy": (Outcome.CONTENT_POLICY, "content_policy"),
    "input is too long": (Outcome.CONTEXT_LENGTH_EXCEEDED, "context_length_exceeded"),
    "prompt length exceeds": (Outcome.CONTEXT_LENGTH_EXCEEDED, "context_length_exceeded"),
}


def decode(answer: HttpAnswer) -> ChatAnswer | Failure | Pending:
    """What a prediction amounts to: the answer, its failure, or when and how to ask for it again."""
    if answer.status != 200 and answer.status not in _CREATED:
        return failure_of(answer)
    body = json_of(answer)
    if body is None:
        return bad_response(answer, "not_json")
    match body.get("status"):
        case "succeeded":
            return _answer(answer, body)
        case "starting" | "processing":
            return _pending(answer, body)
        case "failed" | "canceled" | "aborted" as status:
            outcome, detail = _meaning(at(body, "error"), f"prediction_{status}")
            return Failure(
                outcome, answer.status, detail, tokens=tokens_in(body), provider_request_id=_id(answer, body)
            )
    return bad_response(answer, "unfinished")


def _answer(answer: HttpAnswer, body: dict[str, Any]) -> ChatAnswer | Failure:
    output = body.get("output")
    pieces: list[Any] = output if isinstance(output, list) else [output]
    text = "".join(pieces) if all(isinstance(piece, str) for piece in pieces) else None
    # A prediction never says why its model stopped.
    return generated(
        answer, tokens_in(body), finish="unknown", text=text, model=text_at(body, "model"), id_=body.get("id")
    )


def _id(answer: HttpAnswer, body: dict[str, Any]) -> str | None:
    return request_id(answer, body.get("id"))


def tokens_in(body: dict[str, Any]) -> TokensV1:
    """Usage, which only some models tell."""
    return TokensV1(
        input_tokens=count_at(body, "metrics", "input_token_count"),
        output_tokens=count_at(body, "metrics", "output_token_count"),
    )


def _pending(answer: HttpAnswer, body: dict[str, Any]) -> Pending | Failure:
    id_ = text_at(body, "id")
    if id_ is None or not _ID.fullmatch(id_):
        return bad_response(answer, "no_prediction_id")
    # Its addresses are built here: what an answer names is not where a key goes.
    path = f"/predictions/{quote(id_, safe='')}"
    poll, cancel = HttpRequest("GET", path, {}, b""), HttpRequest("POST", f"{path}/cancel", {}, b"")
    stream = at(body, "urls", "stream")
    if _was_asked_to_stream(answer, body) and isinstance(stream, str) and _is_theirs(stream, at(body, "urls", "get")):
        follow = HttpRequest("GET", urlsplit(stream).path or "/", {"accept": "text/event-stream"}, b"")
        return Pending(follow, 0, cancel, streams=True, elsewhere=stream, poll=poll)
    return Pending(poll, _pause_s(answer, body), cancel)


def _was_asked_to_stream(answer: HttpAnswer, body: dict[str, Any]) -> bool:
    # Every new prediction names a stream. Who wants the whole answer asked to wait, and is told that it was heard.
    heard = "preference-applied" in answer.headers
    return answer.status in _CREATED and (body.get("stream") is True or not heard)


def _is_theirs(stream: str, poll: object) -> bool:
    """Whether the address of a stream is Replicate's, or on the very host that the prediction itself is on."""
    try:
        there, here = urlsplit(stream), urlsplit(poll if isinstance(poll, str) else "")
        home = (there.scheme, there.hostname, there.port) == (here.scheme, here.hostname, here.port)
    except ValueError:
        return False
    if there.hostname is None or there.username is not None or there.scheme not in {"https", "http"}:
        return False
    return home or (there.scheme == "https" and there.port is None and there.hostname.endswith(_STREAM_HOSTS))


def _pause_s(answer: HttpAnswer, body: dict[str, Any]) -> float:
    # A tenth of its age by the provider's own clock: pauses grow although nothing is remembered.
    try:
        now = parsedate_to_datetime(answer.headers.get("date", ""))
        age_s = (now - datetime.fromisoformat(text_at(body, "created_at") or "")).total_seconds()
    except (ValueError, TypeError):
        return _SOONEST_S
    return min(max(age_s / 10, _SOONEST_S), _LATEST_S)


def events(event: ServerEvent) -> Iterator[Event]:
    """What one event of a prediction's stream says."""
    match event.name:
        case "output":
            yield Text(event.data)
        case "error":
            yield Broken(*_meaning(event.data, "prediction_failed"))
        case "done":
            reason = text_at(object_in(event.data), "reason")
            if reason is not None:
                yield Broken(
                    Outcome.PROVIDER_ERROR, "prediction_canceled" if reason == "canceled" else "prediction_failed"
                )
            yield Ended("unknown")
            yield Done()


def _meaning(error: object, otherwise: str) -> tuple[Outcome, str]:
    said = error.lower() if isinstance(error, str) else ""
    return next((value for words, value in _SAYINGS.items() if words in said), (Outcome.PROVIDER_ERROR, otherwise))
