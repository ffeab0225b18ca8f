"""Embeddings of Gemini: POST /v1beta/models/{model}:batchEmbedContents."""

import struct
from typing import Any
from urllib.parse import quote

from services.router.providers.answers import bad_response, decode_by, request_id
from services.router.providers.base import (
    EmbedAnswer,
    Embedding,
    EmbedRequest,
    Failure,
    HttpAnswer,
    HttpRequest,
    at,
    count_at,
    json_body,
)
from services.router.providers.google_answers import fail
from shared.messages.router import TokensV1

MOST_INPUTS = 100


def encode(request: EmbedRequest) -> HttpRequest:
    """One request for all texts."""
    name = f"models/{request.model}"
    size = {} if request.dimensions is None else {"outputDimensionality": request.dimensions}
    asked = [{"model": name, "content": {"parts": [{"text": text}]}, **size} for text in request.inputs]
    path = f"/v1beta/models/{quote(request.model, safe='')}:batchEmbedContents"
    return HttpRequest("POST", path, {"content-type": "application/json"}, json_body({"requests": asked}))


def read(answer: HttpAnswer, body: dict[str, Any]) -> EmbedAnswer | Failure:
    """The vectors, in the order of the texts. Usage is seldom told, and then unknown."""
    told = at(body, "embeddings")
    vectors = [_packed(at(item, "values")) for item in told] if isinstance(told, list) else []
    good = tuple(vector for vector in vectors if vector is not None)
    if not vectors or len(good) < len(vectors):
        return bad_response(answer, "no_vectors")
    tokens = TokensV1(input_tokens=count_at(body, "usageMetadata", "promptTokenCount"))
    return EmbedAnswer(good, tokens, provider_request_id=request_id(answer))


def _packed(values: object) -> bytes | None:
    if not isinstance(values, list) or not values:
        return None
    try:
        return struct.pack(f"<{len(values)}f", *values)
    except (struct.error, OverflowError):
        return None


EMBEDDING = Embedding(encode=encode, decode=decode_by(read, fail), most_inputs=MOST_INPUTS)
