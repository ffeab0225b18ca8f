"""Which exception OpenAI's SDK raises, and whether it asks again: by our status and our headers."""

from dataclasses import dataclass, field
from typing import Any

import openai

from shared.testing.upstream import Answer
from tests.compatible.place import Place, chat_answer, openai_error

TIMES_OUT = {"time_limits": {"first_byte_s": 0.5, "last_first_byte_s": 0.5, "total_s": 5}}


@dataclass(frozen=True)
class Failure:
    """A way to fail.

    Attributes:
        raises: the SDK's class.
        code: the error's, in OpenAI's words where there is one.
        status: HTTP.
        asks: how often the provider is asked when the SDK may ask twice more.
        fields: of the request.
        answers: the provider's, the last one again and again.
        alias: of an alias of its own.
    """

    name: str
    raises: type[openai.APIStatusError]
    status: int
    code: str
    asks: int = 0
    fields: dict[str, Any] = field(default_factory=dict)
    answers: Answer | None = None
    alias: dict[str, Any] | None = None
    token: str | None = None


UNAUTHORIZED = "omp_" + "x" * 40
FAILURES = (
    Failure("a wrong token", openai.AuthenticationError, 401, "invalid_api_key", token=UNAUTHORIZED),
    Failure("an unknown alias", openai.NotFoundError, 404, "model_not_found", fields={"model": "nobody"}),
    Failure("an unknown provider", openai.NotFoundError, 404, "model_not_found", fields={"model": "nobody/m"}),
    Failure("a provider without a key", openai.APIStatusError, 402, "missing_key", fields={"model": "openai/gpt-4o"}),
    Failure("two answers", openai.BadRequestError, 400, "invalid_request", fields={"n": 2}),
    Failure("probabilities", openai.BadRequestError, 400, "invalid_request", fields={"logprobs": True}),
    Failure("an unknown field", openai.BadRequestError, 400, "invalid_request", fields={"extra_body": {"nix": 1}}),
    Failure(
        "too long", openai.BadRequestError, 400, "context_length_exceeded", asks=1,
        answers=openai_error(400, "context_length_exceeded"),
    ),
    Failure(
        "refused", openai.BadRequestError, 400, "content_policy_violation", asks=1,
        answers=openai_error(400, "content_policy_violation"),
    ),
    Failure(
        "no such model there", openai.NotFoundError, 404, "model_not_found", asks=1, fields={"model": "{provider}/zz"},
        answers=openai_error(404, "model_not_found"),
    ),
    Failure(
        "timed out", openai.InternalServerError, 504, "timeout", asks=1, answers=Answer(hang=True), alias=TIMES_OUT
    ),
    Failure(
        "broken off", openai.InternalServerError, 502, "provider_error", asks=1,
        answers=Answer(headers={"content-type": "application/json"}, body=b'{"id": "1"'),
    ),
)  # fmt: skip


async def prepared(failure: Failure, place: Place) -> dict[str, Any]:
    """The fields of a request that fails so."""
    if failure.answers is not None:
        place.upstream.always("POST", "/v1/chat/completions", failure.answers)
    model = place.alias if failure.alias is None else await place.alias_with(**failure.alias)
    fields = {"model": model, **failure.fields}
    return fields | {"model": fields["model"].format(provider=place.provider)}


def asks_of(place: Place) -> int:
    """How often the provider was asked something."""
    return sum(request.method == "POST" for request in place.upstream.requests)


__all__ = ["FAILURES", "Failure", "asks_of", "chat_answer", "prepared"]
