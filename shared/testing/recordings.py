"""Recorded exchanges with providers (format: ``../shared/providers/recorded/README``)."""

import base64
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from shared.testing.upstream import Answer

_FRAMING = {"content-length", "transfer-encoding", "content-encoding", "connection"}


@dataclass(frozen=True)
class Exchange:
    """A recorded request and the answer to give to it, body verbatim. ``exact`` False: the recording was shortened."""

    name: str
    method: str
    url: str
    request_body: bytes
    answer: Answer
    exact: bool

    @property
    def path(self) -> str:
        """Path of the recorded URL, without its query."""
        return urlsplit(self.url).path


def recorded(file: Path) -> list[Exchange]:
    """The exchanges in a file of recordings (format: ``../shared/providers/recorded/README``)."""
    content = json.loads(file.read_text(encoding="utf-8"))
    items = content.get("exchanges", []) if isinstance(content, dict) else []
    return [_exchange(f"{file.stem}#{index}", item) for index, item in enumerate(items)]


def _exchange(name: str, item: dict[str, Any]) -> Exchange:
    request, response = item["request"], item["response"]
    given = {key.lower(): str(value) for key, value in response["headers"].items()}
    headers = {key: value for key, value in given.items() if key not in _FRAMING}
    answer = Answer(status=int(str(response["status"]).split()[0]), headers=headers, body=_bytes(response))
    exact = "body_full_bytes" not in request and "body_full_bytes" not in response
    return Exchange(name, request["method"], request["url"], _bytes(request), answer, exact)


def _bytes(part: dict[str, Any]) -> bytes:
    if "body_text" in part:
        return str(part["body_text"]).encode()
    if "body_b64" in part:
        return base64.b64decode(part["body_b64"])
    return json.dumps(part["body"]).encode() if "body" in part else b""
