"""Answers of Gemini: whole ones, streamed ones, errors."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from services.router.providers.answers import bad_response, failure_of, generated, refused, seconds_in
from services.router.providers.base import ChatAnswer, Failure, HttpAnswer, at, count_at, json_body, json_of, text_at
from services.router.providers.chunks import MALFORMED, broken_by, is_unicode
from services.router.providers.events import Broken, Ended, Event, Named, Refused, Text, Thinking, Told, ToolPiece
from services.router.providers.tool_calls import MOST_CALLS, MadeUp, arguments_text, signed
from shared.messages.chat import ToolCallV1
from shared.messages.router import TokensV1
from shared.messages.vocabulary import Outcome

_FINISH: Mapping[str, str] = {"STOP": "stop", "MAX_TOKENS": "length"}
_BLOCKED = frozenset({"SAFETY", "RECITATION", "LANGUAGE", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "IMAGE_SAFETY"})
_BAD_CALL = "bad_tool_call"
_MISCALLED = frozenset({"MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL", "TOO_MANY_TOOL_CALLS"})
LONGEST_SIGNATURE = 65_000
"""Characters; a call's id may have little more when it comes back to the edge."""


def read(answer: HttpAnswer, body: dict[str, Any]) -> ChatAnswer | Failure:
    """The joined text parts and the calls of the first candidate; thoughts are left out."""
    tokens, reason = tokens_in(body), text_at(body, "candidates", 0, "finishReason")
    if at(body, "promptFeedback", "blockReason"):
        return refused(answer, "prompt_blocked", tokens)
    if reason in _BLOCKED:
        return refused(answer, reason.lower(), tokens)
    parts = at(body, "candidates", 0, "content", "parts")
    calls = _calls(body, parts)
    if calls is None or reason in _MISCALLED:
        return bad_response(answer, _BAD_CALL, tokens)
    if calls and not is_unicode(body, answer.body.decode(errors="replace")):
        return bad_response(answer, "not_unicode", tokens)
    text, finish = _text(parts), _FINISH.get(reason or "")
    if text is None and (calls or reason == "MAX_TOKENS"):
        text = ""  # thoughts can use up the limit before the first word
    if calls and finish == "stop":
        finish = "tool_calls"
    model = text_at(body, "modelVersion")
    made = generated(answer, tokens, finish=finish, text=text, model=model, id_=at(body, "responseId"))
    return replace(made, tool_calls=calls) if isinstance(made, ChatAnswer) else made


def _text(parts: object) -> str | None:
    if not isinstance(parts, list):
        return None
    texts = [at(part, "text") for part in parts if at(part, "thought") is not True and at(part, "text") is not None]
    return "".join(texts) if texts and all(isinstance(text, str) for text in texts) else None


def _calls(body: dict[str, Any], parts: object) -> tuple[ToolCallV1, ...] | None:
    listed, made_up = parts if isinstance(parts, list) else [], MadeUp(body)
    calls = [_call(made_up, index, part) for index, part in enumerate(listed) if at(part, "functionCall") is not None]
    good = [call for call in calls if call is not None]
    return tuple(good) if len(good) == len(calls) <= MOST_CALLS else None


def _call(made_up: MadeUp, index: int, part: object) -> ToolCallV1 | None:
    name, arguments = text_at(part, "functionCall", "name"), at(part, "functionCall", "args")
    if name is None or not isinstance(arguments, dict | None):
        return None
    signature = text_at(part, "thoughtSignature", longest=LONGEST_SIGNATURE)
    id_ = text_at(part, "functionCall", "id") or made_up.id(index)
    return ToolCallV1(id=signed(id_, signature), name=name, arguments=arguments_text(arguments or {}))


def tokens_in(body: dict[str, Any]) -> TokensV1:
    """Usage; thoughts are generated and paid for beside the candidates. A count of 0 is left out on the wire."""
    usage = at(body, "usageMetadata")
    prompt, total = count_at(usage, "promptTokenCount"), count_at(usage, "totalTokenCount")
    visible, thoughts = count_at(usage, "candidatesTokenCount"), count_at(usage, "thoughtsTokenCount")
    output = None if visible is None and thoughts is None else (visible or 0) + (thoughts or 0)
    if output is None and prompt is not None and total is not None and total >= prompt:
        output = total - prompt
    return TokensV1(
        input_tokens=prompt,
        output_tokens=output,
        cache_read_tokens=count_at(usage, "cachedContentTokenCount"),
        reasoning_tokens=thoughts,
    )


def events(body: dict[str, Any]) -> Iterator[Event]:
    """What one event of a stream says: it is an answer that holds the next parts, and the usage so far."""
    if at(body, "error") is not None:
        status = at(body, "error", "code")
        named = status if type(status) is int and 400 <= status < 600 else None
        yield broken_by(fail(HttpAnswer(named or 500, {}, json_body(body))), named)
        return
    yield Named(text_at(body, "modelVersion"), text_at(body, "responseId"))
    if "usageMetadata" in body:
        yield Told(tokens_in(body))
    if at(body, "promptFeedback", "blockReason"):
        yield Refused("prompt_blocked")
    parts, made_up = at(body, "candidates", 0, "content", "parts"), MadeUp(body)
    for index, part in enumerate(parts if isinstance(parts, list) else []):
        yield from _piece(made_up, index, part)
    reason = text_at(body, "candidates", 0, "finishReason")
    if reason in _BLOCKED:
        yield Refused(reason.lower())
    elif reason in _MISCALLED:
        yield Broken(Outcome.BAD_RESPONSE, _BAD_CALL)
    elif finish := _FINISH.get(reason or ""):
        yield Ended(finish, firm=False)


def _piece(made_up: MadeUp, index: int, part: object) -> Iterator[Event]:
    if at(part, "functionCall") is not None:
        call = _call(made_up, index, part)
        yield (
            Broken(Outcome.BAD_RESPONSE, _BAD_CALL)
            if call is None
            else ToolPiece(None, call.id, call.name, call.arguments)
        )
    elif at(part, "thought") is True:
        yield Thinking()
    elif at(part, "text") is not None:
        text = at(part, "text")
        yield Text(text) if isinstance(text, str) else MALFORMED


def fail(answer: HttpAnswer) -> Failure:
    """The failure in an error answer: by the reason in its details, then its ``status``."""
    body = json_of(answer)
    found = at(body, "error", "details")
    details = found if isinstance(found, list) else []
    reason = next((text for item in details if (text := text_at(item, "reason"))), None)
    wait = next((text for item in details if (text := text_at(item, "retryDelay"))), None)
    failure = failure_of(answer, reason, text_at(body, "error", "status"), retry_after_s=seconds_in(wait))
    if answer.status == 429 and _quota_is_out(details, wait):
        return replace(failure, outcome=Outcome.QUOTA_EXHAUSTED)
    said = text_at(body, "error", "message", longest=2000) or ""
    if answer.status == 400 and "exceeds the maximum number of tokens" in said:
        return replace(failure, outcome=Outcome.CONTEXT_LENGTH_EXCEEDED, detail="context_length_exceeded")
    return failure


def _quota_is_out(details: list[Any], wait: str | None) -> bool:
    # The same status and sentence stand for "slow down" and for "no more today"; the quota's name tells them apart.
    violations = [at(item, "violations") for item in details if at(item, "violations")]
    quotas = str(violations)
    return "PerDay" in quotas or (bool(violations) and wait is None and "PerMinute" not in quotas)
