"""What our compatible routes answer, against Anthropic's and OpenAI's official descriptions of it.

They lie in ``../shared/providers/specs``. Where that folder is missing nothing here is checked, and the SDKs
(``tests/e2e``) are the only judges.
"""

import json
from typing import Any

import pytest

from services.api.dialects.anthropic_bodies import Conversation
from services.api.dialects.anthropic_messages import AnthropicMessages, to_count
from services.api.dialects.dialect import Dialect
from services.api.dialects.openai_responses import OpenAIResponses
from shared.errors import STATUS, OmniError
from shared.messages.chat import DeltaV1, ToolCallDeltaV1
from shared.messages.router import InvokedV1, TokensV1
from tests.providers.specs.documents import SPECS, described
from tests.unit.api.dialects.answered import CALL_ID, CREATED, WEATHER, answered, calls, events_of, opening, stream

TEXT = "Be brief."
FUNCTION: dict[str, Any] = {"name": "f", "description": "d"}
SCHEMA: dict[str, Any] = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}
ANTHROPIC: tuple[dict[str, Any], ...] = (
    {},
    {"system": TEXT, "temperature": 0.5, "top_p": 0.5, "top_k": 5, "stop_sequences": ["x"]},
    {"metadata": {"user_id": "u"}},
    {"tools": [{**FUNCTION, "input_schema": SCHEMA}],
     "tool_choice": {"type": "any", "disable_parallel_tool_use": True}},
    {"output_config": {"effort": "high", "format": {"type": "json_schema", "schema": SCHEMA}}, "stream": True},
    {"thinking": {"type": "enabled", "budget_tokens": 2048}, "cache_control": {"type": "ephemeral", "ttl": "5m"}},
    {"thinking": {"type": "adaptive", "display": "omitted"}, "service_tier": "auto"},
    {"messages": [
        {"role": "user", "content": [
            {"type": "text", "text": "What?", "cache_control": {"type": "ephemeral"}},
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}},
            {"type": "image", "source": {"type": "url", "url": "https://example.org/a.png"}},
        ]},
        {"role": "assistant", "content": [
            {"type": "thinking", "thinking": "hm", "signature": "s"}, {"type": "redacted_thinking", "data": "d"},
            {"type": "text", "text": "I look."},
            {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"a": "b"}, "caller": {"type": "direct"}},
        ]},
        {"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": "toolu_1", "is_error": True,
             "content": [{"type": "text", "text": "no"}]},
            {"type": "text", "text": "Go on."},
        ]},
        {"role": "system", "content": "In French."},
    ]},
)  # fmt: skip
OPENAI: tuple[dict[str, Any], ...] = (
    {},
    {"instructions": TEXT, "temperature": 0.5, "top_p": 0.5, "max_output_tokens": 50, "metadata": {"a": "b"}},
    {"store": False},
    {"tools": [{"type": "function", **FUNCTION, "parameters": SCHEMA, "strict": True}], "parallel_tool_calls": False,
     "tool_choice": {"type": "function", "name": "f"}},
    {"text": {"format": {"type": "json_schema", "name": "n", "schema": SCHEMA, "strict": True}, "verbosity": "medium"}},
    {"reasoning": {"effort": "low", "summary": "auto"}, "include": ["reasoning.encrypted_content"], "stream": True},
    {"truncation": "disabled", "service_tier": "default", "background": False, "user": "u", "top_logprobs": 0},
    {"input": [
        {"type": "reasoning", "id": "rs_1", "summary": []},
        {"type": "function_call", "id": "fc_1", "call_id": "c1", "name": "f", "arguments": "{}", "status": "completed"},
        {"type": "function_call_output", "call_id": "c1", "output": "4"},
    ]},
)  # fmt: skip
ANSWERS: tuple[InvokedV1, ...] = (
    answered(),
    answered("", tool_calls=(WEATHER,), finish_reason="tool_calls"),
    answered("Both.", tool_calls=(WEATHER, WEATHER), finish_reason="tool_calls"),
    answered(finish_reason="length", tokens=TokensV1(input_tokens=1, output_tokens=1)),
    answered(finish_reason="unknown", tokens=TokensV1(), cost_usd_micros=None),
    answered(""),
)
STREAMS: tuple[list[DeltaV1], ...] = (
    [],
    [DeltaV1(text="Hel"), DeltaV1(text="lo.")],
    [DeltaV1(text="I look."), calls(opening(0, '{"a"')), calls(ToolCallDeltaV1(index=0, arguments=": 1}"))],
    [calls(opening(0, '{"a":')), calls(opening(1)), calls(ToolCallDeltaV1(index=0, arguments="1}")), DeltaV1(text="!")],
)
DIALECTS: dict[str, tuple[Dialect, dict[str, Any], tuple[dict[str, Any], ...]]] = {
    "anthropic": (
        AnthropicMessages(),
        {"model": "writer", "max_tokens": 4096, "messages": [{"role": "user", "content": "Hi"}]},
        ANTHROPIC,
    ),
    "openai": (OpenAIResponses(), {"model": "writer", "input": "Hi"}, OPENAI),
}
CHECKED = tuple(DIALECTS) if SPECS.is_dir() else ()
# Anthropic's own answers to a body that is too large have a type that its description forgets.
NAMES = {
    "anthropic": ("CreateMessageParams", "Message", "MessageStreamEvent", "ErrorResponse"),
    "openai": ("CreateResponse", "Response", "ResponseStreamEvent", "ErrorResponse"),
}


