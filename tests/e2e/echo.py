"""A provider that repeats what it was asked, wherever a provider can put it. The first part of its path says how."""

import re
from collections.abc import Callable, Iterator
from uuid import uuid4

from shared.testing.upstream import Answer, Received, Upstream, json_answer
from tests.e2e.canaries import MARKERS
from tests.e2e.test_streaming import LAST, chunk, streamed
from tests.e2e.world import World, chat_answer, ok

CANARY = re.compile(rb"sk-(?:(?:%s)[A-Za-z0-9]{2}){8}" % b"|".join(re.escape(mark.encode()) for mark in MARKERS))
_Mode = Callable[[str, bool], Answer]


def _plain(said: str, stream: bool) -> Answer:  # noqa: FBT001 - a mode is called with both
    return streamed("You said ", said[:20], said[20:], ".") if stream else chat_answer(f"You said {said}.")


def _tools(said: str, stream: bool) -> Answer:  # noqa: FBT001
    call = {"id": "call_1", "type": "function", "function": {"name": "look", "arguments": f'{{"q": "{said}"}}'}}
    if stream:
        parts = (chunk(delta={"tool_calls": [{"index": 0, **call}]}), LAST.replace(b'"stop"', b'"tool_calls"'))
        return Answer(headers={"content-type": "text/event-stream"}, parts=parts)
    message = {"role": "assistant", "content": None, "tool_calls": [call]}
    usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
    return json_answer({"choices": [{"index": 0, "finish_reason": "tool_calls", "message": message}], "usage": usage})


def _cut(said: str, stream: bool) -> Answer:  # noqa: FBT001
    return streamed(f"You said {said}, and", last=b"") if stream else chat_answer(said, cut_after=200)


def _hang(said: str, stream: bool) -> Answer:  # noqa: FBT001
    return streamed(f"You said {said}", last=b"", hang=True) if stream else chat_answer(hang=True)


def _error(status: int) -> _Mode:
    def mode(said: str, _: bool) -> Answer:  # noqa: FBT001
        return json_answer(
            {"error": {"message": f"bad: {said}", "code": said, "type": said, "param": said, said: 1}}, status
        )

    return mode


def _embed(_: str, __: bool) -> Answer:  # noqa: FBT001
    data = [{"object": "embedding", "index": place, "embedding": [0.5, 0.25]} for place in range(2)]
    return json_answer({"data": data, "model": "m", "usage": {"prompt_tokens": 4, "total_tokens": 4}})


MODES: dict[str, _Mode] = {
    "plain": _plain,
    "tools": _tools,
    "cut": _cut,
    "hang": _hang,
    "slow": lambda said, _: chat_answer(said, delay_s=0.7),
    "bad": _error(400),
    "limited": _error(429),
    "broken": _error(500),
    "policy": lambda said, _: json_answer({"error": {"message": said, "code": "content_policy_violation"}}, 400),
    "garbled": lambda said, _: Answer(body=said.encode()),
    "odd": lambda said, _: json_answer({"choices": said, "id": 5}),
    "raw": lambda said, _: Answer(raw=f"{said}\r\n\r\n".encode()),
    "moved": lambda said, _: Answer(302, {"location": f"/{said}"}),
    "embed": _embed,
}


class Echo(Upstream):
    """``heard``: the canaries that were in requests."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: set[str] = set()

    async def providers(self, world: World) -> dict[str, str]:
        """A provider for every mode, by mode."""
        return {mode: await self._provider(world, mode) for mode in MODES}

    async def _provider(self, world: World, mode: str) -> str:
        provider_id = f"t-{uuid4().hex[:12]}"
        model = {"id": "m", "input_usd_per_mtok": 1, "output_usd_per_mtok": 2}
        if mode == "embed":
            model |= {"capabilities": ["embedding"]}
        body = {"id": provider_id, "kind": "openai-compatible", "base_url": f"{self.base_url}/{mode}/v1"}
        ok(await world.admin.post("/ai-providers", **body, models=[model]), 201)
        return provider_id

    def _choose(self, request: Received) -> Answer:
        if request.method == "GET":
            return json_answer({"object": "list", "data": []})
        said = next(self._said(request), "nothing")
        return MODES[request.path.split("/")[1]](said, request.json.get("stream") is True)

    def _said(self, request: Received) -> Iterator[str]:
        for found in CANARY.findall(request.body):
            self.heard.add(found.decode())
            yield found.decode()
