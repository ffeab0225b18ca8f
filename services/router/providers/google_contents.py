"""Requests to Gemini: POST /v1beta/models/{model}:generateContent, or :streamGenerateContent."""

from typing import Any
from urllib.parse import quote

from services.router.providers.base import ChatRequest, HttpRequest, Unfit, json_body, object_in
from services.router.providers.google_options import generation, is_third, tool_config, tools
from services.router.providers.tool_calls import arguments_object, bare, is_made_up, signature_in
from shared.messages.chat import ChatMessageV1, ContentPartV1, ImagePartV1, ToolCallV1

_ROLES = {"user": "user", "tool": "user", "assistant": "model"}
# Google's own word for calls of a conversation that another model began. Without it Gemini 3 refuses the request.
_NO_SIGNATURE = "skip_thought_signature_validator"


def encode(request: ChatRequest) -> HttpRequest:
    """The request; system messages are joined, wherever they stood.

    Raises:
        Unfit: something in it that Gemini has no word for.
    """
    options = request.options
    own = (options.provider_options or {}).get("google", {})
    system = "\n\n".join(_system(item) for item in request.messages if item.role == "system")
    body: dict[str, Any] = {
        "contents": _contents(request),
        "generationConfig": generation(request.model, options),
        "systemInstruction": {"parts": [{"text": system}]} if system else None,
        "tools": tools(options),
        "toolConfig": tool_config(options),
        "safetySettings": own.get("safetySettings"),
    }
    given = {name: value for name, value in body.items() if value is not None}
    how = "streamGenerateContent?alt=sse" if request.stream else "generateContent"
    path = f"/v1beta/models/{quote(request.model, safe='')}:{how}"
    return HttpRequest("POST", path, {"content-type": "application/json"}, json_body(given))


def _system(message: ChatMessageV1) -> str:
    if message.images:
        raise Unfit("image_in_system")
    return message.text


def _contents(request: ChatRequest) -> list[dict[str, Any]]:
    contents: list[dict[str, Any]] = []
    said = [item for item in request.messages if item.role != "system"]
    if not said:
        raise Unfit("no_user_message")
    calls: dict[str, ToolCallV1] = {}
    for index, item in enumerate(said):
        calls |= {call.id: call for call in item.tool_calls}
        parts = _parts(item, request.model, calls)
        # Results of calls made together are answered together, in one turn.
        if item.role == "tool" and index and said[index - 1].role == "tool":
            contents[-1]["parts"] += parts
        else:
            contents.append({"role": _ROLES[item.role], "parts": parts})
    return contents


def _parts(message: ChatMessageV1, model: str, calls: dict[str, ToolCallV1]) -> list[dict[str, Any]]:
    if message.role == "tool":
        return [_result(message, calls)]
    if message.images and message.role == "assistant":
        raise Unfit("image_in_assistant")
    said = [_part(part) for part in message.parts if isinstance(part, ImagePartV1) or part.text]
    asked = [_call(call) for call in message.tool_calls]
    if asked and is_third(model):
        asked[0].setdefault("thoughtSignature", _NO_SIGNATURE)
    if not said and not asked:
        raise Unfit("empty_message")
    return said + asked


def _part(part: ContentPartV1) -> dict[str, Any]:
    if not isinstance(part, ImagePartV1):
        return {"text": part.text}
    if part.detail in {"low", "high"}:
        raise Unfit("image_detail")
    if not part.url.startswith("data:"):
        raise Unfit("image_url")
    mime, _, data = part.url.removeprefix("data:").partition(";base64,")
    return {"inlineData": {"mimeType": mime, "data": data}}


def _call(call: ToolCallV1) -> dict[str, Any]:
    made: dict[str, Any] = {"functionCall": _identified(call.id, call.name) | {"args": arguments_object(call)}}
    signature = signature_in(call.id)
    return made if signature is None else made | {"thoughtSignature": signature}


def _result(message: ChatMessageV1, calls: dict[str, ToolCallV1]) -> dict[str, Any]:
    call = calls.get(message.tool_call_id or "")
    if call is None:
        raise Unfit("tool_call_id")
    if message.images:
        raise Unfit("image_in_tool_result")
    found = object_in(message.text)
    response = {"output": message.text} if found is None else found
    return {"functionResponse": _identified(call.id, call.name) | {"response": response}}


def _identified(id_: str, name: str) -> dict[str, Any]:
    # Gemini pairs by id only what it gave an id itself.
    return {"name": name} if is_made_up(id_) else {"id": bare(id_), "name": name}
