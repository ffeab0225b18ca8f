"""Moving every data key to the active KEK while the vault serves.

Every replica works on the open rotation, also one that has just started: what is done is done in the rows themselves.
A page of data keys is read, rewrapped without any lock (a key service may take its time), and each row is replaced
only if it is still under its old KEK. So a replica can die anywhere, and two that meet on a row do no harm.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from uuid import UUID, uuid4

from services.vault import deks, rotation_rows
from services.vault.audit import Audit
from services.vault.domain.audit import Action, Entry, Fact
from services.vault.domain.envelope import Kek
from services.vault.keyring import Keyring
from services.vault.rotation_rows import RotationRow
from services.vault.store import Dek, Rows, Store
from shared import logs
from shared.clock import Clock
from shared.db import EVERY_WORKSPACE
from shared.errors import Code, OmniError
from shared.messages.base import Service
from shared.messages.custody import ActorV1, GetKekRotationV1, KekRotationV1, RotateKekV1
from shared.messages.vocabulary import PLATFORM_WORKSPACE
from shared.sealing import CannotOpen

PAGE = 50
AT_ONCE = 10
LOOK_EVERY_S = 1.0
LONGEST_PAUSE_S = 15.0
_ITSELF = ActorV1(kind="service", id=Service.VAULT)
_LOST = (
    "{count} data keys cannot be opened: bring back the key-encryption key they are under, or delete the workspaces."
)


@dataclass(frozen=True)
class _Turn:
    """What one turn came to: whether there is ``more`` to do at once, and what stands in the way."""

    more: bool = False
    trouble: str | None = None


class KekRotation:
    """Opens rotations, tells how far they are, and works on them."""

    def __init__(self, keyring: Keyring, store: Store, audit: Audit, clock: Clock, give_up: Callable[[], None]) -> None:
        """``give_up``: called once this vault's active KEK is refused; the process should end."""
        self._keyring, self._ring, self._store, self._audit = keyring, keyring.ring, store, audit
        self._clock, self._give_up = clock, give_up
        self._log = logs.get()
        self._wake = asyncio.Event()
        self._lost: set[UUID] = set()
        self._task: asyncio.Task[None] | None = None

    # -- requests --------------------------------------------------------------------------------------------

    async def start(self, request: RotateKekV1) -> KekRotationV1:
        """Open a rotation to the active KEK; one that is running goes on. With nothing to do it is done at once.

        Raises OmniError ``conflict`` when the active KEK is refused.
        """
        self._ring.look(now=True)
        to = self._ring.active.id
        async with self._store.transaction(EVERY_WORKSPACE) as rows:
            left = await self._open(rows, to, request.actor)
        if not left:
            await self._finish(to)
        self._wake.set()
        return await self.progress(GetKekRotationV1())

    async def progress(self, _: GetKekRotationV1) -> KekRotationV1:
        """The last rotation, as far as it has come."""
        async with self._store.transaction(EVERY_WORKSPACE) as rows:
            row = await rotation_rows.last(rows.session)
            to = row.to_kek_id if row else self._ring.active.id
            left = 0 if row and row.state == "done" else await deks.count(rows.session, await _others(rows, to))
        if row is None:
            return KekRotationV1(state="idle", kek_id=to, remaining=left)
        return KekRotationV1(
            state="done" if row.state == "done" else "running",
            kek_id=to,
            total=row.total,
            remaining=left,
            started_at=row.started_at,
            finished_at=row.finished_at,
            trouble=row.trouble,
        )

    async def _open(self, rows: Rows, to: str, actor: ActorV1) -> int:
        if to in await rotation_rows.retired(rows.session):
            raise OmniError(Code.CONFLICT, "The active key-encryption key was rotated away before; use a fresh one.")
        others = await _others(rows, to)
        left = await deks.count(rows.session, others)
        old = others | await rotation_rows.targets(rows.session) - {to}
        running = await rotation_rows.running(rows.session, lock=True)
        opened = False
        if running is None:
            opened = await rotation_rows.begin(rows.session, to, old, left, self._clock.now())
        elif opened := self._is_newer(to, running):
            await rotation_rows.aim(rows.session, running, to, old.union(running.old_kek_ids), left)
        if opened:
            facts: dict[str, Fact] = {"to_kek_id": to, "data_keys": left}
            await self._audit.write(rows, Entry(PLATFORM_WORKSPACE, Action.KEK_ROTATION_STARTED, actor, facts=facts))
        return left

    def _is_newer(self, kek_id: str, running: RotationRow) -> bool:
        # A replica whose KEKs are older than the rotation must not turn it back.
        known = running.to_kek_id in self._ring.ids
        return known and kek_id != running.to_kek_id and kek_id not in running.old_kek_ids

    # -- work ------------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Work on open rotations from now on."""
        self._task = asyncio.create_task(self._work())

    async def stop(self) -> None:
        """Stop working; another replica, or the next start, goes on."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _work(self) -> None:
        troubles = 0
        while True:
            began = self._clock.monotonic()
            try:
                turn = await self.turn()
            except OmniError as error:
                self._log.warning("the rotation waits", reason=error.detail)
                turn = _Turn(trouble=error.detail)
            except Exception as error:  # noqa: BLE001 - a rotation must outlive whatever goes wrong in one turn
                self._log.error("the rotation waits", exc=error)
                turn = _Turn(trouble="something went wrong on our side")
            troubles = troubles + 1 if turn.trouble else 0
            if turn.more:
                # As long a rest as the work took: half of this process, whatever its speed, is left to leases.
                await asyncio.sleep(self._clock.monotonic() - began)
            else:
                await self._pause(min(LONGEST_PAUSE_S, LOOK_EVERY_S * 2 ** max(0, troubles - 1)))

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._wake.wait(), seconds)
        self._wake.clear()

    async def turn(self) -> _Turn:
        """Rewrap one page of data keys, or finish when none is left. Raises OmniError ``unavailable``."""
        async with self._store.transaction(EVERY_WORKSPACE) as rows:
            gone = await rotation_rows.retired(rows.session)
            running = await rotation_rows.running(rows.session)
        self._ring.look(now=True)
        active = self._ring.active
        if active.id in gone:
            self._log.error("the active key-encryption key was rotated away: this vault ends")
            self._give_up()
        # Only who has the target as its own active KEK can know that nothing newer is wanted.
        if running is None or running.to_kek_id != active.id:
            return _Turn()
        page, left = await self._page(running)
        if not page:
            return await self._nothing_to_open(running, left)
        trouble = await self._move(page, active)
        if trouble != running.trouble:
            async with self._store.transaction(EVERY_WORKSPACE) as rows:
                await rotation_rows.note(rows.session, running, trouble)
        return _Turn(more=trouble is None, trouble=trouble)

    async def _page(self, running: RotationRow) -> tuple[list[Dek], int]:
        start, page = uuid4(), list[Dek]()
        async with self._store.transaction(EVERY_WORKSPACE) as rows:
            others = await _others(rows, running.to_kek_id)
            # Replicas begin at random places, so that they seldom do the same work.
            for kek_id, first in ((kek_id, first) for kek_id in sorted(others) for first in (start, UUID(int=0))):
                page = page or await deks.page(rows.session, kek_id, first, PAGE, self._lost)
            return page, 0 if page else await deks.count(rows.session, others)

    async def _move(self, page: list[Dek], kek: Kek) -> str | None:
        moved, trouble = list[tuple[Dek, bytes]](), None
        for number in range(0, len(page), AT_ONCE):
            some = page[number : number + AT_ONCE]
            results = await asyncio.gather(*(self._rewrapped(dek, kek) for dek in some), return_exceptions=True)
            moved += [(dek, found) for dek, found in zip(some, results, strict=True) if isinstance(found, bytes)]
            failed = [found for found in results if isinstance(found, BaseException)]
            if failed:
                trouble = failed[0].detail if isinstance(failed[0], OmniError) else "a data key cannot be rewrapped"
                break
        if moved:
            async with self._store.transaction(EVERY_WORKSPACE) as rows:
                await deks.rewrap(rows.session, kek.id, moved)
        return trouble

    async def _rewrapped(self, dek: Dek, kek: Kek) -> bytes | None:
        try:
            plain = await self._keyring.unwrap(dek)
        except CannotOpen:
            self._lost.add(dek.place.dek_id)
            return None
        return await self._keyring.wrap(kek, plain, replace(dek.place, kek_id=kek.id))

    async def _nothing_to_open(self, running: RotationRow, left: int) -> _Turn:
        if not left:
            await self._finish(running.to_kek_id)
            return _Turn()
        # What could not be opened is tried again: its KEK may be back by then.
        self._lost.clear()
        trouble = _LOST.format(count=left)
        async with self._store.transaction(EVERY_WORKSPACE) as rows:
            await rotation_rows.note(rows.session, running, trouble)
        self._log.error("the rotation waits", reason=trouble, count=left)
        return _Turn(trouble=trouble)

    async def _finish(self, to: str) -> None:
        async with self._store.transaction(EVERY_WORKSPACE) as rows:
            await rotation_rows.stop_dek_writers(rows.session)
            running = await rotation_rows.running(rows.session, lock=True)
            if running is None or running.to_kek_id != to or await deks.count(rows.session, await _others(rows, to)):
                return
            await rotation_rows.finish(rows.session, running, self._clock.now())
            facts: dict[str, Fact] = {"to_kek_id": to, "data_keys": running.total}
            await self._audit.write(rows, Entry(PLATFORM_WORKSPACE, Action.KEK_ROTATION_FINISHED, _ITSELF, facts=facts))
        self._log.info("the rotation is done: the older key-encryption keys are refused", count=running.total)


async def _others(rows: Rows, to: str) -> set[str]:
    """The KEKs a rotation to ``to`` moves data keys away from. What is under a refused one is dead and stays so."""
    return await deks.kek_ids(rows.session) - {to} - await rotation_rows.retired(rows.session)