def _complaints(provider: str, kind: int, value: object) -> list[str]:
    found = described(provider, NAMES[provider][kind]).iter_errors(value)
    return [f"{'.'.join(map(str, error.instance_path))}: {error.message[:200]}" for error in found]


def _report(capsys: pytest.CaptureFixture[str], what: str, told: list[list[str]]) -> None:
    good = sum(not complaints for complaints in told)
    with capsys.disabled():
        print(f"\n{what}: {good} of {len(told)} valid")
    assert good == len(told), [complaints[:3] for complaints in told if complaints][:5]


@pytest.mark.parametrize("provider", CHECKED)
def test_good_questions_are_read(provider: str, capsys: pytest.CaptureFixture[str]) -> None:
    dialect, plain, more = DIALECTS[provider]
    bodies = [plain | fields for fields in more]
    for body in bodies:
        assert dialect.read(json.dumps(body).encode()).messages
    _report(capsys, f"edge specs: {provider} questions", [_complaints(provider, 0, body) for body in bodies])


@pytest.mark.parametrize("provider", CHECKED)
def test_whole_answers(provider: str, capsys: pytest.CaptureFixture[str]) -> None:
    dialect, plain, more = DIALECTS[provider]
    told = []
    for fields in more:
        asked = dialect.read(json.dumps(plain | fields).encode())
        wholes = [json.loads(dialect.whole(asked, answer, (), CREATED)) for answer in ANSWERS]
        told += [_complaints(provider, 1, whole) for whole in wholes]
    _report(capsys, f"edge specs: {provider} answers", told)


@pytest.mark.parametrize("provider", CHECKED)
def test_streamed_answers(provider: str, capsys: pytest.CaptureFixture[str]) -> None:
    dialect, plain, more = DIALECTS[provider]
    told = []
    for fields in more:
        asked = dialect.read(json.dumps(plain | fields).encode())
        for deltas in STREAMS:
            for answer in ANSWERS:
                events = stream(dialect.writer(asked, CALL_ID, CREATED), deltas, answer)
                told += [_complaints(provider, 2, data) for _, data in events]
    _report(capsys, f"edge specs: {provider} events", told)


@pytest.mark.parametrize("provider", CHECKED)
def test_failures(provider: str, capsys: pytest.CaptureFixture[str]) -> None:
    dialect, plain, _ = DIALECTS[provider]
    errors = [OmniError(code, "Sentence.", extra={"call_id": "c", "alias_name": "a"}) for code in STATUS]
    told = [_complaints(provider, 3, dialect.problem(error)) for error in errors]
    asked = dialect.read(json.dumps(plain).encode())
    for error in errors:
        writer = dialect.writer(asked, CALL_ID, CREATED)
        ((_, data),) = events_of(writer.failed(error))
        told.append(_complaints(provider, 3 if provider == "anthropic" else 2, data))
    _report(capsys, f"edge specs: {provider} failures", told)


@pytest.mark.parametrize("provider", CHECKED)
def test_what_is_wrong_is_found(provider: str) -> None:
    dialect, plain, _ = DIALECTS[provider]
    asked = dialect.read(json.dumps(plain).encode())
    good = json.loads(dialect.whole(asked, answered(), (), CREATED))
    assert _complaints(provider, 0, plain | {"model": 5})
    assert _complaints(provider, 1, good | {"id": 5})
    assert _complaints(provider, 2, {"type": "canary"})
    assert _complaints(provider, 3, {"error": "no"})


@pytest.mark.parametrize("provider", CHECKED[:1])
def test_good_questions_are_counted(provider: str) -> None:
    for fields in ANTHROPIC:
        whole = DIALECTS[provider][1] | fields
        body = {name: value for name, value in whole.items() if name in Conversation.model_fields}
        assert not list(described(provider, "CountMessageTokensParams").iter_errors(body))
        assert to_count(json.dumps(body).encode()).messages
