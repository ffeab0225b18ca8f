"""Embeddings as OpenAI and those who copy it make them: what is asked, and which vectors are no answer."""

import base64
import json
import struct
import time
from typing import Any

import pytest

from services.router.providers import OPENAI_COMPATIBLE, PROVIDERS
from services.router.providers.base import EmbedAnswer, Embedding, EmbedRequest, Failure, Unfit, billing_of
from services.router.providers.chat_usage import openrouter_cost
from services.router.reading import LARGEST_ANSWER
from shared.messages.router import TokensV1
from shared.messages.vocabulary import Billing, Outcome
from tests.providers.dialects import answer


def embedding(name: str) -> Embedding:
    adapter = OPENAI_COMPATIBLE if name == "compatible" else PROVIDERS[name].adapter
    assert adapter is not None
    assert adapter.embedding is not None
    return adapter.embedding


def floats(*values: float) -> bytes:
    return struct.pack(f"<{len(values)}f", *values)


def packed(*values: float) -> str:
    return base64.b64encode(floats(*values)).decode()


def rows(*vectors: Any, **more: Any) -> dict[str, Any]:
    data = [{"object": "embedding", "index": place, "embedding": vector} for place, vector in enumerate(vectors)]
    return {"data": data, "model": "m", "usage": {"prompt_tokens": 7, "total_tokens": 7}} | more


@pytest.mark.parametrize(
    ("name", "most", "body"),
    [
        ("openai", 128, {"input": ["a", "b"], "dimensions": 8, "encoding_format": "base64"}),
        ("openrouter", 64, {"input": ["a", "b"], "dimensions": 8, "encoding_format": "base64"}),
        ("compatible", 32, {"input": ["a", "b"], "dimensions": 8}),
        ("mistral", 64, {"input": ["a", "b"], "output_dimension": 8}),
        ("zhipu", 64, {"input": ["a", "b"], "dimensions": 8}),
    ],
)
def test_requests(name: str, most: int, body: dict[str, Any]) -> None:
    made = embedding(name).encode(EmbedRequest("m", ("a", "b"), 8))
    assert (made.method, made.path, json.loads(made.body)) == ("POST", "/embeddings", {"model": "m"} | body)
    one = json.loads(embedding(name).encode(EmbedRequest("m", ("a",))).body)
    assert one["input"] == "a"
    assert "dimensions" not in one
    assert embedding(name).most_inputs == most
    with pytest.raises(Unfit, match="not_unicode"):
        embedding(name).encode(EmbedRequest("m", ("\ud800",)))


def test_who_embeds() -> None:
    without = {
        name
        for name in ("openai", "mistral", "groq", "zhipu", "openrouter")
        if (adapter := PROVIDERS[name].adapter) is not None and adapter.embedding is None
    }
    assert without == {"groq"}


@pytest.mark.parametrize("name", ["openai", "openrouter", "compatible", "mistral", "zhipu"])
def test_vectors_come_in_either_form_and_any_order(name: str) -> None:
    one, two = (0.5, -1.25), (3.0, 0.0)
    for payload in (rows(one, two), rows(packed(*one), packed(*two)), rows(packed(*one), two)):
        turned = payload | {"data": payload["data"][::-1]}
        for given in (payload, turned):
            result = embedding(name).decode(answer(given, x_request_id="r-1"))
            told = TokensV1(input_tokens=7)
            assert result == EmbedAnswer((floats(*one), floats(*two)), told, "m", "r-1")
            assert billing_of(result, sent=True) is Billing.COST


def test_places_may_be_left_out_altogether() -> None:
    payload = rows([1.0], [2.0])
    for row in payload["data"]:
        del row["index"]
    result = OPENAI_COMPATIBLE.embedding
    assert result is not None
    told = result.decode(answer(payload))
    assert isinstance(told, EmbedAnswer)
    assert told.vectors == (floats(1.0), floats(2.0))


