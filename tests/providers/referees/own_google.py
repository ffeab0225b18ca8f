"""The official SDK of Google for Gemini."""

import base64
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from google import genai
from google.genai import types

from tests.providers.referees.logical import EMBEDS, INPUTS, SCHEMA, Call, Calls
from tests.providers.specs.calls import MODELS

_MODES, _text = types.FunctionCallingConfigMode, types.Part.from_text
_DECLARED = types.FunctionDeclaration(name="tide", description="Height of the tide.", parameters_json_schema=SCHEMA)
_TOOLS: dict[str, Any] = {"tools": [types.Tool(function_declarations=[_DECLARED])]}
_CALLED = types.Part(function_call=types.FunctionCall(id="Ab12Cd34E", name="tide", args={"port": "Dover"}))
_TOLD = types.FunctionResponse(id="Ab12Cd34E", name="tide", response={"output": "6.1 m"})
_PIXEL = types.Part.from_bytes(data=base64.b64decode("iVBORw0KGgo="), mime_type="image/png")


def _user(*parts: types.Part) -> types.Content:
    return types.Content(role="user", parts=list(parts))


def _model(*parts: types.Part) -> types.Content:
    return types.Content(role="model", parts=list(parts))


def _forced(mode: types.FunctionCallingConfigMode, *names: str) -> dict[str, Any]:
    calling = types.FunctionCallingConfig(mode=mode, allowed_function_names=list(names) or None)
    return {"tool_config": types.ToolConfig(function_calling_config=calling), **_TOOLS}


_ASK = _user(_text(text="How high is the tide?"))
_JSON: dict[str, Any] = {"response_mime_type": "application/json"}
_WORDS: dict[Call, tuple[list[types.Content], dict[str, Any]]] = {
    "plain": ([_ASK], {}),
    "system": ([_ASK], {"system_instruction": "Be brief.", "temperature": 0.2}),
    "turns": ([_ASK, _model(_text(text="Where?")), _user(_text(text="In Dover."))], {"top_p": 0.9}),
    "picture": ([_user(_text(text="What?"), _PIXEL)], {}),
    "tools": ([_ASK], _forced(_MODES.AUTO)),
    "named tool": ([_ASK], _forced(_MODES.ANY, "tide")),
    "tool result": ([_ASK, _model(_CALLED), _user(types.Part(function_response=_TOLD))], _TOOLS),
    "json": ([_ASK], _JSON),
    "schema": ([_ASK], _JSON | {"response_json_schema": SCHEMA}),
    "sampling": ([_ASK], {"temperature": 0.7, "seed": 7}),
    "stop": ([_ASK], {"stop_sequences": ["END"]}),
    "stream": ([_ASK], {}),
}


@contextmanager
def by_genai(base_url: str, key: str) -> Iterator[Calls]:
    """google-genai, told to speak v1beta as our adapter and the recordings do; since 3.0 it prefers v1."""
    options = types.HttpOptions(base_url=base_url, api_version="v1beta")
    client = genai.Client(api_key=key, http_options=options)

    def made(call: Call) -> Callable[[], Any]:
        contents, config = _WORDS[call]
        settings = types.GenerateContentConfig(max_output_tokens=64, **config)
        models = client.models
        create: Callable[..., Any] = models.generate_content_stream if call == "stream" else models.generate_content
        return lambda: create(model=MODELS["google"], contents=contents, config=settings)

    size = types.EmbedContentConfig(output_dimensionality=256)
    texts = list[Any](INPUTS)
    yield {
        **{call: made(call) for call in _WORDS},
        "embedding": lambda: client.models.embed_content(model=EMBEDS["google"], contents=texts, config=size),
    }
    client.close()
