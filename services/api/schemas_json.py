"""JSON of a caller's own making that is passed on as it is: bounded, with nothing in it that the way would change."""

from itertools import chain
from math import isfinite
from typing import Annotated, Any

from pydantic import AfterValidator

# Schemas and provider options: enough for any real one, and far from what a JSON writer can no longer follow.
MAX_DEPTH = 64


def _shallow(value: Any) -> Any:  # noqa: ANN401 - any JSON
    level, depth = [value], 0
    while level:
        depth += 1
        if depth > MAX_DEPTH:
            raise ValueError(f"this is nested more than {MAX_DEPTH} levels deep")
        if any(isinstance(item, float) and not isfinite(item) for item in level):
            raise ValueError("a number here is beyond what JSON can carry on")
        level = list(chain.from_iterable(map(_inside, level)))
    return value


def _inside(value: object) -> list[object]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []


JsonSchema = Annotated[dict[str, Any], AfterValidator(_shallow)]
