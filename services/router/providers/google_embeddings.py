"""Embeddings of Gemini: POST /v1beta/models/{model}:batchEmbedContents."""

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
from services.router.providers.embeddings import vector
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
    vectors = [vector(at(item, "values")) for item in told] if isinstance(told, list) else []
    good = tuple(one for one in vectors if one is not None)
    tokens = TokensV1(input_tokens=count_at(body, "usageMetadata", "promptTokenCount"))
    if not vectors:
        return bad_response(answer, "no_vectors", tokens)
    if len(good) < len(vectors) or len({len(one) for one in good}) != 1:
        return bad_response(answer, "bad_vector", tokens)
    return EmbedAnswer(good, tokens, provider_request_id=request_id(answer))


EMBEDDING = Embedding(encode=encode, decode=decode_by(read, fail), most_inputs=MOST_INPUTS)
