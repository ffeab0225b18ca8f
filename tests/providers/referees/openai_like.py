"""The official SDKs of OpenAI, Groq and Zhipu, which take the words of the wire; OpenRouter documents OpenAI's."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

import groq
import openai
import zai

from tests.providers.referees.logical import EMBEDS, INPUTS, SCHEMA, Call, Calls
from tests.providers.specs.calls import MODELS, SEES

_USER = {"role": "user", "content": "How high is the tide?"}
_PIXEL = "data:image/png;base64,iVBORw0KGgo="
_TOOLS = [
    {"type": "function", "function": {"name": "tide", "description": "Height of the tide.", "parameters": SCHEMA}}
]
_CALL = {"id": "Ab12Cd34E", "type": "function", "function": {"name": "tide", "arguments": '{"port":"Dover"}'}}
_FORMAT = {"type": "json_schema", "json_schema": {"name": "tide", "schema": SCHEMA, "strict": True}}
_NAMED = {"type": "function", "function": {"name": "tide"}}
_PICTURE = {
    "role": "user",
    "content": [{"type": "text", "text": "What?"}, {"type": "image_url", "image_url": {"url": _PIXEL}}],
}
WORDS: dict[Call, dict[str, Any]] = {
    "plain": {"messages": [_USER]},
    "system": {"messages": [{"role": "system", "content": "Be brief."}, _USER], "temperature": 0.2},
    "turns": {
        "messages": [_USER, {"role": "assistant", "content": "Where?"}, {"role": "user", "content": "In Dover."}],
        "top_p": 0.9,
    },
    "picture": {"messages": [_PICTURE]},
    "tools": {"messages": [_USER], "tools": _TOOLS, "tool_choice": "auto"},
    "named tool": {"messages": [_USER], "tools": _TOOLS, "tool_choice": _NAMED},
    "tool result": {
        "messages": [
            _USER,
            {"role": "assistant", "content": "", "tool_calls": [_CALL]},
            {"role": "tool", "content": "6.1 m", "tool_call_id": "Ab12Cd34E"},
        ],
        "tools": _TOOLS,
    },
    "json": {"messages": [_USER], "response_format": {"type": "json_object"}},
    "schema": {"messages": [_USER], "response_format": _FORMAT},
    "sampling": {"messages": [_USER], "temperature": 0.7, "seed": 7},
    "stop": {"messages": [_USER], "stop": ["END"]},
    "stream": {"messages": [_USER], "stream": True},
}


def _calls(provider: str, create: Callable[..., Any], limit: str, without: frozenset[str] = frozenset()) -> Calls:
    def made(call: Call, words: dict[str, Any]) -> Callable[[], Any]:
        model = SEES[provider] if call == "picture" else MODELS[provider]
        # zai-sdk changes what it is given.
        return lambda: create(model=model, **deepcopy(words), **{limit: 64})

    return {call: made(call, words) for call, words in WORDS.items() if call not in without}


@contextmanager
def by_openai(base_url: str, key: str) -> Iterator[Calls]:
    """openai, for OpenAI."""
    client = openai.OpenAI(base_url=f"{base_url}/v1", api_key=key, max_retries=0)
    embed = client.embeddings.create
    yield {
        **_calls("openai", client.chat.completions.create, "max_completion_tokens"),
        "embedding": lambda: embed(model=EMBEDS["openai"], input=list(INPUTS), dimensions=256),
    }
    client.close()


@contextmanager
def by_openai_for_openrouter(base_url: str, key: str) -> Iterator[Calls]:
    """openai, for OpenRouter."""
    client = openai.OpenAI(base_url=f"{base_url}/api/v1", api_key=key, max_retries=0)
    embed = client.embeddings.create
    yield {
        **_calls("openrouter", client.chat.completions.create, "max_completion_tokens"),
        "embedding": lambda: embed(model=EMBEDS["openrouter"], input=list(INPUTS), dimensions=256),
    }
    client.close()


@contextmanager
def by_groq(base_url: str, key: str) -> Iterator[Calls]:
    """groq; the company embeds nothing."""
    client = groq.Groq(base_url=base_url, api_key=key, max_retries=0)
    yield _calls("groq", client.chat.completions.create, "max_completion_tokens")
    client.close()


@contextmanager
def by_zai(base_url: str, key: str) -> Iterator[Calls]:
    """zai-sdk; its models know no schemas, no named tools and no seed."""
    client = zai.ZhipuAiClient(base_url=f"{base_url}/api/paas/v4", api_key=key, max_retries=0)
    lacking = frozenset({"named tool", "schema", "sampling"})
    embed = client.embeddings.create
    yield {
        **_calls("zhipu", client.chat.completions.create, "max_tokens", lacking),
        "embedding": lambda: embed(model=EMBEDS["zhipu"], input=list(INPUTS), dimensions=256),
    }
    close: Callable[[], None] = client.close
    close()
