"""OpenAI's questions: what is passed on, what is ignored on purpose, and what is refused by name."""

import json
from typing import Any

import pytest

from services.api.dialects.dialect import Asked
from services.api.dialects.openai_chat import OpenAIChat
from services.api.dialects.openai_completions import OpenAICompletions
from services.api.dialects.openai_embeddings import EmbeddingStyle, OpenAIEmbeddings
from services.api.schemas_invoke import InvokeIn
from shared.errors import OmniError

CANARY = "canary-1n-the-body"
HELLO = [{"role": "user", "content": "Hi"}]


def chat(**body: Any) -> Asked:
    return OpenAIChat().read(json.dumps({"model": "a", "messages": HELLO, **body}).encode())


def completion(**body: Any) -> Asked:
    return OpenAICompletions().read(json.dumps({"model": "a", "prompt": "Once", **body}).encode())


def embedding(**body: Any) -> Asked:
    return OpenAIEmbeddings().read(json.dumps({"model": "a", "input": "x", **body}).encode())


def test_a_conversation_reads_as_our_own_does() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA==", "detail": "low"}}
    messages = [
        {"role": "developer", "content": "Short."},
        {"role": "user", "content": [{"type": "text", "text": "x"}, picture]},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "content": "4", "tool_call_id": "c1"},
    ]
    options = {
        "max_tokens": 5, "temperature": 1, "top_p": 0.5, "seed": 1, "stop": ["x"], "parallel_tool_calls": True,
        "tools": [{"type": "function", "function": {"name": "f", "parameters": {"default": None}}}],
        "tool_choice": {"type": "function", "function": {"name": "f"}}, "reasoning_effort": "low",
        "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {}, "strict": True}},
    }  # fmt: skip
    ours = InvokeIn.model_validate({"alias_name": "a", "messages": messages, "options": options})
    read = chat(messages=messages, **options)
    assert read.messages == ours.conversation()
    assert read.options == ours.options.of_chat()
    assert (read.model, read.stream, read.embedding) == ("a", False, None)


def test_what_an_answer_says_is_taken_back() -> None:
    """The message of an answer, as the SDK gives it, goes into the next question."""
    said: dict[str, Any] = {
        "role": "assistant", "content": "Hello", "refusal": None, "annotations": [], "audio": None,
        "function_call": None, "tool_calls": None, "reasoning_content": "hm", "name": "bot",
    }  # fmt: skip
    assert chat(messages=[*HELLO, said]).messages[1].text == "Hello"


@pytest.mark.parametrize(
    "harmless",
    [
        {"user": "u"}, {"metadata": {"a": "b"}}, {"store": False}, {"service_tier": "auto"}, {"n": 1},
        {"logit_bias": {}}, {"logprobs": False}, {"top_logprobs": 0}, {"modalities": ["text"]},
        {"safety_identifier": "s"},
        {"prompt_cache_key": "k"}, {"verbosity": "medium"}, {"max_tokens": None}, {"tools": None}, {"stop": None},
        {"prediction": {"type": "content", "content": "x"}}, {"stream_options": {"include_obfuscation": False}},
    ],
)  # fmt: skip
def test_what_changes_nothing_is_ignored(harmless: dict[str, Any]) -> None:
    assert chat(**harmless) == chat()


@pytest.mark.parametrize(
    ("meant", "field"),
    [
        ({"n": 2}, "n"), ({"logprobs": True}, "logprobs"), ({"top_logprobs": 2}, "top_logprobs"),
        ({"logit_bias": {"1": 2}}, "logit_bias"), ({"store": True}, "store"),
        ({"service_tier": "flex"}, "service_tier"),
        ({"modalities": ["text", "audio"]}, "modalities.1"), ({"audio": {}}, "audio"), ({"functions": []}, "functions"),
        ({"function_call": "auto"}, "function_call"), ({"web_search_options": {}}, "web_search_options"),
        ({"verbosity": "high"}, "verbosity"), ({"reasoning_effort": "xhigh"}, "reasoning_effort"),
        ({"temperature": 3}, "temperature"), ({"max_tokens": "5"}, "max_tokens"), ({"stop": []}, "stop"),
        ({"tools": [{"type": "custom", "custom": {"name": CANARY}}]}, "tools.0.type"), ({"model": ""}, "model"),
        ({"messages": [{"role": "user", "content": [{"type": "file", "file": {"file_id": CANARY}}]}]}, "messages.0"),
        ({"messages": []}, "messages"), ({"stream": "yes"}, "stream"), ({"dimensions": 3}, "dimensions"),
    ],
)  # fmt: skip
def test_what_cannot_be_honoured_is_refused_by_name(meant: dict[str, Any], field: str) -> None:
    with pytest.raises(OmniError) as raised:
        chat(**meant)
    assert raised.value.status == 422
    assert f"'{field}" in raised.value.detail
    assert CANARY not in json.dumps(OpenAIChat().problem(raised.value))


def test_the_newer_limit_holds() -> None:
    assert chat(max_tokens=5, max_completion_tokens=7).options.max_tokens == 7
    assert chat(max_tokens=5).options.max_tokens == 5


def test_fields_of_a_providers_own_are_passed_on() -> None:
    assert chat(provider_options={"openai": {"logprobs": True}}).options.provider_options == {
        "openai": {"logprobs": True}
    }


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"model": 1}', b"\xff\xfe", b'{"a":' * 500, b"null"])
def test_what_is_no_question_is_refused(body: bytes) -> None:
    for dialect in (OpenAIChat(), OpenAICompletions(), OpenAIEmbeddings()):
        with pytest.raises(OmniError) as raised:
            dialect.read(body)
        assert raised.value.status == 422


def test_a_text_to_go_on_with() -> None:
    assert completion(prompt=["Once"], stop="x", echo=False, best_of=1, suffix=None) == completion(stop=["x"])
    assert completion().messages[0].text == "Once"
    refused: list[dict[str, Any]] = [
        {"prompt": ["a", "b"]}, {"prompt": [1, 2]}, {"echo": True}, {"best_of": 2}, {"suffix": "x"}, {"logprobs": 3},
        {"tools": [{"type": "function", "function": {"name": "f"}}]},
    ]  # fmt: skip
    for wrong in refused:
        with pytest.raises(OmniError):
            completion(**wrong)


def test_texts_to_embed() -> None:
    assert embedding(input=["x"]) == embedding()
    read = embedding(input=["a", "b"], encoding_format="base64", dimensions=8, user="u")
    assert (read.style, read.embedding and read.embedding.dimensions) == (EmbeddingStyle(as_base64=True), 8)
    for numbers in ([1, 2], [[1, 2], [3]], ["a", 1]):
        with pytest.raises(OmniError, match="token numbers are not taken"):
            embedding(input=numbers)
    refused: list[dict[str, Any]] = [{"input": ""}, {"input": []}, {"dimensions": 0}, {"encoding_format": "hex"}]
    for wrong in refused:
        with pytest.raises(OmniError):
            embedding(**wrong)
