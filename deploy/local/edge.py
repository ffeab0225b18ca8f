"""The stack's own edge over HTTP, as its supervisor asks it. Blocking: call it in a thread."""

import json
from http.client import HTTPConnection, HTTPException
from typing import Any

TIMEOUT_S = 15.0


class EdgeRefused(Exception):  # noqa: N818 - reads as the sentence it is
    """The edge answered with an error; ``status`` is the HTTP status, 0 when there was no answer at all."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status


class Edge:
    """``http.client`` and no proxy settings: the edge is always on loopback."""

    def __init__(self, port: int, token: str) -> None:
        self._port, self._token = port, token

    def call(self, method: str, path: str, body: object = None) -> Any:  # noqa: ANN401 - JSON
        """The answer's JSON. Raises EdgeRefused for any status outside 2xx, or no answer within 15 s."""
        connection = HTTPConnection("127.0.0.1", self._port, timeout=TIMEOUT_S)
        headers = {"Content-Type": "application/json"}
        if not path.startswith("/readyz"):
            headers["Authorization"] = f"Bearer {self._token}"
        try:
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            found = _json(answer.read())
        except (OSError, HTTPException) as error:
            raise EdgeRefused(0, f"no answer ({type(error).__name__})") from None
        finally:
            connection.close()
        if not 200 <= answer.status < 300:
            detail = found.get("detail") if isinstance(found, dict) else None
            raise EdgeRefused(answer.status, f"{method} {path}: {answer.status} {detail or answer.reason}")
        return found

    def trouble(self) -> str | None:
        """None when a call can be served end to end; otherwise what is missing."""
        try:
            self.call("GET", "/readyz")
        except EdgeRefused as refused:
            return str(refused)
        return None


def _json(raw: bytes) -> Any:  # noqa: ANN401 - JSON
    try:
        return json.loads(raw)
    except ValueError:
        return None
