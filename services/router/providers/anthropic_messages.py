"""Requests to Anthropic: POST /v1/messages."""

from collections.abc import Sequence
from typing import Any

from services.router.providers.anthropic_options import settings
from services.router.providers.base import ChatRequest, HttpRequest, Unfit, json_body
from services.router.providers.tool_calls import arguments_object, plain
from shared.messages.chat import ChatMessageV1, ContentPartV1, ImagePartV1

VERSION = {"anthropic-version": "2023-06-01"}
_IMAGES = frozenset({"image/jpeg", "image/png", "image/gif", "image/webp"})


def encode(request: ChatRequest) -> HttpRequest:
    """The request; system messages are joined, wherever they stood.

    Raises:
        Unfit: something in it that Anthropic has no word for.
    """
    body: dict[str, Any] = {
        "model": request.model,
        "messages": _turns(request.messages),
        "system": "\n\n".join(_system(item) for item in request.messages if item.role == "system") or None,
        **settings(request),
        "stream": True if request.stream else None,
    }
    given = {name: value for name, value in body.items() if value is not None}
    return HttpRequest("POST", "/v1/messages", {"content-type": "application/json", **VERSION}, json_body(given))


def _system(message: ChatMessageV1) -> str:
    if message.images:
        raise Unfit("image_in_system")
    return message.text


def _turns(messages: Sequence[ChatMessageV1]) -> list[dict[str, Any]]:
    turns: list[dict[str, Any]] = []
    said = [item for item in messages if item.role != "system"]
    if not said:
        raise Unfit("no_user_message")
    for index, item in enumerate(said):
        blocks = _blocks(item, is_last=index == len(said) - 1)
        # Results of calls made together belong into one turn: apart they teach the model to call one after another.
        if item.role == "tool" and index and said[index - 1].role == "tool":
            turns[-1]["content"] += blocks
        elif blocks:
            turns.append({"role": "assistant" if item.role == "assistant" else "user", "content": blocks})
        elif index < len(said) - 1 or item.role != "assistant":
            raise Unfit("empty_message")
    return turns


def _blocks(message: ChatMessageV1, *, is_last: bool) -> list[dict[str, Any]]:
    if message.role == "tool":
        result = {"type": "tool_result", "tool_use_id": plain(message.tool_call_id or "")}
        content = [_part(part) for part in message.parts if _says(part)]
        return [result | {"content": content} if content else result]
    if message.role == "user":
        return [_part(part) for part in message.parts if _says(part)]
    if message.images:
        raise Unfit("image_in_assistant")
    # An answer to go on with may not end in white space, and only the last message is one.
    text = message.text.rstrip() if is_last and not message.tool_calls else message.text
    said = [{"type": "text", "text": text}] if text else []
    return said + [
        {"type": "tool_use", "id": plain(call.id), "name": call.name, "input": arguments_object(call)}
        for call in message.tool_calls
    ]


def _says(part: ContentPartV1) -> bool:
    return isinstance(part, ImagePartV1) or bool(part.text)


def _part(part: ContentPartV1) -> dict[str, Any]:
    if not isinstance(part, ImagePartV1):
        return {"type": "text", "text": part.text}
    if part.detail in {"low", "high"}:
        raise Unfit("image_detail")
    if not part.url.startswith("data:"):
        return {"type": "image", "source": {"type": "url", "url": part.url}}
    mime, _, data = part.url.removeprefix("data:").partition(";base64,")
    if mime not in _IMAGES:
        raise Unfit("image_type")
    return {"type": "image", "source": {"type": "base64", "media_type": mime, "data": data}}
