"""Group commit: reservations that arrive while a transaction runs share the next one, answered after its commit.

One hot budget row then costs one lock and one update per group instead of per call. The row locks decide between
replicas, so any number of them may run. Who must wait for calls under way does so in the ``WaitingRoom``, and is asked
about again whenever room is told of (``notices.py``), and now and then in any case.
"""

import asyncio
from collections.abc import Iterable, Sequence
from contextlib import suppress

from services.metering.connection import BAD_DATA, Connection
from services.metering.domain.ledger import Ask, Decision
from services.metering.granting import Verdict, admit
from services.metering.waiting import Waiting, WaitingRoom
from shared import logs
from shared.clock import Clock
from shared.errors import Code, OmniError, invalid, unavailable
from shared.messages.metering import Refusal

MAX_GROUP = 256
PATIENCE_S = 2.5
"""Below the asker's own time limit: whoever has waited longer has gone, and a grant would only strand a hold."""
LOOK_AGAIN_S = 0.1


class Ledger:
    """Admits reservations. ``reserve`` may be called by any number of tasks."""

    def __init__(self, connection: Connection, clock: Clock) -> None:
        self._connection, self._clock = connection, clock
        self._queue: list[Waiting] = []
        self._room = WaitingRoom()
        self._wake = asyncio.Event()
        self._looked_at = clock.monotonic()
        self._closing = False
        self._task: asyncio.Task[None] | None = None
        self._log = logs.get()

    async def start(self) -> None:
        """Begin to serve."""
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Refuse whoever still waits, and end."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self.close_room()
        self._answer(self._queue, [unavailable("Metering is stopping; try again.")] * len(self._queue))
        self._queue = []
        await self._connection.close()

    async def reserve(self, ask: Ask) -> Decision:
        """Decide about ``ask``; committed when this returns, ``ask.wait_s`` seconds later at most if it must wait.

        Raises OmniError: ``unavailable`` (the database is away; whether it is held is unknown), ``conflict`` (the
        attempt id is another's, or its attempt is over), ``invalid_request``.
        """
        verdict: asyncio.Future[Decision] = asyncio.get_running_loop().create_future()
        self._queue.append(Waiting(ask, self._clock.monotonic(), verdict))
        self._wake.set()
        return await verdict

    @property
    def waiting(self) -> int:
        """How many wait for room."""
        return len(self._room)

    def room_in(self, budgets: Iterable[int]) -> None:
        """Calls have settled: ask again about those whom these budgets stopped."""
        self._room.look(budgets)
        self._wake.set()

    def close_room(self) -> None:
        """Nobody waits here any more: they may ask another replica, and keep their place."""
        self._closing = True
        left = self._room.empty()
        self._answer(left, [_not_yet(one) for one in left])

    async def _run(self) -> None:
        while True:
            await self._work()
            group = self._group()
            try:
                await self._serve(group)
            except asyncio.CancelledError:
                self._answer(group, [unavailable("Metering is stopping; try again.")] * len(group))
                raise

    async def _work(self) -> None:
        """Return when there is something to do."""
        if self._queue or self._room.is_due:
            return
        self._wake.clear()
        if not self._room:
            await self._wake.wait()
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(LOOK_AGAIN_S):
                await self._wake.wait()

    def _group(self) -> list[Waiting]:
        now = self._clock.monotonic()
        if self._room and now - self._looked_at >= LOOK_AGAIN_S:
            self._looked_at = now
            over = self._room.out_of_time(now)
            self._answer(over, [_not_yet(one) for one in over])
            self._room.look()
        called = self._room.call(MAX_GROUP // 2)
        space = MAX_GROUP - len(called)
        arrived, self._queue = self._queue[:space], self._queue[space:]
        earliest = now - PATIENCE_S
        late = [waiting for waiting in arrived if waiting.since < earliest]
        self._answer(late, [unavailable("Metering is too busy; try again shortly.")] * len(late))
        return [one for one in called + arrived if not one.verdict.done()]

    async def _serve(self, group: Sequence[Waiting]) -> None:
        if not group:
            return
        verdicts = await self._verdicts([waiting.ask for waiting in group])
        now = self._clock.monotonic()
        for waiting, verdict in zip(group, verdicts, strict=True):
            if isinstance(verdict, Decision) and verdict.fits_later and waiting.until > now and not self._closing:
                waiting.last = verdict
                if self._room.enter(waiting):
                    continue
            elif isinstance(verdict, Decision) and verdict.granted and waiting.last is not None:
                # Where one has found room, the next may.
                self._room.look_at(waiting.ask.owners[0])
            self._answer([waiting], [verdict])

    async def _verdicts(self, asks: Sequence[Ask]) -> Sequence[Verdict]:
        now = self._clock.now()
        try:
            return await self._connection.run(lambda raw: admit(raw, asks, now))
        except OmniError as error:
            return [error] * len(asks)
        except BAD_DATA as error:
            if len(asks) > 1:
                # One of them is at fault: each alone, so that its neighbours are not refused with it.
                return [(await self._verdicts([ask]))[0] for ask in asks]
            self._log.warning("a reservation cannot be stored", exc=error)
            return [invalid("This reservation cannot be stored as it is written.")]
        except Exception as error:  # noqa: BLE001 - whatever it is, the askers must hear and the loop go on
            self._log.error("reservations failed", count=len(asks), exc=error)
            return [OmniError(Code.INTERNAL, "The ledger failed; nothing may be spent.")] * len(asks)

    def _answer(self, group: Sequence[Waiting], verdicts: Sequence[Verdict]) -> None:
        for waiting, verdict in zip(group, verdicts, strict=True):
            if waiting.verdict.done():
                continue
            if isinstance(verdict, OmniError):
                waiting.verdict.set_exception(verdict)
            else:
                waiting.verdict.set_result(verdict)


def _not_yet(waiting: Waiting) -> Verdict:
    return waiting.last or Decision(waiting.ask.attempt_id, Refusal.BUDGET_EXCEEDED, fits_later=True)