@pytest.mark.parametrize(
    ("payload", "outcome", "detail"),
    [
        ({}, Outcome.BAD_RESPONSE, "no_vectors"),
        (rows(), Outcome.BAD_RESPONSE, "no_vectors"),
        ({"data": {"0": []}}, Outcome.BAD_RESPONSE, "no_vectors"),
        ({"data": [7]}, Outcome.BAD_RESPONSE, "bad_vector"),
        ({"data": [{"index": 1, "embedding": [1.0]}]}, Outcome.BAD_RESPONSE, "vectors_missing"),
        ({"data": [{"index": 0, "embedding": [1.0]}] * 2}, Outcome.BAD_RESPONSE, "vectors_missing"),
        ({"data": [{"index": [0], "embedding": [1.0]}]}, Outcome.BAD_RESPONSE, "vectors_missing"),
        (rows([1.0], [1.0, 2.0]), Outcome.BAD_RESPONSE, "bad_vector"),
        (rows([]), Outcome.BAD_RESPONSE, "bad_vector"),
        (rows(""), Outcome.BAD_RESPONSE, "bad_vector"),
        (rows("AAAA"), Outcome.BAD_RESPONSE, "bad_vector"),
        (rows("no base64!"), Outcome.BAD_RESPONSE, "bad_vector"),
        (rows([1.0, "2"]), Outcome.BAD_RESPONSE, "bad_vector"),
        (rows([1e39]), Outcome.BAD_RESPONSE, "bad_vector"),
        (rows([10**400]), Outcome.BAD_RESPONSE, "bad_vector"),
        (rows([float("nan")]), Outcome.BAD_RESPONSE, "bad_vector"),
        (rows(packed(float("inf"))), Outcome.BAD_RESPONSE, "bad_vector"),
        (rows(None), Outcome.BAD_RESPONSE, "bad_vector"),
        ({"error": {"code": "insufficient_quota"}}, Outcome.QUOTA_EXHAUSTED, "insufficient_quota"),
        (b"[", Outcome.BAD_RESPONSE, "not_json"),
    ],
)
def test_an_answer_without_every_vector_is_no_success(payload: Any, outcome: Outcome, detail: str) -> None:
    result = embedding("openai").decode(answer(payload))
    assert isinstance(result, Failure)
    assert (result.outcome, result.detail) == (outcome, detail)


def test_errors_mean_what_they_mean_in_a_chat() -> None:
    result = embedding("mistral").decode(answer({"message": "m", "type": "rate_limited", "code": "1300"}, 429))
    assert isinstance(result, Failure)
    assert (result.outcome, result.detail, result.status) == (Outcome.RATE_LIMITED, "rate_limited", 429)


@pytest.mark.parametrize(
    ("usage", "micros"),
    [
        ('{"cost": 8.1e-05, "is_byok": false}', 81),
        ('{"cost": 0}', 0),
        ('{"cost": 1}', 1_000_000),
        ('{"cost": 0.0000005}', 1),
        ('{"cost": 0.00000049999999999999999999}', 0),
        ('{"cost": 123456.7890124999999999999999}', 123_456_789_012),
        ('{"cost": 123456.7890125000000000000000}', 123_456_789_013),
        ('{"cost": 0.05, "is_byok": true, "cost_details": {"upstream_inference_cost": 0.95}}', 1_000_000),
        ('{"cost": 0.05, "is_byok": true, "cost_details": {"upstream_inference_cost": null}}', None),
        ('{"cost": null}', None),
        ('{"cost": "1"}', None),
        ('{"cost": true}', None),
        ('{"cost": -1}', None),
        ('{"cost": 1e300}', None),
        ('{"cost": NaN}', None),
        ("{}", None),
        ("7", None),
    ],
)
def test_the_cost_openrouter_tells_is_taken_to_the_digit(usage: str, micros: int | None) -> None:
    assert openrouter_cost(f'{{"usage": {usage}}}') == micros


# The digits of a 64-bit number are more than any of these hosts sends of a 32-bit one.
SPELLED = -0.0223456789012345


@pytest.mark.parametrize(
    ("name", "dimensions", "element"),
    [("openai", 3072, None), ("openrouter", 4096, None), ("mistral", 3072, -0.02734375), ("zhipu", 2048, SPELLED),
     ("compatible", 4096, SPELLED)],
)  # fmt: skip
def test_the_answer_to_the_largest_batch_is_read_at_all_and_in_a_moment(
    name: str, dimensions: int, element: float | None
) -> None:
    how = embedding(name)
    vector = packed(*[SPELLED] * dimensions) if element is None else [element] * dimensions
    given = answer(rows(*[vector] * how.most_inputs, usage={"prompt_tokens": 7, "cost": 0.00002}))
    assert len(given.body) < LARGEST_ANSWER
    began = time.process_time()
    result = how.decode(given)
    spent = time.process_time() - began
    assert isinstance(result, EmbedAnswer)
    assert (len(result.vectors), len(result.vectors[0])) == (how.most_inputs, 4 * dimensions)
    print(f"\nembeddings: {name}: {how.most_inputs} of {dimensions}, {len(given.body):,} bytes, {spent * 1000:.0f} ms")
    assert spent < 5
