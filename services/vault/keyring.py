"""The way from KEK over a workspace's DEK to a key, and back. Plaintext only passes through local variables here."""

import hmac
import secrets
from dataclasses import replace
from uuid import uuid4

from services.vault.domain import envelope
from services.vault.domain.envelope import DekPlace, Kek
from services.vault.domain.keys import Key
from services.vault.store import Dek, Store
from shared import logs
from shared.clock import Clock
from shared.db import EVERY_WORKSPACE
from shared.errors import OmniError, unavailable
from shared.sealing import CannotOpen


class Keyring:
    """Encrypts and decrypts stored keys."""

    def __init__(self, kek: Kek, store: Store, clock: Clock) -> None:
        self._kek, self._store, self._clock = kek, store, clock
        self._log = logs.get()

    async def check_kek(self) -> None:
        """Raises OmniError ``unavailable`` when stored keys exist but none of them is under the KEK in use."""
        async with self._store.transaction(EVERY_WORKSPACE) as rows:
            known = await rows.kek_ids()
        if known and self._kek.id not in known:
            raise unavailable("AI_ENCRYPTION_KEY is not the one the stored keys are encrypted with; restore it.")

    async def dek_for(self, workspace_id: int) -> Dek:
        """The workspace's active DEK; the first key of a workspace makes one, however many come at once."""
        async with self._store.transaction(workspace_id) as rows:
            found = await rows.active_dek(workspace_id)
        if found:
            return found
        place = DekPlace(workspace_id, uuid4(), self._kek.id)
        made = Dek(place, await self._kek.wrap(secrets.token_bytes(envelope.KEY_BYTES), place))
        async with self._store.transaction(workspace_id) as rows:
            await rows.add_dek(made, self._clock.now())
            return await rows.active_dek(workspace_id) or made

    async def encrypt(self, key: Key, dek: Dek, secret: bytes) -> Key:
        """``key`` with ``secret`` encrypted under ``dek`` for exactly its place. Raises OmniError ``unavailable``."""
        plain_dek = await self._unwrap(key, dek)
        salt = secrets.token_bytes(envelope.SALT_BYTES)
        return replace(key, ciphertext=envelope.encrypt_key(plain_dek, secret, key.place(), salt))

    async def decrypt(self, key: Key, dek: Dek) -> bytes:
        """The secret of ``key``. Raises OmniError ``unavailable`` when it cannot be opened, whatever the cause."""
        plain_dek = await self._unwrap(key, dek)
        try:
            return envelope.decrypt_key(plain_dek, key.ciphertext or b"", key.place())
        except CannotOpen:
            raise self._cannot_open(key) from None

    async def holds(self, key: Key, dek: Dek, secret: bytes) -> bool:
        """Whether ``secret`` is what ``key`` holds."""
        return hmac.compare_digest(await self.decrypt(key, dek), secret)

    async def _unwrap(self, key: Key, dek: Dek) -> bytes:
        place = dek.place
        if (place.dek_id, place.workspace_id, place.kek_id) != (key.dek_id, key.workspace_id, self._kek.id):
            raise self._cannot_open(key)
        try:
            return await self._kek.unwrap(dek.wrapped, place)
        except CannotOpen:
            raise self._cannot_open(key) from None

    def _cannot_open(self, key: Key) -> OmniError:
        self._log.error("a stored key cannot be opened", key_id=str(key.id), workspace_id=key.workspace_id)
        return unavailable("This key cannot be opened. If this stays so, enter it again.", key_id=str(key.id))
