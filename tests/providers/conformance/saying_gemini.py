"""What requests in Gemini's dialect say."""

import json
from typing import Any

from tests.providers.conformance.said import Spoken, Texts

_GENERATION = {
    "maxOutputTokens": "max_tokens",
    "temperature": "temperature",
    "topP": "top_p",
    "stopSequences": "stop",
    "seed": "seed",
    "frequencyPenalty": "frequency_penalty",
    "presencePenalty": "presence_penalty",
}
_MODES = {"AUTO": "auto", "ANY": "required", "NONE": "none"}
_ROLES = {"user": "user", "model": "assistant"}
_FORMAT = {"responseMimeType", "responseSchema", "responseJsonSchema"}


def chat(body: dict[str, Any], path: str) -> Spoken:
    """A ``:generateContent`` or ``:streamGenerateContent``; names in camel case (``canon.camel``)."""
    last = path.rsplit("/", 1)[-1]
    spoken = Spoken(last.split(":")[0], stream=last.endswith(":streamGenerateContent"))
    if "systemInstruction" in body:
        texts = [part["text"] for part in body["systemInstruction"]["parts"]]
        spoken.messages.append({"role": "system", "content": "".join(texts)})
    ids = _Ids()
    for turn in body["contents"]:
        spoken.messages += _turn(turn, ids)
    settings = dict(body.get("generationConfig") or {})
    _format(settings, spoken)
    for name in [name for name in settings if name in _GENERATION]:
        spoken.options[_GENERATION[name]] = settings.pop(name)
    if settings.pop("responseModalities", ["TEXT"]) != ["TEXT"]:
        spoken.unsaid.append("responseModalities")
    spoken.foreign = settings | {key: body[key] for key in body if key not in _HANDLED}
    _tools(body, spoken)
    return spoken


_HANDLED = {"contents", "systemInstruction", "generationConfig", "tools", "toolConfig"}


class _Ids:
    """Ids for calls, of which Gemini needs none: in the form of those the adapter makes up, so that none is sent."""

    def __init__(self) -> None:
        self._count = 0
        self._open: list[tuple[str, str]] = []

    def of_call(self, call: dict[str, Any], signature: str | None) -> str:
        id_ = call.get("id") or f"call_{self._count:024x}_0"
        self._count += 1
        whole = f"{id_}__thought__{signature}" if signature else id_
        self._open.append((call["name"], whole))
        return whole

    def of_result(self, result: dict[str, Any]) -> str:
        """The first call of that name that has no result yet."""
        found = next((item for item in self._open if item[0] == result["name"]), (result["name"], "call_unknown"))
        if found in self._open:
            self._open.remove(found)
        return found[1]


def _turn(turn: dict[str, Any], ids: _Ids) -> list[dict[str, Any]]:
    role = _ROLES.get(turn.get("role", "user"), str(turn.get("role")))
    said: list[dict[str, Any]] = []
    content: list[dict[str, Any]] = []
    calls = []
    for part in turn["parts"]:
        if "functionResponse" in part:
            result = part["functionResponse"]
            said.append({"role": "tool", "tool_call_id": ids.of_result(result), "content": _text(result["response"])})
        elif "functionCall" in part:
            call = part["functionCall"]
            id_ = ids.of_call(call, part.get("thoughtSignature"))
            calls.append({"id": id_, "name": call["name"], "arguments": json.dumps(call.get("args", {}))})
        else:
            content.append(_part(part))
    if content or calls:
        one = len(content) == 1 and set(content[0]) == {"type", "text"}
        message = {"role": role, "content": content[0]["text"] if one else content}
        said.append(message | ({"tool_calls": calls} if calls else {}))
    return said


def _text(response: Any) -> str:
    return json.dumps(response)


def _part(part: dict[str, Any]) -> dict[str, Any]:
    if set(part) == {"text"}:
        return {"type": "text", "text": part["text"]}
    if set(part) == {"inlineData"}:
        data = part["inlineData"]
        return {"type": "image", "url": f"data:{data['mimeType']};base64,{data['data']}"}
    return part


def _format(settings: dict[str, Any], spoken: Spoken) -> None:
    mime = settings.pop("responseMimeType", "text/plain")
    schema = settings.pop("responseJsonSchema", None) or settings.pop("responseSchema", None)
    if schema is not None:
        spoken.options["response_format"] = {"type": "json_schema", "schema_": schema}
    elif mime == "application/json":
        spoken.options["response_format"] = {"type": "json_object"}


def _tools(body: dict[str, Any], spoken: Spoken) -> None:
    made = []
    for tool in body.get("tools") or []:
        spoken.unsaid += sorted(set(tool) - {"functionDeclarations"})
        for declared in tool.get("functionDeclarations", []):
            renamed = {"parametersJsonSchema": "parameters"}
            made.append({renamed.get(name, name): value for name, value in declared.items()})
    if made:
        spoken.options["tools"] = made
    config = dict(body.get("toolConfig") or {})
    calling = dict(config.pop("functionCallingConfig", None) or {})
    names, mode = calling.pop("allowedFunctionNames", None) or [], calling.pop("mode", None)
    if mode is not None:
        spoken.options["tool_choice"] = {"name": names[0]} if len(names) == 1 else _MODES.get(mode, mode)
    spoken.unsaid += sorted({*config, *calling, *(["allowedFunctionNames"] if len(names) > 1 else [])})


def embedding(body: dict[str, Any], path: str) -> Texts:
    """A ``:batchEmbedContents`` or ``:embedContent``."""
    requests = body.get("requests", [body])
    known = {"model", "content", "outputDimensionality"}
    sizes = {item.get("outputDimensionality") for item in requests}
    inputs = ["".join(part["text"] for part in item["content"]["parts"]) for item in requests]
    unsaid = sorted({name for item in requests for name in item} - known)
    return Texts(path.rsplit("/", 1)[-1].split(":", maxsplit=1)[0], inputs, next(iter(sizes)), unsaid)
