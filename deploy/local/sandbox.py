"""``python -m deploy.local.sandbox PORT``: a simulated provider on loopback that speaks OpenAI's wire format.

For newcomers without a key and for watching failures; only the local stack starts it. Every answer says that it is
simulated, in the header ``x-omnipost-simulated`` and wherever it holds text. Its models behave as they are named;
what they say is in ``sandbox_answers.py``.
"""

import asyncio
import json
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from deploy.local.sandbox_answers import completion, embeddings, stream

CHAT_MODELS = (
    "sandbox-echo", "sandbox-stream", "sandbox-slow", "sandbox-429", "sandbox-500", "sandbox-cut", "sandbox-badjson",
)  # fmt: skip
EMBEDDING_MODEL = "sandbox-embedding"
MODELS = (*CHAT_MODELS, EMBEDDING_MODEL)
KEY_PREFIX = "Bearer sandbox-"
SLOW_S = 30.0
TICK_S = 0.25
BODY_LIMIT = 4 * 1024 * 1024
_PHRASES = {200: "OK", 400: "Bad Request", 401: "Unauthorized", 404: "Not Found", 429: "Too Many Requests"}
_END = re.compile(rb"(?<=\n\n)")


@dataclass(frozen=True)
class Answer:
    """One HTTP answer. ``send`` bytes of the body are sent, then the connection is cut; None: all of it.

    ``wait_s``: seconds before it; ``tick_s``: seconds between two events of a stream.
    """

    status: int
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()
    send: int | None = None
    wait_s: float = 0.0
    tick_s: float = 0.0


def respond(method: str, path: str, authorization: str, body: bytes) -> Answer:
    """What the simulated provider answers to one request."""
    if not authorization.startswith(KEY_PREFIX):
        return _error(
            401, "Incorrect API key provided (simulated). Sandbox keys start with sandbox-.", "invalid_api_key"
        )
    if (method, path) == ("GET", "/v1/models"):
        items = [{"id": name, "object": "model", "created": 0, "owned_by": "sandbox (simulated)"} for name in MODELS]
        return _json(200, {"object": "list", "data": items})
    ask = _ASKED.get(path) if method == "POST" else None
    if ask is None:
        return _error(404, f"Unknown request (simulated): {method} {path[:100]}", None)
    try:
        request = json.loads(body)
        return ask(str(request["model"]), request)
    except (ValueError, LookupError, TypeError, AttributeError):
        return _error(400, "The simulated provider cannot read this request.", None)


def _chat(model: str, request: dict[str, Any]) -> Answer:
    if model not in CHAT_MODELS:
        return _no_model(model)
    if model == "sandbox-429":
        return _error(429, "Rate limit reached (simulated).", "rate_limit_exceeded", ("Retry-After", "1"))
    if model == "sandbox-500":
        return _error(500, "The server had an error (simulated).", None)
    streams = bool(request.get("stream"))
    events = (("Content-Type", "text/event-stream"),)
    answer = Answer(200, stream(model, request), events) if streams else _json(200, completion(model, request))
    half = len(answer.body) // 2
    if model == "sandbox-badjson":
        return replace(answer, body=answer.body[:half])
    if model == "sandbox-cut":
        return replace(answer, send=half)
    ticks = TICK_S if model == "sandbox-stream" and streams else 0.0
    return replace(answer, wait_s=SLOW_S if model == "sandbox-slow" else 0.0, tick_s=ticks)


def _embed(model: str, request: dict[str, Any]) -> Answer:
    return _json(200, embeddings(model, request)) if model == EMBEDDING_MODEL else _no_model(model)


_ASKED = {"/v1/chat/completions": _chat, "/v1/embeddings": _embed}


def _no_model(model: str) -> Answer:
    return _error(404, f"The model does not exist (simulated): {model[:100]}", "model_not_found")


def _json(status: int, body: object) -> Answer:
    return Answer(status, json.dumps(body).encode())


def _error(status: int, message: str, code: str | None, *headers: tuple[str, str]) -> Answer:
    kind = {401: "invalid_request_error", 429: "requests", 500: "server_error"}.get(status, "invalid_request_error")
    body = {"error": {"message": message, "type": kind, "param": None, "code": code}}
    return Answer(status, json.dumps(body).encode(), headers)


def encode(answer: Answer) -> bytes:
    """The whole HTTP/1.1 response."""
    headers = {
        "Content-Type": "application/json",
        "Content-Length": str(len(answer.body)),
        "x-omnipost-simulated": "true",
        **dict(answer.headers),
    }
    status = f"HTTP/1.1 {answer.status} {_PHRASES.get(answer.status, 'Error')}"
    return (
        "\r\n".join([status, *(f"{name}: {value}" for name, value in headers.items()), "", ""]).encode() + answer.body
    )


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One connection, kept alive until the client closes it or sends what cannot be read."""
    try:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            method, path, _ = head[0].split(" ", 2)
            headers = _headers(head[1:])
            body = await reader.readexactly(min(int(headers.get("content-length", "0")), BODY_LIMIT))
            answer = respond(method, path.partition("?")[0], headers.get("authorization", ""), body)
            await asyncio.sleep(answer.wait_s)
            await _write(writer, answer)
            if answer.send is not None:
                return
    except (OSError, ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        return
    finally:
        writer.close()


async def _write(writer: asyncio.StreamWriter, answer: Answer) -> None:
    raw = encode(answer)
    cut = len(raw) if answer.send is None else len(raw) - len(answer.body) + answer.send
    for event in _END.split(raw[:cut]) if answer.tick_s else (raw[:cut],):
        writer.write(event)
        await writer.drain()
        await asyncio.sleep(answer.tick_s)


def _headers(lines: Iterable[str]) -> dict[str, str]:
    pairs = (line.partition(":") for line in lines if line)
    return {name.strip().lower(): value.strip() for name, _, value in pairs}


async def main(port: int) -> None:
    """Serve on 127.0.0.1 until killed; there is nothing to lose."""
    server = await asyncio.start_server(serve, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
