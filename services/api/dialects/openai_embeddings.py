"""OpenAI's ``/v1/embeddings``."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, StrictInt

from services.api.dialects.dialect import Asked, Writer
from services.api.dialects.foreign import Foreign
from services.api.dialects.openai_answers import usage_view
from services.api.dialects.openai_errors import problem
from services.api.dialects.openai_fields import HARMLESS, Model
from services.api.dialects.receipt import model_of, receipt
from services.api.domain.vectors import vector_json
from services.api.schemas_invoke import Inputs
from shared.errors import OmniError, invalid
from shared.messages.chat import ChatOptionsV1, EmbeddingV1
from shared.messages.router import InvokedV1


def _texts(value: object) -> object:
    if isinstance(value, str):
        return (value,)
    if isinstance(value, list) and any(isinstance(item, int | list) for item in value):
        # A token's number means something to one provider's tokenizer only.
        raise ValueError("token numbers are not taken; send the texts themselves")
    return value


class EmbeddingIn(Foreign):
    """The body."""

    ignored = HARMLESS

    model: Model
    input: Annotated[Inputs, BeforeValidator(_texts)]
    dimensions: Annotated[StrictInt, Field(ge=1, le=65_536)] | None = None
    encoding_format: Literal["float", "base64"] = "float"

    def asked(self) -> Asked:
        """As the router takes it."""
        embedding = EmbeddingV1(inputs=self.input, dimensions=self.dimensions)
        style = EmbeddingStyle(as_base64=self.encoding_format == "base64")
        return Asked(self.model, (), ChatOptionsV1(), embedding=embedding, style=style)


@dataclass(frozen=True, slots=True)
class EmbeddingStyle:
    """``as_base64``: vectors as base64 of little-endian 32-bit floats, which the SDK asks for by itself."""

    as_base64: bool = False

    def written(self, vector: str) -> str:
        """A vector (base64 of little-endian 32-bit floats) as JSON. Raises OmniError ``provider_error``."""
        return vector_json(vector, as_base64=self.as_base64)


class OpenAIEmbeddings:
    """The dialect."""

    path = "/v1/embeddings"

    def read(self, body: bytes) -> Asked:
        """See ``Dialect.read``."""
        return EmbeddingIn.parsed(body).asked()

    def whole(self, asked: Asked, answer: InvokedV1, vectors: Sequence[str], created: int) -> str:
        """See ``Dialect.whole``."""
        del asked, created
        rows = [
            f'{{"object": "embedding", "index": {place}, "embedding": {vector}}}'
            for place, vector in enumerate(vectors)
        ]
        usage = usage_view(answer.tokens) or {}
        shown = {name: usage[name] for name in ("prompt_tokens", "total_tokens") if name in usage}
        more = {"model": model_of(answer), "usage": shown or None, "omnipost": receipt(answer)}
        # The vectors are JSON already; their numbers are not read and written once more.
        return f'{{"object": "list", "data": [{", ".join(rows)}], {json.dumps(more, ensure_ascii=False)[1:]}'

    def writer(self, asked: Asked, call_id: str, created: int) -> Writer:
        """Embeddings are not streamed: raises OmniError ``invalid_request``."""
        del asked, call_id, created
        raise invalid("Embeddings are not streamed.")

    def problem(self, error: OmniError) -> dict[str, Any]:
        """See ``Dialect.problem``."""
        return problem(error)
