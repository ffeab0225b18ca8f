"""From a recorded request to our own, whatever its dialect; and why some are refused."""

from collections.abc import Callable
from typing import Any

from services.router.domain.offer import Way
from services.router.domain.wish import lacking, wish_of
from services.router.providers.base import Adapter, ChatRequest, Dialect, EmbedRequest, HttpRequest, Unfit
from shared.messages.chat import ChatOptionsV1, EmbeddingV1
from tests.providers.conformance import canon, saying_chat, saying_gemini, saying_own
from tests.providers.conformance.material import Item
from tests.providers.conformance.said import Said, Spoken, Texts, checked, checked_texts

PRICED = "has a price of its own, which a budget reserved for tokens does not cover"
MULTIPLIED = "makes more output than one answer of ``max_tokens``"
OTHER_ANSWER = "the answer would be something else than text"
OTHER_TARGET = "would change the target behind the plan's back"
NO_WORDS = "our contract has no words for it"
NOT_LISTED = "not among the fields this adapter passes on; each must be shown to cost nothing of its own first"
OURS = "our contract refuses the value before anyone is asked"
REASONS = {
    "n": MULTIPLIED, "best_of": MULTIPLIED, "candidateCount": MULTIPLIED,
    "web_search_options": PRICED, "service_tier": PRICED, "speed": PRICED, "moderation": PRICED, "plugins": PRICED,
    "mcp_servers": PRICED, "container": PRICED, "googleSearch": PRICED, "codeExecution": PRICED, "urlContext": PRICED,
    "web_search": PRICED, "serviceTier": PRICED, "inference_geo": PRICED, "transforms": PRICED,
    "compound_custom": PRICED, "search_settings": PRICED, "cachedContent": PRICED, "betas": PRICED,
    "models": OTHER_TARGET, "route": OTHER_TARGET, "preset": OTHER_TARGET,
    "audio": OTHER_ANSWER, "modalities": OTHER_ANSWER, "responseModalities": OTHER_ANSWER, "speechConfig": OTHER_ANSWER,
    "messages": OURS, "max_tokens": OURS, "temperature": OURS, "top_p": OURS, "stop": OURS, "seed": OURS,
    "frequency_penalty": OURS, "presence_penalty": OURS, "tools": OURS, "tool_choice": OURS, "inputs": OURS,
    "dimensions": OURS, "response_format": OURS, "reasoning_effort": OURS, "options": OURS,
    "allowedFunctionNames": NO_WORDS, "retrievalConfig": NO_WORDS,
    "taskType": NO_WORDS, "title": NO_WORDS, "task_type": NO_WORDS, "output_dtype": NO_WORDS, "user": NO_WORDS,
    "input_type": NO_WORDS, "webhook": NO_WORDS, "webhook_events_filter": NO_WORDS, "functions": NO_WORDS,
    "image_url": "Gemini fetches no pictures, and neither do we", "last_message": NO_WORDS,
    "prefill": "the provider does not go on with an answer that was begun",
}  # fmt: skip
"""Everything that is refused on purpose, and why. A refusal of anything else is a mismatch."""

_CHAT: dict[str, Callable[[dict[str, Any], str], Spoken]] = {
    "anthropic": saying_own.anthropic,
    "google": saying_gemini.chat,
    "replicate": saying_own.replicate,
}
_CANON: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "anthropic": canon.anthropic,
    "google": canon.gemini,
    "replicate": canon.replicate,
}


def say(item: Item) -> Said:
    """The recorded request in our own terms, checked by our contracts."""
    path = item.exchange.path if item.exchange is not None else ""
    if item.kind == "embedding":
        said = saying_gemini.embedding if item.provider == "google" else saying_chat.embedding
        texts: Texts = said(item.body, path)
        return checked_texts(texts)
    if item.kind == "completion":
        return checked(saying_chat.completion(item.body, item.provider), item.provider)
    body = canon.camel(item.body) if item.provider == "google" else item.body
    speak = _CHAT.get(item.provider)
    spoken = speak(body, path) if speak is not None else saying_chat.chat(body, item.provider)
    return checked(spoken, item.provider)


def canonical(item: Item, body: dict[str, Any]) -> dict[str, Any]:
    """``body`` with the exceptions of the table ironed out."""
    if item.kind == "embedding" and item.provider != "google":
        return canon.embedding(body)
    return _CANON.get(item.provider, canon.chat)(body)


def dialect_of(adapter: Adapter, kind: str) -> Dialect:
    """The dialect that is spoken for ``kind``."""
    if kind == "completion":
        assert adapter.completion is not None, "this adapter completes no prompts"
        return adapter.completion
    return adapter.chat


def encoded(item: Item, adapter: Adapter, request: ChatRequest | EmbedRequest) -> HttpRequest | str:
    """What our adapter sends, or the name of what it refuses, as the router would: by its lists, then by ``Unfit``."""
    try:
        if isinstance(request, EmbedRequest):
            assert adapter.embedding is not None, "this adapter embeds nothing"
            wish = wish_of((), ChatOptionsV1(), EmbeddingV1(inputs=request.inputs, dimensions=request.dimensions))
            way = Way(frozenset({"dimensions"}) if adapter.embedding.dimensions else frozenset())
            return lacking(wish, item.provider, way, None) or adapter.embedding.encode(request)
        dialect = dialect_of(adapter, item.kind)
        wish = wish_of(request.messages, request.options)
        refused = lacking(wish, item.provider, Way(dialect.options, dialect.passes), None)
        return refused or dialect.encode(request)
    except Unfit as error:
        return error.reason


def reason_of(name: str) -> str | None:
    """Why ``name`` is refused on purpose; None when it is not in the table."""
    bare = name.removeprefix("provider_options.").removeprefix("options.").split(".")
    if bare[0] == "messages" and len(bare) > 1:
        return NO_WORDS
    found = next((REASONS[part] for part in [bare[-1], bare[0]] if part in REASONS), None)
    return found or (NOT_LISTED if name.startswith("provider_options.") else None)
