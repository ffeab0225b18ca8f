import asyncio
import json
from typing import Any

import pytest

from deploy.local.sandbox import CHAT_MODELS, MODELS, TICK_S, Answer, encode, respond, serve

KEY = "Bearer sandbox-abc"


def chat(model: str, **more: Any) -> Answer:
    body = {"model": model, "messages": [{"role": "user", "content": "Good morning"}], **more}
    return respond("POST", "/v1/chat/completions", KEY, json.dumps(body).encode())


def test_echo_says_that_it_is_simulated_and_counts_words() -> None:
    answer = json.loads(chat("sandbox-echo").body)
    assert answer["choices"][0]["message"]["content"] == "[simulated] You said: Good morning"
    assert answer["usage"] == {"prompt_tokens": 2, "completion_tokens": 5, "total_tokens": 7}
    assert answer["choices"][0]["finish_reason"] == "stop"


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_echo_keeps_to_the_limit(name: str) -> None:
    answer = json.loads(chat("sandbox-echo", **{name: 2}).body)
    assert answer["choices"][0]["message"]["content"] == "[simulated] You"
    assert answer["choices"][0]["finish_reason"] == "length"
    assert answer["usage"]["completion_tokens"] == 2


def test_a_stream_ends_with_usage_and_done() -> None:
    answer = chat("sandbox-echo", stream=True)
    lines = [line for line in answer.body.decode().split("\n\n") if line]
    assert lines[-1] == "data: [DONE]"
    assert json.loads(lines[-2].removeprefix("data: "))["usage"]["total_tokens"] == 7


@pytest.mark.parametrize(("model", "status"), [("sandbox-429", 429), ("sandbox-500", 500), ("nope", 404)])
def test_failing_models(model: str, status: int) -> None:
    answer = chat(model)
    assert answer.status == status
    assert "simulated" in json.loads(answer.body)["error"]["message"]
    assert (b"Retry-After: 1" in encode(answer)) == (status == 429)


def test_cut_sends_less_than_it_promises_and_badjson_is_broken() -> None:
    cut = chat("sandbox-cut")
    assert cut.send is not None
    assert cut.send < len(cut.body)
    with pytest.raises(json.JSONDecodeError):
        json.loads(chat("sandbox-badjson").body)


def test_streams_misbehave_as_well() -> None:
    cut, broken = chat("sandbox-cut", stream=True), chat("sandbox-badjson", stream=True)
    assert cut.send is not None
    assert b"[DONE]" not in cut.body[: cut.send] + broken.body
    assert b'"content": "[simulated]"' in cut.body[: cut.send]
    for answer in (cut, broken):
        assert ("Content-Type", "text/event-stream") in answer.headers


def test_only_a_stream_ticks() -> None:
    assert (chat("sandbox-stream", stream=True).tick_s, chat("sandbox-stream").tick_s) == (TICK_S, 0.0)


async def test_a_stream_comes_an_event_at_a_time() -> None:
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    body = json.dumps({"model": "sandbox-stream", "stream": True, "messages": [{"role": "user", "content": "Hi"}]})
    head = f"POST /v1/chat/completions HTTP/1.1\r\nauthorization: {KEY}\r\ncontent-length: {len(body)}\r\n\r\n"
    writer.write((head + body).encode())
    await reader.readuntil(b"[simulated]")
    began = asyncio.get_running_loop().time()
    await reader.readuntil(b"[DONE]")
    assert asyncio.get_running_loop().time() - began > 4 * TICK_S
    writer.close()
    server.close()
    await server.wait_closed()


def test_slow_takes_thirty_seconds() -> None:
    assert chat("sandbox-slow").wait_s == 30.0


@pytest.mark.parametrize("authorization", ["", "Bearer sk-real", "sandbox-x"])
def test_other_keys_are_refused_in_the_wire_format(authorization: str) -> None:
    answer = respond("GET", "/v1/models", authorization, b"")
    assert answer.status == 401
    assert json.loads(answer.body)["error"]["code"] == "invalid_api_key"


def test_lists_its_models() -> None:
    listed = json.loads(respond("GET", "/v1/models", KEY, b"").body)["data"]
    assert tuple(item["id"] for item in listed) == MODELS


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"model": "sandbox-echo", "messages": []}', b'{"model": 1}'])
def test_unreadable_requests_are_refused(body: bytes) -> None:
    assert respond("POST", "/v1/chat/completions", KEY, body).status in (400, 404)


def test_every_answer_is_labelled() -> None:
    for model in CHAT_MODELS:
        assert b"x-omnipost-simulated: true" in encode(chat(model))
