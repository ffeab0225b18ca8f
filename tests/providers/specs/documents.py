"""The providers' official descriptions of their requests, as validators."""

import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml
from groq.types.chat.completion_create_params import CompletionCreateParams
from jsonschema_rs import Draft202012Validator
from pydantic import ConfigDict, TypeAdapter, ValidationError

from services.router.providers import PROVIDERS
from services.router.providers.base import HttpRequest

SPECS = Path(__file__).parents[4] / "shared" / "providers" / "specs"
FILES = {
    "openai": "openai/openapi.yaml",
    "anthropic": "anthropic/openapi.yml",
    "mistral": "mistral/openapi.yaml",
    "openrouter": "openrouter/openapi.yaml",
    "replicate": "replicate/openapi.json",
    "zhipu": "zhipu/openapi.json",
}
GEMINI = "gemini/generativelanguage.v1beta.discovery.json"


class _Loader(yaml.CSafeLoader):
    """The safe loader in C, but a date stays the text it is in JSON."""


_Loader.add_constructor("tag:yaml.org,2002:timestamp", _Loader.construct_scalar)  # type: ignore[type-var]


@cache
def _document(file: str) -> dict[str, Any]:
    text = (SPECS / file).read_text(encoding="utf-8")
    content = json.loads(text) if file.endswith(".json") else yaml.load(text, Loader=_Loader)  # noqa: S506 - it is a safe one
    assert isinstance(content, dict)
    return content


BEYOND: dict[str, dict[str, str]] = {
    "openrouter": {"usage": "recorded, and answered", "verbosity": "in the document's own list of parameters"},
    "zhipu": {
        "stream_options": "recorded, and answered",
        "reasoning_effort": "recorded with glm-5.2, which is younger than the document",
    },
}
"""Fields that work although the description we hold does not name them, and how we know."""
YOUNGER = {"glm-5.2": "glm-5.1"}
"""Models that are younger than the description's list, and one of the same kind that is on it."""


UNDESCRIBED = {("zhipu", "/embeddings")}
"""Operations that only the vendor's SDK describes: this one is of open.bigmodel.cn, the document of api.z.ai."""


def complaints(provider: str, request: HttpRequest) -> list[str]:
    """What the provider's description has against ``request``; empty when nothing."""
    body = {name: value for name, value in json.loads(request.body).items() if name not in BEYOND.get(provider, {})}
    if body.get("model") in YOUNGER:
        body["model"] = YOUNGER[body["model"]]
    if provider == "groq":
        return _typed(body)
    validator = _gemini(request.path) if provider == "google" else _openapi(provider, request.path)
    if validator is None:
        return [f"no operation POST {request.path}"]
    return [
        f"{'.'.join(map(str, error.instance_path))}: {error.message[:300]}" for error in validator.iter_errors(body)
    ]


def _openapi(provider: str, path: str) -> Draft202012Validator | None:
    base = urlsplit(PROVIDERS[provider].base_url).path
    template = _template(provider, base + urlsplit(path).path)
    return _of_operation(provider, template) if template is not None else None


def _template(provider: str, path: str) -> str | None:
    """The document's own path of the operation, found below the path of its server."""
    document = _document(FILES[provider])
    below = urlsplit(document["servers"][0]["url"]).path.rstrip("/")
    for template, item in document["paths"].items():
        if "post" in item and re.fullmatch(re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(below + template)), path):
            return str(template)
    return None


@cache
def _of_operation(provider: str, template: str) -> Draft202012Validator:
    """The body's schema, with everything it refers to.

    Some documents forbid fields they do not list, others are silent; here all are taken to forbid them at the top.
    """
    document = _document(FILES[provider])
    schema = document["paths"][template]["post"]["requestBody"]["content"]["application/json"]["schema"]
    whole = {"allOf": [schema], "unevaluatedProperties": False, "components": document["components"]}
    return Draft202012Validator(whole)


@cache
def described(provider: str, name: str) -> Draft202012Validator:
    """The document's own schema of that name, of ``openai`` or ``anthropic``, with everything it refers to."""
    components = _document(FILES[provider])["components"]
    return Draft202012Validator({"$ref": f"#/components/schemas/{name}", "components": components})


@cache
def _of_message(name: str) -> Draft202012Validator:
    schemas = {key: _converted(value) for key, value in _document(GEMINI)["schemas"].items()}
    # The document names this one and does not hold it.
    schemas.setdefault("MediaResolution", {})
    return Draft202012Validator({"$ref": f"#/schemas/{name}", "schemas": schemas})


def _gemini(path: str) -> Draft202012Validator | None:
    """The schema of the request of ``…models/{model}:{verb}``, by the document's own list of methods."""
    methods = _document(GEMINI)["resources"]["models"]["methods"]
    found = methods.get(urlsplit(path).path.rsplit(":", 1)[-1])
    if found is None or not urlsplit(path).path.startswith("/v1beta/models/"):
        return None
    return _of_message(found["request"]["$ref"])


def _converted(schema: dict[str, Any]) -> dict[str, Any]:
    """A schema of Google's discovery format as JSON schema; objects with named fields are closed, as its API is."""
    if isinstance(name := schema.get("$ref"), str):
        return {"$ref": f"#/schemas/{name}"}
    match schema.get("type"):
        case "object":
            rest = schema.get("additionalProperties")
            fields = {name: _converted(value) for name, value in schema.get("properties", {}).items()}
            closed = False if rest is None and fields else rest is None or _converted(rest)
            return {"type": "object", "properties": fields, "additionalProperties": closed}
        case "array":
            return {"type": "array", "items": _converted(schema["items"])}
        case "any":
            return {}
        case kind:
            # A 64-bit number is written as a string, and read as either.
            told = ["integer", "string"] if schema.get("format") in {"int64", "uint64"} else kind
            return {"type": told} | ({"enum": schema["enum"]} if "enum" in schema else {})


def _typed(body: Mapping[str, Any]) -> list[str]:
    try:
        _consume(_groq().validate_python(body))
    except ValidationError as error:
        return [f"{item['loc']}: {item['msg']}" for item in error.errors(include_url=False)]
    return []


@cache
def _groq() -> TypeAdapter[Any]:
    """Groq publishes no description; its SDK's types are one. Fields they do not name are forbidden at the top."""
    made: Any = CompletionCreateParams
    made.__pydantic_config__ = ConfigDict(extra="forbid")
    return TypeAdapter(made)


def _consume(value: Any) -> None:
    """Walk through ``value``: what an iterable holds is checked only then."""
    if isinstance(value, dict):
        for item in value.values():
            _consume(item)
    elif isinstance(value, Iterator | list | tuple):
        for item in value:
            _consume(item)
