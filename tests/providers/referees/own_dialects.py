"""The official SDKs of Anthropic and Mistral."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import anthropic
from mistralai.client import Mistral

from tests.providers.referees.logical import EMBEDS, INPUTS, SCHEMA, Call, Calls
from tests.providers.referees.openai_like import WORDS
from tests.providers.specs.calls import MODELS

_ASK = "How high is the tide?"
_PIXEL = "iVBORw0KGgo="


@contextmanager
def by_anthropic(base_url: str, key: str) -> Iterator[Calls]:
    """anthropic, told to speak API version 2023-06-01.

    Since 2.0 it speaks 2026-10-21, which refuses temperature, top_p and top_k and of which it has no words for them. We
    stay with the version that takes them; both are served (platform.claude.com/docs/en/api/versioning).
    """
    version = {"anthropic-version": "2023-06-01"}
    client = anthropic.Anthropic(base_url=base_url, api_key=key, max_retries=0, default_headers=version)
    user = {"role": "user", "content": _ASK}
    tool = {"name": "tide", "description": "Height of the tide.", "input_schema": SCHEMA}
    asked = {"type": "tool_use", "id": "Ab12Cd34E", "name": "tide", "input": {"port": "Dover"}}
    result = {"type": "tool_result", "tool_use_id": "Ab12Cd34E", "content": "6.1 m"}
    source = {"type": "base64", "media_type": "image/png", "data": _PIXEL}
    picture = [{"type": "text", "text": "What?"}, {"type": "image", "source": source}]

    def made(*messages: dict[str, Any], **more: Any) -> Callable[[], Any]:
        create: Callable[..., Any] = client.messages.create
        return lambda: create(model=MODELS["anthropic"], max_tokens=64, messages=messages, **more)

    yield {
        "plain": made(user),
        "system": made(user, system="Be brief.", extra_body={"temperature": 0.2}),
        "turns": made(
            user,
            {"role": "assistant", "content": "Where?"},
            {"role": "user", "content": "In Dover."},
            extra_body={"top_p": 0.9},
        ),
        "picture": made({"role": "user", "content": picture}),
        "tools": made(user, tools=[tool], tool_choice={"type": "auto"}),
        "named tool": made(user, tools=[tool], tool_choice={"type": "tool", "name": "tide"}),
        "tool result": made(
            user, {"role": "assistant", "content": [asked]}, {"role": "user", "content": [result]}, tools=[tool]
        ),
        "schema": made(user, output_config={"format": {"type": "json_schema", "schema": SCHEMA}}),
        "stop": made(user, stop_sequences=["END"]),
        "stream": made(user, stream=True),
    }
    client.close()


@contextmanager
def by_mistral(base_url: str, key: str) -> Iterator[Calls]:
    """mistralai; it names the schema and the seed in its own way."""
    client = Mistral(server_url=base_url, api_key=key)
    complete: Callable[..., Any] = client.chat.complete
    stream: Callable[..., Any] = client.chat.stream
    schema = {"name": "tide", "schema_definition": SCHEMA, "strict": True}
    own: dict[Call, dict[str, Any]] = {
        "schema": {"response_format": {"type": "json_schema", "json_schema": schema}},
        "sampling": {"temperature": 0.7, "random_seed": 7},
    }

    def made(call: Call) -> Callable[[], Any]:
        words = {"messages": WORDS[call]["messages"]} | (own.get(call) or WORDS[call])
        words = {name: value for name, value in words.items() if name != "stream"}
        create = stream if call == "stream" else complete
        return lambda: create(model=MODELS["mistral"], max_tokens=64, **words)

    embed: Callable[..., Any] = client.embeddings.create
    yield {
        **{call: made(call) for call in WORDS},
        "embedding": lambda: embed(model=EMBEDS["mistral"], inputs=list(INPUTS), output_dimension=256),
    }
    close: Callable[..., None] = client.__exit__
    close(None, None, None)
