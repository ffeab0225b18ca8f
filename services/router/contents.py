"""Storing what calls were about, for workspaces that have opted in: beside the calls, never on their way.

An attempt's content waits in a bounded queue until the vault has given a key for it; sealed it goes to metering, which
decides. What cannot be stored is lost and counted: no call waits for it or fails by it. Of a workspace that stores
nothing only the policy is remembered.
"""

import asyncio
from dataclasses import dataclass, field

from services.router.accounts import Accounts
from services.router.domain.contents import content_of, fitted, weight
from services.router.job import Answer, Ticket
from services.router.providers.base import Failure
from services.router.settlements import Settlements
from shared import contents, logs
from shared.bus import Bus
from shared.clock import Clock
from shared.contents import ContentPlace, KeyReader
from shared.messages.contents import (
    LARGEST_CONTENT,
    ContentKeyV1,
    ContentPolicyChangedV1,
    ContentPolicyV1,
    GetContentPolicyV1,
    KeptV1,
    NewContentKeyV1,
    StoreContentV1,
)
from shared.messages.router import CallFinishedV1, InvokeV1
from shared.remembered import Remembered
from shared.sealing import VaultPublic, encode

WORKERS = 4
MOST_WAITING = 1000
MOST_CHARS = 32 * 1024 * 1024
"""Characters that may wait in all; at most four times as many bytes."""
REMEMBER_S = 60.0
ASK_S = 5.0
STORE_S = 10.0
TELL_LOST_EVERY_S = 60.0


@dataclass(frozen=True)
class _Waiting:
    request: InvokeV1 = field(repr=False)
    attempt_id: str
    continues: str | None = field(repr=False)
    answer: Answer | None = field(repr=False)
    heard: str = field(repr=False)
    chars: int


class Contents:
    """Takes contents and stores them. ``lost``: how many could not be."""

    def __init__(self, bus: Bus, clock: Clock, vault: VaultPublic) -> None:
        self._bus, self._clock, self._reader = bus, clock, KeyReader(vault)
        self._policies: Remembered[int, ContentPolicyV1] = Remembered(self._ask, clock, keep_s=REMEMBER_S)
        self._queue: asyncio.Queue[_Waiting] = asyncio.Queue(MOST_WAITING)
        self._chars = self.lost = self._told = 0
        self._tell_at = 0.0
        self._working: list[asyncio.Task[None]] = []
        self._log = logs.get()
        bus.listen(ContentPolicyChangedV1, self._changed)
        bus.on_reconnected(self._policies.forget_all)

    def start(self) -> None:
        """Begin to store."""
        self._working = [asyncio.create_task(self._work()) for _ in range(WORKERS)]

    async def stop(self, grace_s: float) -> None:
        """Store what waits, for at most ``grace_s`` seconds."""
        left = 0
        try:
            async with asyncio.timeout(grace_s):
                await self._queue.join()
        except TimeoutError:
            left = self._queue.qsize()
        self._tell_at = 0.0
        self._lose(left)
        for task in self._working:
            task.cancel()
        await asyncio.gather(*self._working, return_exceptions=True)

    def take(self, ticket: Ticket, result: Answer | Failure) -> None:
        """The content of an attempt that was sent, unless its workspace is known to store none. Returns at once."""
        job = ticket.job
        request = job.request
        policy = self._policies.peek(request.workspace_id)
        if policy is not None and not policy.store_content:
            return
        heard, answer = "", None if isinstance(result, Failure) else result
        if answer is None and job.telling is not None:
            heard = job.telling.text[len(job.resume or "") :]
        chars = weight(request) + len(heard or getattr(answer, "text", ""))
        if self._queue.full() or self._chars + chars > MOST_CHARS:
            self._lose(1)
            return
        self._chars += chars
        self._queue.put_nowait(_Waiting(request, ticket.attempt_id, job.resume, answer, heard, chars))

    async def _changed(self, event: ContentPolicyChangedV1) -> None:
        self._policies.forget(event.workspace_id)

    async def _ask(self, workspace_id: int) -> ContentPolicyV1:
        request = GetContentPolicyV1(workspace_id=workspace_id)
        return await self._bus.request(request, ContentPolicyV1, timeout=ASK_S)

    async def _work(self) -> None:
        while True:
            waiting = await self._queue.get()
            try:
                async with asyncio.timeout(STORE_S):
                    await self._store(waiting)
            except Exception as error:  # noqa: BLE001 - whatever one content met, the next one is stored
                self._lose(1, error)
            finally:
                self._chars -= waiting.chars
                self._queue.task_done()

    async def _store(self, waiting: _Waiting) -> None:
        request, attempt_id = waiting.request, waiting.attempt_id
        if not (await self._policies.get(request.workspace_id)).store_content:
            return
        content = content_of(request, continues=waiting.continues, answer=waiting.answer, heard=waiting.heard)
        body = fitted(content, LARGEST_CONTENT)
        place, salt, key = await self._key(request.workspace_id, request.call_id, attempt_id)
        store = StoreContentV1(
            workspace_id=place.workspace_id,
            call_id=place.call_id,
            attempt_id=place.attempt_id,
            root_id=place.root_id,
            salt=salt,
            sealed=encode(contents.close(key, body, place)),
        )
        await self._bus.request(store, KeptV1, timeout=ASK_S, repeatable=True)

    async def _key(self, workspace_id: int, call_id: str, attempt_id: str) -> tuple[ContentPlace, str, bytes]:
        """A fresh key of the vault's: the place it is for, its salt, and itself. Raises OmniError, CannotOpen."""
        wish = NewContentKeyV1(
            workspace_id=workspace_id, call_id=call_id, attempt_id=attempt_id, public_key=self._reader.public_key
        )
        given = await self._bus.request(wish, ContentKeyV1, timeout=ASK_S, repeatable=True)
        place = ContentPlace(workspace_id, call_id, attempt_id, given.root_id)
        return place, given.salt, self._reader.read(given, place)

    def _lose(self, count: int, error: Exception | None = None) -> None:
        self.lost += count
        now = self._clock.monotonic()
        if self.lost > self._told and now >= self._tell_at:
            self._log.warning("content of calls could not be stored", count=self.lost - self._told, exc=error)
            self._told, self._tell_at = self.lost, now + TELL_LOST_EVERY_S


class AccountsWithContents(Accounts):
    """Accounts for attempts, and hands over what those were about that were sent."""

    def __init__(self, settlements: Settlements, clock: Clock, kept: Contents) -> None:
        super().__init__(settlements, clock)
        self._kept = kept

    async def finished(self, ticket: Ticket, result: Answer | Failure, *, sent: bool) -> CallFinishedV1:
        """As of ``Accounts``."""
        if sent:
            self._kept.take(ticket, result)
        return await super().finished(ticket, result, sent=sent)

    def finished_soon(self, ticket: Ticket, result: Answer | Failure, *, sent: bool) -> None:
        """As of ``Accounts``."""
        if sent:
            self._kept.take(ticket, result)
        super().finished_soon(ticket, result, sent=sent)
