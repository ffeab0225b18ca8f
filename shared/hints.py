"""Telling replicas what may spare them trouble: heard at once as an event, kept in a KV bucket for who starts later.

Nothing here blocks or raises. Without NATS every replica goes by what it knows itself; without JetStream only those
that start later know less. The deployment makes the bucket (``deploy/streams.py``); it may be lost, and whoever is
there fills it again.
"""

import asyncio
import json
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import datetime
from typing import Generic, TypeVar

import pydantic
from nats.aio.msg import Msg
from nats.errors import Error as NatsError

from shared import logs
from shared.bus import Bus
from shared.clock import Clock
from shared.errors import OmniError
from shared.messages.base import Hint

TIMEOUT_S = 2.0
AGAIN_S = 5.0

PAGE = 256
# All that was asked for, or nothing.
_END = ("204", "404")

H = TypeVar("H", bound=Hint)


class Hints(Generic[H]):
    """Hints of one kind. Register before ``Bus.start``, then ``start``.

    Args:
        bus: where they come from and go to.
        clock: for the age of what is kept.
        kind: the contract.
        heard: given each hint and its age in seconds, 0 when it has just been told; one's own included.
        known: everything worth telling, for a bucket that was lost.
    """

    def __init__(
        self, bus: Bus, clock: Clock, kind: type[H], heard: Callable[[H, float], None], known: Callable[[], Iterable[H]]
    ) -> None:
        self._bus, self._clock, self._kind, self._heard, self._known = bus, clock, kind, heard, known
        self._log = logs.get()
        self._untold: dict[str, H] = {}
        self._telling: asyncio.Task[None] | None = None
        self._catching_up: asyncio.Task[None] | None = None
        bus.listen(kind, self._told)
        bus.on_reconnected(self._catch_up)

    def start(self) -> None:
        """Read the bucket in the background, as soon as there is one; again whenever the connection was lost."""
        self._catch_up()

    async def stop(self) -> None:
        """Give up what is under way."""
        tasks = [task for task in (self._telling, self._catching_up) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def tell(self, hint: H) -> None:
        """Tell everybody, in the background; of several about the same only the last."""
        self._untold[hint.address()] = hint
        if self._telling is None or self._telling.done():
            self._telling = asyncio.create_task(self._tell())

    async def _tell(self) -> None:
        while self._untold:
            hint = self._untold.pop(next(iter(self._untold)))
            # Without a connection it would be kept and told late; what still holds is told again after that.
            if self._bus.connected_for_s:
                with suppress(OmniError):
                    await self._bus.announce(hint)

    async def _told(self, hint: H) -> None:
        self._heard(hint, 0.0)

    def _catch_up(self) -> None:
        if self._catching_up is not None:
            self._catching_up.cancel()
        self._catching_up = asyncio.create_task(self._caught_up())

    async def _caught_up(self) -> None:
        while True:
            try:
                kept = await self._read()
            except (NatsError, OSError, OmniError) as error:
                self._log.warning("hints cannot be read; each replica goes by its own", exc=error)
                await asyncio.sleep(AGAIN_S)
                continue
            for message in kept:
                self._take(message)
            for hint in self._known():
                self.tell(hint)
            return

    async def _read(self) -> list[Msg]:
        """The last of each. Raises NatsError."""
        kept = await self._page(1)
        # A bucket keeps one message per subject: what is there is the last of each.
        while kept and (page := await self._page(1 + int(_header(kept[-1], "Nats-Sequence")))):
            kept += page
        return kept

    async def _page(self, first: int) -> list[Msg]:
        """Up to ``PAGE`` of them from the sequence ``first`` on; empty: there are no more. Raises NatsError."""
        client, page = self._bus.client, list[Msg]()
        inbox = client.new_inbox()
        answers = await client.subscribe(inbox)
        try:
            question = {"seq": first, "next_by_subj": f"$KV.{self._kind.bucket}.>", "batch": PAGE}
            await client.publish(f"$JS.API.DIRECT.GET.KV_{self._kind.bucket}", json.dumps(question).encode(), inbox)
            while not (status := _header(message := await answers.next_msg(TIMEOUT_S), "Status")):
                page.append(message)
                # The server takes an empty message for the last one of an answer that crosses accounts.
                if not message.data:
                    return page
        finally:
            with suppress(NatsError):
                await answers.unsubscribe()
        if status in _END:
            return page
        raise NatsError(f"the bucket cannot be read: status {status}")

    def _take(self, message: Msg) -> None:
        try:
            hint = self._kind.model_validate_json(message.data)
            told_at = datetime.fromisoformat((message.headers or {})["Nats-Time-Stamp"])
        except (pydantic.ValidationError, ValueError, KeyError):
            self._log.warning("hint ignored: it does not match its contract", subject=self._kind.subject)
            return
        self._heard(hint, (self._clock.now() - told_at).total_seconds())


def _header(message: Msg, name: str) -> str:
    return (message.headers or {}).get(name, "")
