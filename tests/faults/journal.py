"""A provider with a journal, and clients that call it without end: what the books are compared with afterwards."""

import asyncio
import json
from collections import Counter
from dataclasses import dataclass, field
from time import monotonic
from typing import Any
from uuid import uuid4

import httpx2

from shared.testing.stack import Stack
from shared.testing.upstream import Answer, Received, Upstream, stream_answer
from tests.e2e.world import CHAT, World, accept_keys, chat_answer

DELAY_S = 0.02
KEYS = 4
PASSING = {502, 503, 504}
_USAGE = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}


@dataclass(frozen=True)
class Entry:
    """A request as the provider saw it: the id it answered with (``x-request-id``), for which key, and when."""

    id: str
    key: str
    at: float


class Provider(Upstream):
    """Answers every call with an id of its own, whole or streamed as asked, and writes each down before."""

    def __init__(self) -> None:
        super().__init__()
        self.journal: list[Entry] = []

    def _choose(self, request: Received) -> Answer:
        if request.path != CHAT:
            return super()._choose(request)
        entry = Entry(str(uuid4()), request.headers["authorization"], monotonic())
        self.journal.append(entry)
        headers = {"x-request-id": entry.id}
        if not request.json.get("stream"):
            return chat_answer(delay_s=DELAY_S, headers=headers)
        pieces = [_piece({"content": word}) for word in ("Hello ", "back", ".")]
        ends = [_piece({}, finish_reason="stop"), _event({"choices": [], "usage": _USAGE}), b"data: [DONE]\n\n"]
        return stream_answer(*pieces, *ends, delay_s=DELAY_S, headers=headers)


def _piece(delta: dict[str, str], **more: str) -> bytes:
    return _event({"choices": [{"index": 0, "delta": delta, "finish_reason": None, **more}], "usage": None})


def _event(payload: dict[str, Any]) -> bytes:
    told = {"id": "c", "object": "chat.completion.chunk", "model": "m", **payload}
    return b"data: " + json.dumps(told).encode() + b"\n\n"


@dataclass
class Load:
    """Clients that call until ``stop``, half of them for streams.

    ``answered``: call ids, with when (monotonic). ``owners``: providers by the key that calls them.
    """

    stack: Stack
    world: World
    provider: Provider
    workspace: int
    aliases: list[str]
    owners: dict[str, str]
    answered: dict[str, float] = field(default_factory=dict)
    statuses: Counter[int] = field(default_factory=Counter)
    strange: list[str] = field(default_factory=list)
    _clients: list["asyncio.Task[None]"] = field(default_factory=list)
    _stopping: bool = False
    _heard: asyncio.Event = field(default_factory=asyncio.Event)

    def start(self, clients: int) -> None:
        """Begin to call."""
        self._stopping = False
        self._clients = [asyncio.create_task(self._call_on(number)) for number in range(clients)]

    async def stop(self) -> None:
        """Let the calls under way end."""
        self._stopping = True
        await asyncio.gather(*self._clients)

    async def more(self, count: int, within_s: float = 60) -> float:
        """Wait for ``count`` more answers; seconds it took."""
        began, wanted = monotonic(), len(self.answered) + count
        async with asyncio.timeout(within_s):
            while len(self.answered) < wanted:
                self._heard.clear()
                await self._heard.wait()
        return monotonic() - began

    async def _call_on(self, number: int) -> None:
        while not self._stopping:
            body = {
                "workspace_id": self.workspace, "alias_name": self.aliases[number % len(self.aliases)], "prompt": "x",
                "options": {"max_tokens": 5}, "stream": number % 2 == 0,
            }  # fmt: skip
            try:
                status, call_id = await self._call(body)
            except httpx2.HTTPError:
                status, call_id = 0, None
            self.statuses[status] += 1
            if call_id is None:
                await asyncio.sleep(0.05)
                continue
            self.answered[call_id] = monotonic()
            self._heard.set()

    async def _call(self, body: dict[str, Any]) -> tuple[int, str | None]:
        """The status, and the call's id once it was answered whole."""
        answer = await self.world.admin.post("/ai-invoke", **body)
        if answer.status_code not in PASSING | {200}:
            self.strange.append(answer.text[:300])
        if answer.status_code != 200:
            return answer.status_code, None
        if not body["stream"]:
            return 200, answer.json()["call_id"]
        *_, last = answer.text.strip().split("\n\n")
        if not last.startswith("event: done\n"):
            return 299, None
        return 200, json.loads(last.partition("data: ")[2])["call_id"]


async def loaded(stack: Stack, world: World, provider: Provider) -> Load:
    """A workspace with several keys and an alias for each; nobody calls yet."""
    accept_keys(provider)
    load = Load(stack, world, provider, await world.workspace(), [], {})
    for number in range(KEYS):
        name, key = await world.provider(provider), f"sk-test-{number:032d}"
        await world.key(load.workspace, name, monthly_budget_usd=50, api_key=key)
        # What a killed router leaves behind is charged when the longest time its attempt may take is over.
        load.aliases.append(await world.alias(load.workspace, name, time_limits={"total_s": 3}))
        load.owners[f"Bearer {key}"] = name
    return load


@dataclass(frozen=True)
class Verdict:
    """How journal and books agree. All but ``rows``, ``unknown`` and ``lost`` must be 0."""

    rows: int
    unknown: int
    lost: int
    missing: int
    doubled: int
    foreign: int
    unanswered: int
    drift: int


async def audit(load: Load) -> Verdict:
    """Compare, once nothing is held any more.

    ``lost``: requests whose answer nobody could write down; each must have a row without the provider's id, by key.
    ``foreign``: rows with an id the provider never gave. ``unanswered``: answered calls without a successful row.
    """
    rows = await load.stack.query(
        "SELECT attempt_id, call_id, outcome, provider_request_id, provider, charged_usd_micros"
        " FROM metering.ai_call_logs WHERE workspace_id = %s",
        load.workspace,
    )
    given = Counter(row[3] for row in rows if row[3] is not None)
    known = {entry.id for entry in load.provider.journal}
    lost = Counter(load.owners[entry.key] for entry in load.provider.journal if entry.id not in given)
    nameless = Counter(row[4] for row in rows if row[3] is None)
    good = {row[1] for row in rows if row[2] == "success"}
    [[spent]] = await load.stack.query(
        "SELECT sum(p.spent_usd_micros)::bigint FROM metering.budget_periods p JOIN metering.ai_provider_budgets b"
        " ON b.id = p.budget_id WHERE b.workspace_id = %s AND b.key_id IS NOT NULL AND p.span = 'month'",
        load.workspace,
    )
    return Verdict(
        rows=len(rows),
        unknown=sum(row[2] == "unknown" for row in rows),
        lost=lost.total(),
        missing=(lost - nameless).total(),
        doubled=len(rows) - len({row[0] for row in rows}) + given.total() - len(given),
        foreign=len(given.keys() - known),
        unanswered=len(load.answered.keys() - good),
        drift=abs(spent - sum(row[5] for row in rows)),
    )
