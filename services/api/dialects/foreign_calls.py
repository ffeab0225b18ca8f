"""Arguments of tool calls, which are JSON text as the model wrote it, where a dialect wants to know more of them."""

import json
from typing import Any

_NOT_JSON = "INVALID_JSON"
"""The key Anthropic's own documents give to arguments that are no JSON object."""


def is_whole(arguments: str) -> bool:
    """Whether ``arguments`` are complete: a JSON value with nothing missing."""
    try:
        json.loads(arguments)
    except (ValueError, RecursionError):
        return False
    return True


def arguments_object(arguments: str) -> dict[str, Any]:
    """``arguments`` as the object a dialect demands; what is none is kept as a text in one, so that it is not lost."""
    try:
        found = json.loads(arguments) if arguments.strip() else {}
    except (ValueError, RecursionError):
        found = None
    return found if isinstance(found, dict) else {_NOT_JSON: arguments}
