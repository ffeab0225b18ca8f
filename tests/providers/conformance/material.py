"""What a folder of recordings holds: exchanges, and answers that were kept without their requests.

A file's name decides nothing. The provider is told by the host of the request, for an answer alone by a folder that
is named after it; the capability by path and body.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from shared.testing.recordings import Exchange, recorded
from shared.testing.upstream import Answer

HOSTS = {
    "api.openai.com": "openai",
    "api.anthropic.com": "anthropic",
    "generativelanguage.googleapis.com": "google",
    "api.mistral.ai": "mistral",
    "api.groq.com": "groq",
    "api.z.ai": "zhipu",
    "open.bigmodel.cn": "zhipu",
    "openrouter.ai": "openrouter",
    "api.replicate.com": "replicate",
    "stream.replicate.com": "replicate",
}
FOLDERS = {"gemini": "google", "zai": "zhipu", "z": "zhipu"} | {name: name for name in HOSTS.values()}
OTHERS = ("deepgram", "elevenlabs", "pika", "runway", "stability", "kling", "fal")
CUSTOM = "custom"
"""Any other host that speaks OpenAI's dialect."""
IN_SCOPE = frozenset({"chat", "completion", "embedding"})
_ENDINGS = {"/chat/completions": "chat", "/completions": "completion", "/embeddings": "embedding"}
_TEXT_INPUT = {
    "prompt", "system_prompt", "max_tokens", "max_new_tokens", "min_tokens", "temperature", "top_p", "top_k",
    "stop_sequences", "seed", "presence_penalty", "frequency_penalty", "prompt_template", "stop", "debug",
    "max_length", "max_completion_tokens", "repetition_penalty", "length_penalty", "messages", "reasoning_effort",
    "verbosity", "log_performance_metrics",
}  # fmt: skip


@dataclass(frozen=True)
class Item:
    """One thing to replay. ``kind``: in scope when it is one of ``IN_SCOPE``, else what it is.

    ``exchange`` None: an answer without its request. ``headers``: the telling ones of the request, lower case.
    """

    name: str
    provider: str
    kind: str
    answer: Answer
    exchange: Exchange | None
    headers: dict[str, str]

    @property
    def body(self) -> Any:
        """The recorded request's JSON, an empty object when it has none."""
        content = self.exchange.request_body if self.exchange is not None else b""
        return json.loads(content) if content.strip().startswith(b"{") else {}

    @property
    def in_scope(self) -> bool:
        return self.kind in IN_SCOPE

    @property
    def streams(self) -> bool:
        """Whether the answer is a stream of events."""
        return self.answer.headers.get("content-type", "").startswith("text/event-stream")


def items_in(folder: Path) -> list[Item]:
    """Everything in ``folder`` and below it, in a fixed order."""
    found: list[Item] = []
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        found += _in_file(file, folder)
    return found


def _in_file(file: Path, folder: Path) -> Iterator[Item]:
    name = str(file.relative_to(folder))
    if file.suffix not in {".json", ".txt", ".sse"}:
        return
    content = _json(file)
    if isinstance(content, dict) and isinstance(content.get("exchanges"), list):
        yield from _exchanges(name, file, content["exchanges"])
    elif isinstance(content, list):
        yield from _quoted(name, content)
    else:
        yield _alone(name, file, content)


def _exchanges(name: str, file: Path, raw: list[Any]) -> Iterator[Item]:
    for index, (exchange, item) in enumerate(zip(recorded(file), raw, strict=True)):
        headers = {key.lower(): str(value) for key, value in item["request"].get("headers", {}).items()}
        url = urlsplit(exchange.url)
        kind = _kind(exchange, url.path)
        speaks = kind in IN_SCOPE and not any(other in (url.hostname or "") for other in OTHERS)
        provider = HOSTS.get(url.hostname or "", CUSTOM if speaks else "another provider")
        if provider == "another provider":
            kind = f"{provider}: {url.hostname}"
        yield Item(f"{name}#{index}", provider, kind, exchange.answer, exchange, headers)


def _kind(exchange: Exchange, path: str) -> str:
    if "//stream.replicate.com/" in exchange.url:
        return "chat"
    if path.endswith("/trainings") or exchange.method not in {"POST", "GET"}:
        return "trainings and files"
    if "/predictions" in path:
        return _kind_of_prediction(exchange, path)
    if exchange.method == "POST" and ":" in path.rsplit("/", 1)[-1]:
        return _kind_at_google(exchange, path.rsplit(":", 1)[-1])
    if exchange.method == "POST" and path.endswith("/v1/messages"):
        return "chat"
    ending = next((kind for end, kind in _ENDINGS.items() if path.endswith(end)), None)
    return ending if ending and exchange.method == "POST" else "/".join(path.split("/")[-2:])


