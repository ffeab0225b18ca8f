"""The end of a workspace's keys: whatever copy of a ciphertext there is, nothing opens it any more.

In this order, each step committed before the next: the workspace takes no key any more; metering admits no call with
its keys; data keys and content root are destroyed, the keys revoked; the routers are told, and what still runs ends.
A process that dies in between leaves steps that a repeated request completes.
"""

from collections.abc import Collection
from uuid import UUID

from services.vault import content_roots, deks
from services.vault.audit import Audit
from services.vault.domain import keys
from services.vault.domain.audit import Action, Entry
from services.vault.revocation import Revocation
from services.vault.store import Store
from shared.clock import Clock
from shared.errors import unavailable
from shared.messages.base import Done
from shared.messages.custody import ShredWorkspaceV1

ROUNDS = 100
# Keys a transaction revokes: their audit entries must fit into its time.
PAGE = 200


class Shredding:
    """Destroys what a workspace's keys are opened with."""

    def __init__(self, store: Store, audit: Audit, revocation: Revocation, clock: Clock) -> None:
        self._store, self._audit, self._revocation, self._clock = store, audit, revocation, clock

    async def shred(self, request: ShredWorkspaceV1) -> Done:
        """Nothing of the workspace can be opened, and nothing runs with its keys, once this has answered.

        Raises OmniError ``unavailable``: repeat the request to complete it.
        """
        workspace_id = request.workspace_id
        keys.check_workspace(workspace_id)
        async with self._store.transaction(workspace_id) as rows:
            await deks.mark_shredded(rows.session, workspace_id, self._clock.now())
        for _ in range(ROUNDS):
            async with self._store.transaction(workspace_id) as rows:
                known = {key.id for key in await rows.keys(workspace_id, None)}
            # Keys that were revoked before are asked about as well: a repeated request waits for the same silence.
            block = await self._revocation.block(workspace_id, known)
            ended, left = await self._destroy(request, known)
            for key_id in ended:
                await self._revocation.announce(workspace_id, key_id, revoked=True)
            if not left:
                await self._revocation.quiet(block)
                return Done()
        raise unavailable("The workspace's keys are not all revoked yet; repeat the request to complete it.")

    async def _destroy(self, request: ShredWorkspaceV1, blocked: Collection[UUID]) -> tuple[list[UUID], int]:
        """The keys that were revoked, and how many are left; a key that is not blocked yet stops all of it."""
        workspace_id = request.workspace_id
        async with self._store.transaction(workspace_id) as rows:
            # Who was just storing a key holds its data key: it is waited for, and its key is seen below.
            await deks.lock(rows.session, workspace_id)
            living = await rows.living(workspace_id)
            if not {key.id for key in living}.issubset(blocked):
                return [], len(living)
            now, ended = self._clock.now(), living[:PAGE]
            await deks.destroy(rows.session, workspace_id, now)
            for key in ended:
                await rows.save(keys.revoked(key, now))
            await content_roots.destroy(rows.session, workspace_id)
            first = await deks.mark_destroyed(rows.session, workspace_id, now)
            for key in ended:
                await self._audit.write(rows, Entry(workspace_id, Action.KEY_REVOKED, request.actor, key.id))
            if first:
                facts = {"keys": len(living)}
                await self._audit.write(
                    rows, Entry(workspace_id, Action.WORKSPACE_SHREDDED, request.actor, facts=facts)
                )
        return [key.id for key in ended], len(living) - len(ended)
