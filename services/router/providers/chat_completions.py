"""The dialect of ``POST /chat/completions``: OpenAI's, and of all who copy it. A ``Host`` says how they differ."""

from dataclasses import replace
from functools import partial
from typing import Any

from services.router.providers.answers import bad_response, bearer, decode_by, generated
from services.router.providers.base import (
    Adapter,
    ChatAnswer,
    Dialect,
    Embedding,
    Failure,
    HttpAnswer,
    at,
    text_at,
)
from services.router.providers.chat_failures import ending, fail, reported, reports_failure
from services.router.providers.chat_host import Host
from services.router.providers.chat_request import encode
from services.router.providers.chat_stream import events, texts
from services.router.providers.chat_usage import tokens_in
from services.router.providers.chunks import is_unicode
from services.router.providers.events import Broken, Ended, Refused, Text
from services.router.providers.tool_calls import MOST_CALLS, MadeUp, arguments_text
from shared.messages.chat import ToolCallV1


def dialect(host: Host) -> Dialect:
    """How ``host`` is asked for an answer to a conversation."""
    return Dialect(
        encode=partial(encode, host=host),
        decode=decode_by(partial(read, host), partial(fail, host=host)),
        events=partial(events, host=host),
        options=host.options,
        passes=host.passes,
        prefill=host.prefill,
        lenient=host.lenient,
    )


def adapter(host: Host, *, completion: Dialect | None = None, embedding: Embedding | None = None) -> Adapter:
    """Everything ``host`` can be asked for."""
    return Adapter(dialect(host), bearer, partial(fail, host=host), completion, embedding)


def read(host: Host, answer: HttpAnswer, body: dict[str, Any]) -> ChatAnswer | Failure:
    """The first choice of a 200: its text or its tool calls, or the failure it reports."""
    tokens, choice = tokens_in(body), at(body, "choices", 0)
    if reports_failure(body):
        failure = reported(answer, body, host)
        return replace(failure, status=200 if choice else failure.status, tokens=tokens)
    message = at(choice, "message")
    end = Refused("refusal") if at(message, "refusal") else ending(at(choice, "finish_reason"))
    match end:
        case Refused(detail, outcome) | Broken(outcome, detail):
            return bad_response(answer, detail, tokens, outcome)
        case Ended(reason):
            finish: str | None = reason
        case _:
            finish = "unknown" if host.lenient else None
    calls = _calls(body, at(message, "tool_calls"))
    if calls is None:
        return bad_response(answer, "bad_tool_call", tokens)
    if calls and not is_unicode(body, answer.body.decode(errors="replace")):
        return bad_response(answer, "not_unicode", tokens)
    if calls and finish in {"stop", "unknown"}:
        finish = "tool_calls"
    if finish == "tool_calls" and not calls:
        finish = None
    text = _text(at(message, "content"), may_be_missing=bool(calls) or finish == "length")
    result = generated(answer, tokens, finish=finish, text=text, model=text_at(body, "model"), id_=at(body, "id"))
    cost = host.cost(answer.body) if host.cost else None
    if isinstance(result, Failure) or (not calls and cost is None):
        return result
    return replace(result, tool_calls=calls, provider_cost_usd_micros=cost)


def _text(content: object, *, may_be_missing: bool) -> str | None:
    # ``""`` is a text; a list of thoughts alone is none, unless the limit ended it there.
    if isinstance(content, str):
        return content
    found = [part.text for part in texts(content) if isinstance(part, Text)]
    return "".join(found) if found or may_be_missing else None


def _calls(body: dict[str, Any], told: object) -> tuple[ToolCallV1, ...] | None:
    """The tool calls of a message; None when there is something else in their place, or there are too many."""
    listed = told if isinstance(told, list) else []
    if len(listed) > MOST_CALLS:
        return None
    calls, made_up = [], MadeUp(body)
    for position, call in enumerate(listed):
        name, arguments = text_at(call, "function", "name"), at(call, "function", "arguments")
        text = (arguments or "{}") if isinstance(arguments, str) else arguments_text(arguments or {})
        if name is None:
            return None
        calls.append(ToolCallV1(id=text_at(call, "id") or made_up.id(position), name=name, arguments=text))
    return tuple(calls)
