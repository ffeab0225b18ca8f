"""Examples of what every route is asked and answers (``examples.json``), and the shape an example tells. Pure."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_FILE = Path(__file__).with_name("examples.json")
# A sample is named by "$" and its name; "…" takes over the fields of one.
_SAMPLE, _FIELDS = "$", "…"
# Objects whose names are data.
_MAPS = frozenset({
    "after", "before", "by_outcome", "by_provider", "checks", "facts", "output", "options", "actor", "forecast",
})  # fmt: skip
# Names that are there only where they say something.
_OPTIONAL = frozenset({
    "detail", "key_id", "retry_after_s", "secret", "embedding", "continues", "kek_id", "options", "group",
})  # fmt: skip
_TYPES: Mapping[type, str] = {bool: "boolean", int: "number", float: "number", str: "string"}


@dataclass(frozen=True)
class Example:
    """Of one route. ``asks`` None: it has no body. ``answers`` None: it answers without one, or with ``text``."""

    asks: Any = None
    answers: Any = None
    text: str | None = None


def examples() -> dict[str, Example]:
    """By method and path, as in ``GET /ai-keys``."""
    found = json.loads(_FILE.read_text(encoding="utf-8"))
    samples: dict[str, Any] = found["samples"]
    return {name: Example(**_filled(route, samples)) for name, route in found["routes"].items()}


def _filled(value: Any, samples: Mapping[str, Any]) -> Any:  # noqa: ANN401 - any JSON
    if isinstance(value, str) and value.startswith(_SAMPLE):
        return _filled(samples[value.removeprefix(_SAMPLE)], samples)
    if isinstance(value, list):
        return [_filled(item, samples) for item in value]
    if not isinstance(value, dict):
        return value
    taken = _filled(value[_FIELDS], samples) if _FIELDS in value else {}
    return taken | {name: _filled(item, samples) for name, item in value.items() if name != _FIELDS}


def shape(example: Any, *, deep: bool = True) -> dict[str, Any]:  # noqa: ANN401 - any JSON
    """The JSON schema an example tells: names, and their types where it has a value; everything may be null inside."""
    if isinstance(example, list):
        return {"type": "array", "items": shape(example[0]) if example and deep else {}}
    if not isinstance(example, dict):
        kind = _TYPES.get(type(example))
        return {"type": [kind, "null"]} if kind else {}
    return {
        "type": "object",
        "required": [name for name in example if name not in _OPTIONAL],
        "properties": {name: _inside(name, value, deep=deep) for name, value in example.items()},
    }


def _inside(name: str, value: Any, *, deep: bool) -> dict[str, Any]:  # noqa: ANN401 - any JSON
    if not deep or (isinstance(value, dict) and name in _MAPS):
        return {}
    told = shape(value)
    return told | {"type": [told["type"], "null"]} if isinstance(value, dict | list) else told
