"""The dialect of ``POST /embeddings``: OpenAI's, and of everyone who copies it."""

import base64
import binascii
import struct
from collections.abc import Callable
from functools import partial
from math import isfinite
from typing import Any

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
    text_at,
)
from services.router.providers.chat_failures import fail, reported, reports_failure
from services.router.providers.chat_host import JSON, Host
from services.router.providers.chat_request import given
from shared.messages.router import TokensV1

_FLOAT_BYTES = 4


def embedding(host: Host, most_inputs: int, *, dimensions: str = "dimensions", packed: bool = False) -> Embedding:
    """How ``host`` is asked for embeddings.

    Args:
        host: its errors and its figure of the cost.
        most_inputs: texts in one request: at most what it takes, and so many vectors of 3,072 numbers that the answer
            stays below 4 MiB, beyond which no answer is read.
        dimensions: what it calls their number.
        packed: it is asked for base64, a third of the bytes of floats as text. Either is understood.
    """
    encode = partial(_encode, dimensions=dimensions, packed=packed)
    decode: Callable[[HttpAnswer], EmbedAnswer | Failure] = decode_by(partial(read, host), partial(fail, host=host))
    return Embedding(encode, decode, most_inputs)


def _encode(request: EmbedRequest, *, dimensions: str, packed: bool) -> HttpRequest:
    body = given(
        {
            "model": request.model,
            "input": list(request.inputs) if len(request.inputs) != 1 else request.inputs[0],
            dimensions: request.dimensions,
            "encoding_format": "base64" if packed else None,
        }
    )
    return HttpRequest("POST", "/embeddings", JSON, json_body(body))


def read(host: Host, answer: HttpAnswer, body: dict[str, Any]) -> EmbedAnswer | Failure:
    """The vectors, in the order of the inputs whatever order they came in."""
    if reports_failure(body):
        return reported(answer, body, host)
    tokens = TokensV1(input_tokens=count_at(body, "usage", "prompt_tokens"))
    rows = at(body, "data")
    if not isinstance(rows, list) or not rows:
        return bad_response(answer, "no_vectors", tokens)
    by_index = {_place(row, position): row for position, row in enumerate(rows)}
    if set(by_index) != set(range(len(rows))):
        return bad_response(answer, "vectors_missing", tokens)
    vectors = [vector(at(by_index[position], "embedding")) for position in range(len(rows))]
    whole = tuple(one for one in vectors if one is not None)
    if len(whole) != len(rows) or len({len(one) for one in whole}) != 1:
        return bad_response(answer, "bad_vector", tokens)
    return EmbedAnswer(
        vectors=whole,
        tokens=tokens,
        response_model=text_at(body, "model"),
        provider_request_id=request_id(answer, at(body, "id")),
        provider_cost_usd_micros=host.cost(answer.body) if host.cost else None,
    )


def _place(row: object, position: int) -> int:
    index = at(row, "index")
    return position if index is None else index if type(index) is int else -1


def vector(told: object) -> bytes | None:
    """Little-endian 32-bit floats from a list of numbers or from the base64 of such floats; None for anything else."""
    try:
        if isinstance(told, list):
            packed = struct.pack(f"<{len(told)}f", *told)
        else:
            packed = base64.b64decode(told, validate=True) if isinstance(told, str) else b""
    except (struct.error, OverflowError, binascii.Error, ValueError):
        return None
    if not packed or len(packed) % _FLOAT_BYTES:
        return None
    return packed if all(map(isfinite, struct.unpack(f"<{len(packed) // _FLOAT_BYTES}f", packed))) else None
