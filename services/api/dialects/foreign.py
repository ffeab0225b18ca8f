"""Bodies in a foreign dialect: what SDKs send for nothing is ignored on purpose, all else is refused by name."""

from typing import Any, ClassVar, Self

import pydantic
from pydantic import model_validator

from services.api.domain.faults import invalid_body
from services.api.schemas import Body


class Foreign(Body):
    """A body, or a part of one. A null says nothing, and neither does a field named in ``ignored``."""

    ignored: ClassVar[frozenset[str]] = frozenset()

    @model_validator(mode="before")
    @classmethod
    def _said(cls, data: Any) -> Any:  # noqa: ANN401 - any JSON
        if not isinstance(data, dict):
            return data
        return {name: value for name, value in data.items() if value is not None and name not in cls.ignored}

    @classmethod
    def parsed(cls, body: bytes) -> Self:
        """``body`` as JSON. Raises OmniError ``invalid_request``, naming fields and rules."""
        try:
            return cls.model_validate_json(body)
        except pydantic.ValidationError as error:
            raise invalid_body(error.errors(include_input=False, include_url=False)) from None
