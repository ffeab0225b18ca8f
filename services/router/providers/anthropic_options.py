"""What Anthropic can be told about how to answer, and what it cannot."""

import re
from collections.abc import Mapping
from typing import Any

from services.router.providers.base import ChatRequest, Unfit, at, text_at
from shared.messages.chat import ChatOptionsV1, NamedToolV1, ResponseFormatV1, ToolV1

OPTIONS = frozenset({
    "max_tokens", "temperature", "top_p", "stop", "tools", "tool_choice", "parallel_tool_calls", "response_format",
    "reasoning_effort",
})  # fmt: skip
# Nothing that has a price of its own (tools of the server, tiers, regions) or makes more output than asked for.
PASSES = frozenset({"thinking", "cache_control", "metadata", "top_k", "output_config"})
_CHOICES = {"auto": "auto", "required": "any", "none": "none"}
# Effort, not a thinking budget: the specification offers it for every model, it needs no larger limit of tokens and
# leaves temperature, prefill and forced tools alone. ``low`` is the least there is; ``none`` switches thinking off.
_EFFORTS = {"minimal": "low", "low": "low", "medium": "medium", "high": "high"}
_TOOL_NAME = re.compile(r"[a-zA-Z0-9_-]{1,128}")


def settings(request: ChatRequest) -> dict[str, Any]:
    """The fields beside the conversation; None where nothing is asked for.

    Raises:
        Unfit: an option Anthropic has no word for, or two that contradict each other.
    """
    options = request.options
    own = (options.provider_options or {}).get("anthropic", {})
    if options.temperature is not None and options.temperature > 1:
        raise Unfit("temperature_above_1")
    return {
        "max_tokens": options.max_tokens,
        "temperature": options.temperature,
        "top_p": options.top_p,
        "stop_sequences": list(options.stop) if options.stop is not None else None,
        "tools": [_tool(tool) for tool in options.tools] if options.tools is not None else None,
        "tool_choice": _tool_choice(options),
        "output_config": _output_config(options, own.get("output_config")),
        "thinking": _thinking(request, own.get("thinking")),
        "cache_control": _cache_control(own.get("cache_control")),
        "metadata": own.get("metadata"),
        "top_k": own.get("top_k"),
    }


def _tool(tool: ToolV1) -> dict[str, Any]:
    if not _TOOL_NAME.fullmatch(tool.name):
        raise Unfit("tool_name")
    schema = tool.parameters if tool.parameters is not None else {"type": "object", "properties": {}}
    made = {"name": tool.name, "description": tool.description, "input_schema": schema, "strict": tool.strict}
    return {name: value for name, value in made.items() if value is not None}


def _tool_choice(options: ChatOptionsV1) -> dict[str, Any] | None:
    choice, parallel = options.tool_choice, options.parallel_tool_calls
    if isinstance(choice, NamedToolV1):
        made: dict[str, Any] = {"type": "tool", "name": choice.name}
    elif choice is not None:
        made = {"type": _CHOICES[choice]}
    elif parallel is not None and options.tools is not None:
        made = {"type": "auto"}
    else:
        return None
    if parallel is not None and made["type"] != "none":
        made["disable_parallel_tool_use"] = not parallel
    return made


def _output_config(options: ChatOptionsV1, own: object) -> dict[str, Any] | None:
    if own is not None and not isinstance(own, Mapping):
        raise Unfit("provider_options.output_config")
    given: dict[str, Any] = dict(own or {})
    ours: dict[str, Any] = {}
    if options.reasoning_effort in _EFFORTS:
        ours["effort"] = _EFFORTS[options.reasoning_effort]
    if options.response_format is not None and options.response_format.type != "text":
        ours["format"] = _format(options.response_format)
    if given.keys() & ours.keys():
        raise Unfit("provider_options.output_config")
    return given | ours or None


def _format(wanted: ResponseFormatV1) -> dict[str, Any]:
    if wanted.schema_ is None:
        raise Unfit("response_format")
    # Anthropic has no field for a description beside the schema, and a schema has one of its own.
    described = {} if wanted.description is None else {"description": wanted.description}
    return {"type": "json_schema", "schema": described | wanted.schema_}


def _thinking(request: ChatRequest, own: object) -> object:
    if request.options.reasoning_effort == "none":
        if own is not None:
            raise Unfit("provider_options.thinking")
        return {"type": "disabled"}
    # A begun answer cannot be thought about any more, and with a budget the thoughts before a tool call are wanted
    # back, which nobody keeps.
    kind, last = text_at(own, "type"), request.messages[-1]
    if (request.continues and kind in {"enabled", "adaptive"}) or (kind == "enabled" and last.role == "tool"):
        raise Unfit("provider_options.thinking")
    return own


def _cache_control(own: object) -> object:
    # The catalogue's price for cache writes is that of five minutes; an hour costs more.
    if at(own, "ttl") not in (None, "5m"):
        raise Unfit("provider_options.cache_control")
    return own
