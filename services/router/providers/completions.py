"""The dialect of ``POST /completions``: a prompt goes on, at OpenAI and at hosts that copy it."""

from functools import partial
from typing import Any

from services.router.providers.answers import bad_response, decode_by, generated
from services.router.providers.base import (
    ChatAnswer,
    ChatRequest,
    Dialect,
    Failure,
    HttpAnswer,
    HttpRequest,
    Unfit,
    at,
    json_body,
    text_at,
)
from services.router.providers.chat_failures import ending, fail, reported, reports_failure
from services.router.providers.chat_host import JSON, PENALTIES, SAMPLING, Host
from services.router.providers.chat_request import given, passed, streaming
from services.router.providers.chat_stream import events
from services.router.providers.chat_usage import tokens_in
from services.router.providers.events import Ended

_PASSES = frozenset({"suffix", "logit_bias", "logprobs", "user"})


def dialect(host: Host) -> Dialect:
    """How ``host`` is asked to complete a prompt: the one message of the user there is."""
    return Dialect(
        encode=partial(encode, host=host),
        decode=decode_by(partial(read, host), partial(fail, host=host)),
        events=partial(events, host=host),
        options=SAMPLING | PENALTIES,
        passes=_PASSES,
        prefill=True,
        lenient=host.lenient,
    )


def encode(request: ChatRequest, host: Host) -> HttpRequest:
    """The request.

    Raises:
        Unfit: there is more than a prompt in it, or something that has no place here.
    """
    # A prompt that goes on is all a completion is: with what has been said of the answer it is a longer prompt.
    roles = ["user", "assistant"] if request.continues else ["user"]
    if [message.role for message in request.messages] != roles:
        raise Unfit("messages_besides_a_prompt")
    if request.messages[0].images:
        raise Unfit("image")
    options = request.options
    body = given(
        {
            "model": request.model,
            "prompt": "".join(message.text for message in request.messages),
            "max_tokens": options.max_tokens,
            "temperature": options.temperature,
            "top_p": options.top_p,
            "stop": list(options.stop) if options.stop is not None else None,
            "seed": options.seed,
            "frequency_penalty": options.frequency_penalty,
            "presence_penalty": options.presence_penalty,
            **streaming(request, asks_usage=host.asks_usage),
        }
    )
    return HttpRequest("POST", "/completions", JSON, json_body(body | passed(request, _PASSES)))


def read(host: Host, answer: HttpAnswer, body: dict[str, Any]) -> ChatAnswer | Failure:
    """The text of the first choice."""
    if reports_failure(body):
        return reported(answer, body, host)
    tokens, end = tokens_in(body), ending(at(body, "choices", 0, "finish_reason"))
    text = at(body, "choices", 0, "text")
    if end is not None and not isinstance(end, Ended):
        return bad_response(answer, end.detail, tokens, end.outcome)
    finish = end.reason if end is not None else "unknown" if host.lenient else None
    return generated(
        answer,
        tokens,
        finish=None if finish == "tool_calls" else finish,
        text=text if isinstance(text, str) else None,
        model=text_at(body, "model"),
        id_=at(body, "id"),
    )
