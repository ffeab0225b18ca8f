import base64
import json
import struct
from typing import Any

import pytest

from deploy.local.sandbox import respond
from deploy.local.sandbox_answers import MOST_DIMENSIONS

KEY = "Bearer sandbox-abc"
SCHEMA = {
    "type": "object",
    "properties": {
        "title": {"type": "string"},
        "tags": {"type": "array", "items": {"enum": ["rain", "sun"]}},
        "stars": {"type": "integer"},
    },
}
TOOL = {"type": "function", "function": {"name": "rate", "parameters": SCHEMA}}
FILLED = {"title": "[simulated] You said: Hello there", "tags": ["rain"], "stars": 1}


def ask(path: str, **body: Any) -> tuple[int, dict[str, Any]]:
    answer = respond("POST", f"/v1/{path}", KEY, json.dumps(body).encode())
    return answer.status, json.loads(answer.body)


def chat(*messages: tuple[str, str], **more: Any) -> dict[str, Any]:
    said = [{"role": role, "content": content} for role, content in messages]
    choice: dict[str, Any] = ask("chat/completions", model="sandbox-echo", messages=said, **more)[1]["choices"][0]
    return choice


def test_a_tool_is_called_once_and_its_result_is_answered() -> None:
    called = chat(("user", "Hello there"), tools=[TOOL])
    assert called["finish_reason"] == "tool_calls"
    assert json.loads(called["message"]["tool_calls"][0]["function"]["arguments"]) == FILLED
    assert chat(("user", "Hello"), ("tool", "4"), tools=[TOOL])["message"]["content"] == "[simulated] You said: 4"
    assert chat(("user", "Hello"), tools=[TOOL], tool_choice="none")["finish_reason"] == "stop"


def test_a_streamed_tool_call_adds_up_to_the_same() -> None:
    body = {"model": "sandbox-echo", "messages": [{"role": "user", "content": "Hello there"}], "tools": [TOOL]}
    raw = respond("POST", "/v1/chat/completions", KEY, json.dumps({**body, "stream": True}).encode()).body
    events = [json.loads(line[6:]) for line in raw.decode().split("\n\n") if line.startswith("data: {")]
    deltas = [choice["delta"] for event in events for choice in event["choices"]]
    calls = [delta["tool_calls"][0]["function"] for delta in deltas if "tool_calls" in delta]
    assert calls[0]["name"] == "rate"
    assert json.loads("".join(call["arguments"] for call in calls)) == FILLED


def test_a_schema_is_filled_in() -> None:
    wanted = {"type": "json_schema", "json_schema": {"name": "post", "schema": SCHEMA}}
    assert json.loads(chat(("user", "Hello there"), response_format=wanted)["message"]["content"]) == FILLED
    said = chat(("user", "Hello there"), response_format={"type": "json_object"})["message"]["content"]
    assert json.loads(said) == {"said": "[simulated] You said: Hello there"}


@pytest.mark.parametrize("begun", ["[sim", "[simulated] You said:", "[simulated] You said: Hello th"])
def test_an_unfinished_answer_is_gone_on_with(begun: str) -> None:
    rest = chat(("user", "Hello there"), ("assistant", begun), ("user", "Go on."))["message"]["content"]
    assert begun + rest == "[simulated] You said: Hello there"


def test_a_finished_answer_is_not() -> None:
    talk = (("user", "Hello"), ("assistant", "[simulated] You said: Hello"), ("user", "And you?"))
    assert chat(*talk)["message"]["content"] == "[simulated] You said: And you?"


def test_a_text_has_one_vector_of_length_one() -> None:
    first, again = (ask("embeddings", model="sandbox-embedding", input=["one", "two"])[1] for _ in range(2))
    one, two = (row["embedding"] for row in first["data"])
    assert first == again
    assert one != two
    assert sum(number * number for number in one) == pytest.approx(1.0)
    packed = ask("embeddings", model="sandbox-embedding", input="one", encoding_format="base64")[1]
    assert struct.unpack("<8f", base64.b64decode(packed["data"][0]["embedding"])) == pytest.approx(one)


@pytest.mark.parametrize(
    ("model", "dimensions", "status"),
    [("sandbox-embedding", 4, 200), ("sandbox-embedding", MOST_DIMENSIONS + 1, 400), ("sandbox-echo", None, 404)],
)
def test_vectors_have_their_limits(model: str, dimensions: int | None, status: int) -> None:
    assert ask("embeddings", model=model, input="one", dimensions=dimensions)[0] == status
