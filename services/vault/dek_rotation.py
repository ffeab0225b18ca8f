"""Giving a workspace a new data key: its keys and its content root are encrypted anew, the old one is destroyed."""

from collections.abc import Mapping
from dataclasses import replace
from uuid import UUID

from services.vault import content_roots, deks, rotation_rows
from services.vault.audit import Audit
from services.vault.content_roots import Root
from services.vault.contents import sealed_root
from services.vault.domain import envelope, keys
from services.vault.domain.audit import Action, Entry
from services.vault.domain.keys import Key
from services.vault.keyring import Keyring, encrypted
from services.vault.store import Dek, Store
from shared.clock import Clock
from shared.db import EVERY_WORKSPACE
from shared.errors import not_found, unavailable
from shared.messages.custody import DekRotationV1, RotateDekV1
from shared.sealing import CannotOpen

TRIES = 3


class DekRotation:
    """One workspace at a time, in one transaction: a lease meanwhile sees all of the old or all of the new."""

    def __init__(self, keyring: Keyring, store: Store, audit: Audit, clock: Clock) -> None:
        self._keyring, self._store, self._audit, self._clock = keyring, store, audit, clock

    async def rotate(self, request: RotateDekV1) -> DekRotationV1:
        """Raises OmniError ``not_found`` (no data key), ``unavailable`` (KEK away, a key that cannot be opened)."""
        keys.check_workspace(request.workspace_id)
        for _ in range(TRIES):
            # KEKs are asked before anything is locked; whether that still holds is checked under the lock.
            made, plain = await self._keyring.new_dek(request.workspace_id)
            async with self._store.transaction(request.workspace_id) as rows:
                old = {dek.place.dek_id: dek for dek in await deks.lock(rows.session, request.workspace_id)}
            if not old:
                raise not_found("data key", workspace_id=request.workspace_id)
            opened = {dek_id: await self._open(dek) for dek_id, dek in old.items()}
            count = await self._replace(request, opened, made, plain)
            self._keyring.ring.look(now=True)
            if count is not None:
                return DekRotationV1(workspace_id=request.workspace_id, keys=count)
        raise unavailable("The workspace's data key is being changed by somebody else; try again shortly.")

    async def _open(self, dek: Dek) -> bytes:
        try:
            return await self._keyring.open(dek)
        except CannotOpen:
            raise unavailable("The workspace's data key cannot be opened; nothing was changed.") from None

    async def _replace(self, request: RotateDekV1, opened: Mapping[UUID, bytes], made: Dek, plain: bytes) -> int | None:
        workspace_id = request.workspace_id
        # The scope is everybody's because refused KEKs are the platform's rows; each statement names the workspace.
        async with self._store.transaction(EVERY_WORKSPACE) as rows:
            await rotation_rows.wait_for_the_end(rows.session)
            locked = {dek.place.dek_id for dek in await deks.lock(rows.session, workspace_id)}
            if locked != set(opened) or await rotation_rows.is_retired(rows.session, made.place.kek_id):
                return None
            living = await rows.living(workspace_id)
            await deks.destroy(rows.session, workspace_id, self._clock.now())
            await deks.add(rows.session, made, self._clock.now())
            for key in living:
                await rows.save(_moved(key, opened[key.dek_id], made, plain))
            root = await content_roots.locked(rows.session, workspace_id)
            if root is not None:
                await content_roots.save(rows.session, _moved_root(root, opened[root.place.dek_id], made, plain))
            facts = {"keys": len(living)}
            await self._audit.write(rows, Entry(workspace_id, Action.DEK_ROTATED, request.actor, facts=facts))
        return len(living)


def _moved(key: Key, old: bytes, made: Dek, plain: bytes) -> Key:
    try:
        secret = envelope.decrypt_key(old, key.ciphertext or b"", key.place())
    except CannotOpen:
        raise unavailable("A key of the workspace cannot be opened; nothing was changed.", key_id=str(key.id)) from None
    return encrypted(replace(key, dek_id=made.place.dek_id), plain, secret)


def _moved_root(root: Root, old: bytes, made: Dek, plain: bytes) -> Root:
    try:
        secret = envelope.decrypt_root(old, root.ciphertext, root.place)
    except CannotOpen:
        raise unavailable("The workspace's content root cannot be opened; nothing was changed.") from None
    return sealed_root(replace(root.place, dek_id=made.place.dek_id), plain, secret)
