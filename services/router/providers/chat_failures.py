"""How an answer of the chat-completions dialect ends badly: error bodies, errors inside a 200, finish reasons."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from services.router.providers.answers import failure_of
from services.router.providers.base import Failure, HttpAnswer, at, json_of, text_at
from services.router.providers.chat_host import Host
from services.router.providers.events import Broken, Ended, Refused
from shared.messages.vocabulary import Outcome

IN_ANSWER = "error_in_answer"
_ANY = Host()
# Many hosts have no code for it.
_SAYINGS: Mapping[str, str] = {
    "maximum context length": "context_length_exceeded",
    "exceeds the context window": "context_length_exceeded",
}
_FINISH: Mapping[str, str] = {
    "stop": "stop",
    "length": "length",
    "model_length": "length",
    "tool_calls": "tool_calls",
}
_DECLINED: Mapping[str, Outcome] = {
    "content_filter": Outcome.CONTENT_POLICY,
    "sensitive": Outcome.CONTENT_POLICY,
    "model_context_window_exceeded": Outcome.CONTEXT_LENGTH_EXCEEDED,
}
_BROKEN: Mapping[str, str] = {"error": IN_ANSWER, "network_error": "network_error"}


def fail(answer: HttpAnswer, host: Host = _ANY) -> Failure:
    """The failure in an error answer: by what ``host`` says in words, by its codes, by the status."""
    return _failure(answer, json_of(answer), host)


def reported(answer: HttpAnswer, body: dict[str, Any], host: Host) -> Failure:
    """The failure that a 200 reports. Its ``status`` is the one it names, 200 when it names none."""
    named = _status_in(body)
    if named is not None:
        return _failure(replace(answer, status=named), body, host)
    unnamed = replace(answer, status=500)
    failure, unknown = _failure(unnamed, body, host), failure_of(unnamed).detail
    return replace(failure, status=200, detail=IN_ANSWER if failure.detail == unknown else failure.detail)


def reports_failure(body: dict[str, Any]) -> bool:
    """Whether a 200 is no answer: OpenRouter and others begin one before they know that it will fail."""
    return bool(body.get("error")) or body.get("type") == "error"


def ending(reason: object) -> Ended | Refused | Broken | None:
    """What a finish reason means; None when there is none."""
    if reason is None or reason == "":
        return None
    told = str(reason)
    if told in _FINISH:
        return Ended(_FINISH[told])
    if told in _DECLINED:
        return Refused(told, _DECLINED[told])
    if told in _BROKEN:
        return Broken(Outcome.PROVIDER_ERROR, _BROKEN[told])
    return Broken(Outcome.BAD_RESPONSE, "unfinished")


def _failure(answer: HttpAnswer, body: dict[str, Any] | None, host: Host) -> Failure:
    said = _words_in(body).lower() if 400 <= answer.status < 500 else ""
    meaning = next((code for words, code in {**host.sayings, **_SAYINGS}.items() if words in said), None)
    return failure_of(answer, meaning, *(host.codes.get(code, code) for code in _codes_in(body)))


def _codes_in(body: dict[str, Any] | None) -> list[str]:
    paths = (("error", "code"), ("error", "type"), ("code",), ("type",))
    return [str(code) for path in paths if isinstance(code := at(body, *path), str | int)]


def _words_in(body: dict[str, Any] | None) -> str:
    paths = (("error", "message"), ("message",), ("error",), ("detail",))
    return next((found for path in paths if (found := text_at(body, *path, longest=4000))), "")


def _status_in(body: dict[str, Any]) -> int | None:
    paths = (("error", "status_code"), ("error", "code"), ("raw_status_code",), ("code",))
    found = (at(body, *path) for path in paths)
    return next((code for code in found if type(code) is int and 400 <= code < 600), None)
