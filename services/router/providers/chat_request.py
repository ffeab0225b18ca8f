"""A conversation as the body of ``POST /chat/completions``."""

from typing import Any

from services.router.providers.base import ChatRequest, HttpRequest, Unfit, json_body
from services.router.providers.chat_host import JSON, Host
from shared.messages.chat import (
    ChatMessageV1,
    ContentPartV1,
    NamedToolV1,
    ResponseFormatV1,
    TextPartV1,
    ToolChoice,
    ToolV1,
)


def encode(request: ChatRequest, host: Host) -> HttpRequest:
    """The request.

    Raises:
        Unfit: something in it has no place at this host.
    """
    if request.continues and not host.prefill:
        raise Unfit("prefill")
    options = request.options
    body = given(
        {
            "model": request.model,
            "messages": [_message(item, host) for item in request.messages],
            host.limit_field: options.max_tokens,
            "temperature": options.temperature,
            "top_p": options.top_p,
            "stop": list(options.stop) if options.stop is not None else None,
            "seed": options.seed,
            "frequency_penalty": options.frequency_penalty,
            "presence_penalty": options.presence_penalty,
            "tools": [_tool(item) for item in options.tools] if options.tools is not None else None,
            "tool_choice": _choice(options.tool_choice),
            "parallel_tool_calls": options.parallel_tool_calls,
            "response_format": _format(options.response_format) if options.response_format is not None else None,
            "reasoning_effort": options.reasoning_effort,
            **streaming(request, asks_usage=host.asks_usage),
        }
    )
    body |= passed(request, host.passes)
    host.shape(request, body)
    return HttpRequest("POST", "/chat/completions", JSON, json_body(body))


def given(fields: dict[str, Any]) -> dict[str, Any]:
    """``fields`` without those that are None."""
    return {name: value for name, value in fields.items() if value is not None}


def streaming(request: ChatRequest, *, asks_usage: bool) -> dict[str, Any]:
    """The fields of a request for a streamed answer; none for a whole one."""
    if not request.stream:
        return {}
    return {"stream": True, "stream_options": {"include_usage": True} if asks_usage else None}


def passed(request: ChatRequest, passes: frozenset[str]) -> dict[str, Any]:
    """The provider's own fields to send on. Raises Unfit, naming the first that is not let through."""
    fields = {name: value for row in (request.options.provider_options or {}).values() for name, value in row.items()}
    if set(fields) - passes:
        # The plan has refused it by name; this is for a plan made with an older list.
        raise Unfit("provider_options")
    return fields


def _message(message: ChatMessageV1, host: Host) -> dict[str, Any]:
    if message.images and message.role != "user":
        raise Unfit("image_outside_user_message")
    row: dict[str, Any] = {"role": message.role, "content": _content(message, host)}
    if message.tool_calls:
        row["tool_calls"] = [
            {
                "id": host.call_id(call.id),
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
            }
            for call in message.tool_calls
        ]
    if message.tool_call_id is not None:
        row["tool_call_id"] = host.call_id(message.tool_call_id)
    return row


def _content(message: ChatMessageV1, host: Host) -> str | list[dict[str, Any]]:
    if isinstance(message.content, str) or not message.content or (host.joins_text and not message.images):
        return message.text
    return [_part(part) for part in message.content]


def _part(part: ContentPartV1) -> dict[str, Any]:
    if isinstance(part, TextPartV1):
        return {"type": "text", "text": part.text}
    return {"type": "image_url", "image_url": given({"url": part.url, "detail": part.detail})}


def _tool(tool: ToolV1) -> dict[str, Any]:
    function = {
        "name": tool.name,
        "description": tool.description,
        "parameters": tool.parameters,
        "strict": tool.strict,
    }
    return {"type": "function", "function": given(function)}


def _choice(choice: ToolChoice | NamedToolV1 | None) -> str | dict[str, Any] | None:
    if isinstance(choice, NamedToolV1):
        return {"type": "function", "function": {"name": choice.name}}
    return choice


def _format(wanted: ResponseFormatV1) -> dict[str, Any]:
    if wanted.type != "json_schema":
        return {"type": wanted.type}
    schema = {
        "name": wanted.name or "answer",
        "description": wanted.description,
        "schema": wanted.schema_,
        "strict": wanted.strict,
    }
    return {"type": "json_schema", "json_schema": given(schema)}
