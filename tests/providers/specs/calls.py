"""Logical calls that together use every option of every adapter, in every form it can take."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from typing import Any

from services.router.domain.offer import Way
from services.router.domain.wish import lacking, wish_of
from services.router.providers.base import Adapter, ChatRequest, Dialect, EmbedRequest, HttpRequest, Unfit
from shared.messages.chat import ChatMessageV1, ChatOptionsV1

MODELS = {
    "openai": "gpt-5-mini",
    "anthropic": "claude-haiku-4-5",
    "google": "gemini-2.5-flash",
    "mistral": "mistral-small-latest",
    "groq": "openai/gpt-oss-120b",
    "zhipu": "glm-5.1",
    "openrouter": "openai/gpt-5-mini",
    "replicate": "meta/meta-llama-3-8b-instruct",
}
SEES = MODELS | {"zhipu": "glm-4.6v"}
THINKS = MODELS | {"zhipu": "glm-5.2"}
"""The models that are asked about pictures, and with an effort; the description lists models by what they do."""
_PIXEL = "data:image/png;base64,iVBORw0KGgo="
_SCHEMA = {
    "type": "object",
    "properties": {"port": {"type": "string"}},
    "required": ["port"],
    "additionalProperties": False,
}
_CALL = {"id": "Ab12Cd34E", "name": "tide", "arguments": '{"port":"Dover"}'}
_OTHER = {"id": "Zy98Xw76V", "name": "tide", "arguments": '{"port":"Calais"}'}
_USER = {"role": "user", "content": "How high is the tide?"}
_RESULT = {"role": "tool", "content": "6.1 m", "tool_call_id": "Ab12Cd34E"}
CONVERSATIONS: dict[str, list[dict[str, Any]]] = {
    "plain": [_USER],
    "system": [{"role": "system", "content": "Be brief."}, _USER],
    "turns": [_USER, {"role": "assistant", "content": "Where?"}, {"role": "user", "content": "In Dover."}],
    "parts": [{"role": "user", "content": [{"type": "text", "text": "Tide"}, {"type": "text", "text": " in Dover?"}]}],
    "picture": [{"role": "user", "content": [{"type": "text", "text": "What?"}, {"type": "image", "url": _PIXEL}]}],
    "linked picture": [{"role": "user", "content": [{"type": "image", "url": "https://example.com/a.png"}]}],
    "detailed picture": [{"role": "user", "content": [{"type": "image", "url": _PIXEL, "detail": "low"}]}],
    "tool result": [_USER, {"role": "assistant", "tool_calls": [_CALL]}, _RESULT],
    "two results": [
        _USER,
        {"role": "assistant", "content": "Both?", "tool_calls": [_CALL, _OTHER]},
        _RESULT,
        {"role": "tool", "content": '{"metres": 5.9}', "tool_call_id": "Zy98Xw76V"},
        {"role": "user", "content": "Thanks."},
    ],
}
_TOOL = {"name": "tide", "description": "Height of the tide.", "parameters": _SCHEMA}
_FORMAT = {"type": "json_schema", "name": "tide", "schema_": _SCHEMA, "strict": True}
OPTIONS: list[dict[str, Any]] = [
    {},
    {"temperature": 0.0},
    {"temperature": 0.7, "top_p": 0.9},
    {"temperature": 1.4},
    {"stop": ["END"]},
    {"stop": ["END", "\n\n"]},
    {"seed": 7},
    {"frequency_penalty": 0.5, "presence_penalty": -0.5},
    {"tools": [_TOOL]},
    {"tools": [{"name": "now"}], "tool_choice": "auto"},
    {"tools": [_TOOL | {"strict": True}], "parallel_tool_calls": False},
    {"tools": [_TOOL, {"name": "now", "description": "The time."}], "parallel_tool_calls": True},
    {"tools": [_TOOL], "tool_choice": "required"},
    {"tools": [_TOOL], "tool_choice": "none"},
    {"tools": [_TOOL], "tool_choice": {"name": "tide"}},
    {"response_format": {"type": "text"}},
    {"response_format": {"type": "json_object"}},
    {"response_format": _FORMAT},
    {"response_format": _FORMAT | {"description": "The tide.", "strict": None}},
    *({"reasoning_effort": effort} for effort in ("none", "minimal", "low", "medium", "high")),
    {"temperature": 1.0, "top_p": 0.5, "stop": ["END"], "seed": 1, "max_tokens": 1},
]
OWN: dict[str, list[dict[str, Any]]] = {
    "openai": [
        {"logit_bias": {"50256": -100}}, {"logprobs": True, "top_logprobs": 2}, {"metadata": {"a": "b"}},
        {"moderation": {"model": "omni-moderation-latest"}}, {"prompt_cache_key": "k"}, {"safety_identifier": "s"},
        {"store": False}, {"user": "u"}, {"verbosity": "low"},
    ],
    "anthropic": [
        {"thinking": {"type": "enabled", "budget_tokens": 1024}}, {"cache_control": {"type": "ephemeral"}},
        {"metadata": {"user_id": "u"}}, {"top_k": 5}, {"output_config": {"effort": "max"}},
    ],
    "google": [
        {"safetySettings": [{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_NONE"}]}, {"topK": 5},
        {"thinkingConfig": {"thinkingBudget": 0}}, {"mediaResolution": "MEDIA_RESOLUTION_LOW"},
        {"responseLogprobs": True, "logprobs": 2},
    ],
    "mistral": [
        {"metadata": {"a": "b"}}, {"prompt_cache_key": "k"}, {"prompt_mode": "reasoning"}, {"safe_prompt": True},
    ],
    "groq": [
        {"disable_tool_validation": True}, {"include_reasoning": False}, {"reasoning_format": "hidden"}, {"user": "u"},
    ],
    "zhipu": [{"do_sample": False}, {"thinking": {"type": "enabled"}}, {"tool_stream": True}, {"user_id": "user-1"}],
    "openrouter": [
        {"logit_bias": {"50256": -100}}, {"logprobs": True, "top_logprobs": 2}, {"metadata": {"a": "b"}},
        {"min_p": 0.1}, {"prompt_cache_key": "k"}, {"provider": {"order": ["openai"]}},
        {"reasoning": {"effort": "low"}},
        {"repetition_penalty": 1.1}, {"session_id": "s"}, {"top_a": 0.1}, {"top_k": 5}, {"trace": {"trace_id": "t"}},
        {"usage": {"include": True}}, {"user": "u"}, {"verbosity": "low"},
    ],
    "replicate": [
        {"top_k": 5}, {"min_tokens": 1}, {"presence_penalty": 0.1}, {"frequency_penalty": 0.1},
        {"prompt_template": "{prompt}"},
    ],
}  # fmt: skip
_COMPLETIONS: list[dict[str, Any]] = [{"suffix": "."}, {"logit_bias": {"50256": -100}}, {"logprobs": 2}, {"user": "u"}]


def chats(provider: str) -> Iterator[ChatRequest]:
    """Every conversation with every option and every field of its own; whole and streamed; one to go on with."""
    own = [{"provider_options": {provider: fields}} for fields in OWN[provider]]
    for said, asked in product(CONVERSATIONS.values(), [*OPTIONS, *own]):
        request = _chat(provider, said, asked)
        # The description of its models that see knows neither; which models do is said by the catalogue's features.
        if request.model != "glm-4.6v" or not any(name in str(asked) for name in ("response_format", "tool_stream")):
            yield request
    for said in CONVERSATIONS.values():
        yield replace(_chat(provider, said, {}), stream=True)
    begun = [_USER, {"role": "assistant", "content": "It is 6"}]
    yield replace(_chat(provider, begun, {}), continues=True)


def completions(provider: str) -> Iterator[ChatRequest]:
    """A prompt with every option and every field of its own; whole and streamed."""
    own = [{"provider_options": {provider: fields}} for fields in _COMPLETIONS]
    for asked, stream in product([*OPTIONS, *own], (False, True)):
        yield replace(_chat(provider, [_USER], asked), stream=stream)


def embeddings(provider: str) -> Iterator[EmbedRequest]:
    """One text and several, with a size and without."""
    for texts, size in product([("one",), ("one", "two", "drei")], (None, 256)):
        yield EmbedRequest(MODELS[provider], texts, size)


def _chat(provider: str, said: list[dict[str, Any]], asked: dict[str, Any]) -> ChatRequest:
    messages = tuple(ChatMessageV1.model_validate(message) for message in said)
    fits = SEES if any(message.images for message in messages) else THINKS if "reasoning_effort" in asked else MODELS
    return ChatRequest(fits[provider], messages, ChatOptionsV1(**({"max_tokens": 64} | asked)))


def sent(provider: str, dialect: Dialect, request: ChatRequest) -> HttpRequest | str:
    """What is sent for ``request``, or why this target is passed over."""
    wish = wish_of(request.messages, request.options)
    if missing := lacking(wish, provider, Way(dialect.options, dialect.passes), None):
        return missing
    try:
        return dialect.encode(request)
    except Unfit as error:
        return error.reason


def requests_of(provider: str, adapter: Adapter) -> Iterator[HttpRequest]:
    """Every request the provider's adapter makes of these calls; those it has no words for are left out."""
    for request in chats(provider):
        if isinstance(made := sent(provider, adapter.chat, request), HttpRequest):
            yield made
    if adapter.completion is not None:
        for request in completions(provider):
            if isinstance(made := sent(provider, adapter.completion, request), HttpRequest):
                yield made
    if adapter.embedding is not None:
        for texts in embeddings(provider):
            yield adapter.embedding.encode(texts)
