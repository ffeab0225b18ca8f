"""A provider that repeats the key it was called with, wherever a provider can put it."""

import base64
import json
from collections import Counter
from collections.abc import Callable
from urllib.parse import quote

from shared.testing.upstream import Answer, Received, Upstream, json_answer
from tests.e2e.world import CHAT, MODELS, chat_answer

_Day = Callable[[str], Answer]


def _error(status: int) -> _Day:
    def day(key: str) -> Answer:
        spelled = {"message": f"bad key {key}", "code": key, "type": key, "param": quote(key, safe=""), key: key}
        headers = {"x-request-id": key, "retry-after": key, "www-authenticate": f"Bearer {key}", "location": f"/{key}"}
        return json_answer({"error": spelled, "detail": [key, key.encode().hex()]}, status=status, headers=headers)

    return day


def _named_everywhere(key: str) -> Answer:
    """A success with the key in the fields that are kept: the ids and the model."""
    answer = json.loads(chat_answer(f"your key is {key}").body) | {"id": key, "model": key, "system_fingerprint": key}
    answer["choices"][0]["finish_reason"] = key
    return json_answer(answer, headers={"x-request-id": key, "openai-organization": key})


def _named_in_part(key: str) -> Answer:
    answer = json.loads(chat_answer(f"key {key[:20]}... or {key[-9:]}").body) | {"id": key[5:25], "model": key[3:14]}
    return json_answer(answer, headers={"x-request-id": key[4:20], "request-id": key[-8:]})


GOOD: tuple[_Day, ...] = (lambda _: chat_answer(), _named_everywhere, _named_in_part)
# The last one tells the router that the key is refused.
BAD: tuple[_Day, ...] = (
    _error(500), _error(429), _error(400), _error(403), _error(404), _error(302),
    lambda key: Answer(302, {"location": f"http://127.0.0.1:1/{key}?key={key}"}),
    lambda key: Answer(body=key.encode()),
    lambda key: Answer(body=base64.b64encode(key.encode())),
    lambda key: json_answer({"choices": key, "id": key}),
    lambda key: json_answer({key: key}),
    lambda _: chat_answer(hang=True),
    lambda key: Answer(500, body=key.encode() * 9, cut_after=len(key) * 2),
    lambda key: chat_answer(key, cut_after=290),
    lambda key: chat_answer(key, reset=True),
    lambda key: Answer(raw=f"{key}\r\n\r\n".encode()),
    lambda key: Answer(raw=f"HTTP/1.1 200 {key}\r\n{key}\r\ncontent-length: {key}\r\n\r\n".encode()),
    lambda key: Answer(headers={"content-encoding": "gzip"}, body=key.encode()),
    _error(401),
)  # fmt: skip


class Parrot(Upstream):
    """Every key has its own row of days: ``days`` numbers, taken one after another and from the start again.

    The first verification of a key succeeds, later ones are refused with the key in the refusal.
    """

    def __init__(self, days: Callable[[str], list[int]]) -> None:
        super().__init__()
        self._days, self._calls, self._checks = days, Counter[str](), Counter[str]()

    def _choose(self, request: Received) -> Answer:
        key = request.headers.get("authorization", "").removeprefix("Bearer ")
        if request.path == MODELS:
            self._checks[key] += 1
            status = (401, 500, 302, 403)[self._checks[key] % 4]
            return json_answer({"data": []}) if self._checks[key] == 1 else _error(status)(key)
        assert request.path == CHAT, request.path
        days = self._days(key)
        self._calls[key] += 1
        return (*GOOD, *BAD)[days[(self._calls[key] - 1) % len(days)]](key)
