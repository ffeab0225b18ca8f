"""The dialect of ``POST /chat/completions``: OpenAI's, and of everyone who copies it."""

from collections.abc import Mapping
from typing import Any

from services.router.domain.sse import ServerEvent
from services.router.providers.answers import failure_of, generated, refused
from services.router.providers.base import (
    ChatAnswer,
    ChatRequest,
    Failure,
    HttpAnswer,
    HttpRequest,
    at,
    count_at,
    json_body,
    json_of,
    text_at,
)
from services.router.providers.events import Event
from shared.messages.router import TokensV1

_FINISH: Mapping[str, str] = {"stop": "stop", "length": "length"}


def encode(request: ChatRequest, *, limit_field: str) -> HttpRequest:
    """The request; ``limit_field`` is what the host calls the limit of generated tokens."""
    options = request.options
    body: dict[str, Any] = {
        "model": request.model,
        "messages": [{"role": item.role, "content": item.text} for item in request.messages],
        limit_field: options.max_tokens,
        "temperature": options.temperature,
        "top_p": options.top_p,
        "stop": list(options.stop) if options.stop is not None else None,
        "seed": options.seed,
    }
    given = {name: value for name, value in body.items() if value is not None}
    return HttpRequest("POST", "/chat/completions", {"content-type": "application/json"}, json_body(given))


def read(answer: HttpAnswer, body: dict[str, Any], *, lenient: bool) -> ChatAnswer | Failure:
    """The text of the first choice. ``lenient`` hosts may leave out the finish reason or send text in parts."""
    if at(body, "error"):
        return fail(answer)
    tokens, reason = tokens_in(body), at(body, "choices", 0, "finish_reason")
    if text_at(body, "choices", 0, "message", "refusal", longest=1_000_000):
        return refused(answer, "refusal", tokens)
    if reason == "content_filter":
        return refused(answer, "content_filter", tokens)
    finish = "unknown" if lenient and reason is None else _FINISH.get(str(reason))
    text = _text(at(body, "choices", 0, "message", "content"), lenient=lenient)
    return generated(answer, tokens, finish=finish, text=text, model=text_at(body, "model"), id_=at(body, "id"))


def _text(content: object, *, lenient: bool) -> str | None:
    if isinstance(content, str):
        return content
    if not lenient or not isinstance(content, list):
        return None
    parts = [at(part, "text") for part in content if at(part, "type") == "text"]
    return "".join(parts) if parts and all(isinstance(part, str) for part in parts) else None


def tokens_in(body: dict[str, Any]) -> TokensV1:
    """Usage of the answer; what it does not tell is None."""
    return TokensV1(
        input_tokens=count_at(body, "usage", "prompt_tokens"),
        output_tokens=count_at(body, "usage", "completion_tokens"),
        cache_read_tokens=count_at(body, "usage", "prompt_tokens_details", "cached_tokens"),
        reasoning_tokens=count_at(body, "usage", "completion_tokens_details", "reasoning_tokens"),
    )


def fail(answer: HttpAnswer) -> Failure:
    """The failure in an error answer, by its ``code`` and ``type``."""
    body = json_of(answer)
    return failure_of(answer, text_at(body, "error", "code"), text_at(body, "error", "type"))


def events(_: ServerEvent) -> tuple[Event, ...]:
    """What one event of a stream says."""
    return ()