def _kind_at_google(exchange: Exchange, verb: str) -> str:
    if verb == "batchEmbedContents":
        return "embedding"
    if verb not in {"generateContent", "streamGenerateContent"}:
        return verb
    body = json.loads(exchange.request_body or b"{}")
    wanted = set((body.get("generationConfig") or {}).get("responseModalities") or ["TEXT"])
    if wanted != {"TEXT"}:
        return f"answers of {' and '.join(sorted(wanted))}"
    sent = [part.get("inlineData") or part.get("inline_data") for turn in body["contents"] for part in turn["parts"]]
    types = {str(data.get("mimeType") or data.get("mime_type")).split("/")[0] for data in sent if data}
    return f"{'/'.join(sorted(types - {'image'}))} in input" if types - {"image"} else "chat"


def _kind_of_prediction(exchange: Exchange, path: str) -> str:
    """Text goes in and no picture's settings, and no file comes out; polls and cancellations are told by the answer."""
    answer = _object(exchange.answer.body)
    sent = _object(exchange.request_body)
    given = sent.get("input") if exchange.method == "POST" and "input" in sent else answer.get("input")
    files = json.dumps(answer.get("output") or "").count("replicate.delivery")
    if not isinstance(given, dict) or set(given) - _TEXT_INPUT or files:
        return "images and videos by prediction"
    return "chat" if given or "input" in sent else path.rsplit("/", 1)[-1]


def _quoted(name: str, content: list[Any]) -> Iterator[Item]:
    """A list of errors that were quoted somewhere: provider, status and body."""
    for index, item in enumerate(content):
        if isinstance(item, dict) and {"provider", "status", "body"} <= set(item):
            provider = FOLDERS.get(str(item["provider"]), "another provider")
            kind = "chat" if provider in HOSTS.values() else f"another provider: {item['provider']}"
            headers = {"content-type": "application/json"} | item.get("headers", {})
            answer = Answer(int(item["status"]), headers, json.dumps(item["body"]).encode())
            yield Item(f"{name}#{index}", provider, kind, answer, None, {})


def _alone(name: str, file: Path, content: Any) -> Item:
    """A file that is the body of an answer: JSON, server-sent events, or one event's data a line."""
    provider = next((FOLDERS[part] for part in file.parts[::-1] if part in FOLDERS), None)
    text = file.read_text(encoding="utf-8", errors="replace")
    if content is None:
        chunks = [line for line in text.splitlines() if line.strip()]
        events = "".join(f"data: {line}\n\n" for line in chunks) if chunks and chunks[0].startswith("{") else text
        answer = Answer(headers={"content-type": "text/event-stream"}, body=events.encode())
        first = next((_object(line.removeprefix("data: ").encode()) for line in events.splitlines() if "{" in line), {})
        kind = _kind_of_answer(first)
    else:
        status = _status_of(content)
        answer = Answer(status, {"content-type": "application/json"}, text.encode())
        kind = _kind_of_answer(content)
    other = next((part for part in file.parts if part in OTHERS), None)
    if provider is None:
        kind = f"another provider: {other}" if other else kind
    return Item(name, provider or CUSTOM, kind, answer, None, {})


def _kind_of_answer(body: Any) -> str:
    if not isinstance(body, dict):
        return "no answer of a chat"
    if isinstance(body.get("data"), list) and body["data"] and "embedding" in body["data"][0]:
        return "embedding"
    marks = {"choices", "candidates", "error", "promptFeedback"} & set(body) or body.get("type") in {
        "message", "message_start", "error",
    }  # fmt: skip
    return "chat" if marks else str(body.get("object") or body.get("type") or "no answer of a chat")


def _status_of(body: Any) -> int:
    """The status of an error body that was kept without one: what its code stands for."""
    error = body.get("error") if isinstance(body, dict) else None
    if not isinstance(error, dict):
        return 200
    code = error.get("code")
    if isinstance(code, int) and 400 <= code < 600:
        return code
    return 429 if code in {"insufficient_quota", "rate_limit_exceeded"} else 400


def _json(file: Path) -> Any:
    if file.suffix != ".json":
        return None
    try:
        return json.loads(file.read_text(encoding="utf-8", errors="replace"))
    except ValueError:
        return None


def _object(content: bytes) -> dict[str, Any]:
    try:
        value = json.loads(content or b"{}")
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
