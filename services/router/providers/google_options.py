"""What Gemini can be told about how to answer, and what it cannot."""

import re
from typing import Any

from services.router.providers.base import Unfit
from shared.messages.chat import ChatOptionsV1, NamedToolV1, ToolV1

OPTIONS = frozenset({
    "max_tokens", "temperature", "top_p", "stop", "seed", "frequency_penalty", "presence_penalty", "tools",
    "tool_choice", "response_format", "reasoning_effort",
})  # fmt: skip
# Fields of ``generationConfig`` that neither multiply the output nor change what it is.
_OF_GENERATION = ("topK", "thinkingConfig", "mediaResolution", "responseLogprobs", "logprobs")
PASSES = frozenset({"safetySettings", *_OF_GENERATION})
_MODES = {"auto": "AUTO", "required": "ANY", "none": "NONE"}
_EARLIER = re.compile(r"gemini-[12](\.|-|$)")
# Google's own table, by which its OpenAI-compatible endpoint reads an effort: budgets up to Gemini 2.5, levels since.
_BUDGETS = {"none": 0, "minimal": 1024, "low": 1024, "medium": 8192, "high": 24_576}


def is_third(model: str) -> bool:
    """Whether ``model`` is a Gemini of the third generation or later, as is one whose name tells no number."""
    return model.startswith("gemini-") and not _EARLIER.match(model)


def generation(model: str, options: ChatOptionsV1) -> dict[str, Any]:
    """``generationConfig``.

    Raises:
        Unfit: an effort that the model has no level for, or an option given twice.
    """
    own = (options.provider_options or {}).get("google", {})
    settings = {
        "maxOutputTokens": options.max_tokens,
        "temperature": options.temperature,
        "topP": options.top_p,
        "stopSequences": list(options.stop) if options.stop is not None else None,
        "seed": options.seed,
        "frequencyPenalty": options.frequency_penalty,
        "presencePenalty": options.presence_penalty,
        "thinkingConfig": _thinking(model, options),
    }
    given = {name: value for name, value in settings.items() if value is not None} | _format(options)
    theirs = {name: own[name] for name in _OF_GENERATION if own.get(name) is not None}
    if twice := given.keys() & theirs.keys():
        raise Unfit(f"provider_options.{min(twice)}")
    return given | theirs


def _thinking(model: str, options: ChatOptionsV1) -> dict[str, Any] | None:
    effort = options.reasoning_effort
    if effort is None:
        return None
    if not is_third(model):
        return {"thinkingBudget": _BUDGETS[effort]}
    if effort == "none":
        raise Unfit("reasoning_effort")
    return {"thinkingLevel": effort.upper()}


def _format(options: ChatOptionsV1) -> dict[str, Any]:
    wanted = options.response_format
    if wanted is None or wanted.type == "text":
        return {}
    if wanted.schema_ is None:
        return {"responseMimeType": "application/json"}
    described = {} if wanted.description is None else {"description": wanted.description}
    return {"responseMimeType": "application/json"} | _schema("response", described | wanted.schema_)


def _schema(field: str, schema: dict[str, Any]) -> dict[str, Any]:
    # Two fields for two languages: Gemini's own schemas write their types in upper case, JSON schemas do not.
    if str(schema.get("type", "")).isupper():
        return {f"{field}Schema" if field == "response" else field: schema}
    return {f"{field}JsonSchema": schema}


def tools(options: ChatOptionsV1) -> list[dict[str, Any]] | None:
    """``tools``: our functions; tools of the server are never asked for."""
    if options.tools is None:
        return None
    return [{"functionDeclarations": [_declaration(tool) for tool in options.tools]}]


def _declaration(tool: ToolV1) -> dict[str, Any]:
    described = {} if tool.description is None else {"description": tool.description}
    return {"name": tool.name, **described, **(_schema("parameters", tool.parameters) if tool.parameters else {})}


def tool_config(options: ChatOptionsV1) -> dict[str, Any] | None:
    """``toolConfig``: whether a function must, may or must not be called, and that arguments fit a strict schema."""
    choice = options.tool_choice
    if isinstance(choice, NamedToolV1):
        return {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": [choice.name]}}
    # ANY holds to the schema by itself.
    if choice in {None, "auto"} and any(tool.strict for tool in options.tools or ()):
        return {"functionCallingConfig": {"mode": "VALIDATED"}}
    return None if choice is None else {"functionCallingConfig": {"mode": _MODES[choice]}}
