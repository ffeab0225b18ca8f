"""The way from KEK over a workspace's DEK to a key, and back. Plaintext only passes through local variables here."""

import hmac
import secrets
from dataclasses import replace
from uuid import uuid4

from services.vault import deks, rotation_rows
from services.vault.domain import envelope
from services.vault.domain.envelope import DekPlace, Kek
from services.vault.domain.keys import Key
from services.vault.keks.ring import Ring
from services.vault.store import Dek, Store
from shared import logs
from shared.clock import Clock
from shared.db import EVERY_WORKSPACE
from shared.errors import OmniError, unavailable
from shared.sealing import CannotOpen

_ROTATED_AWAY = (
    "The vault's active key-encryption key was rotated away and is refused; make the one it was rotated to the "
    "active one (AI_ENCRYPTION_KEY, or the first line of VAULT_KEKS_FILE)."
)


class Keyring:
    """Encrypts and decrypts stored keys. Every method raises OmniError ``unavailable`` when a KEK is away."""

    def __init__(self, ring: Ring, store: Store, clock: Clock) -> None:
        self.ring, self._store, self._clock = ring, store, clock
        self._log = logs.get()

    # -- KEKs ------------------------------------------------------------------------------------------------

    async def check_kek(self) -> set[str]:
        """The KEKs in use that the vault does not know: their data keys cannot be opened.

        Raises OmniError ``unavailable`` when it knows none of those in use, or its active one is refused.
        """
        async with self._store.transaction(EVERY_WORKSPACE) as rows:
            used, gone = await deks.kek_ids(rows.session), await rotation_rows.retired(rows.session)
        self.ring.look(now=True)
        known = self.ring.ids
        if known[0] in gone:
            raise unavailable(_ROTATED_AWAY)
        if used and not used.intersection(known) - gone:
            raise unavailable(
                "AI_ENCRYPTION_KEY is not the one the stored keys are encrypted with; restore it, "
                "or name it in VAULT_KEKS_FILE or AI_ENCRYPTION_KEY_PREVIOUS."
            )
        return used - gone - set(known)

    async def report_unknown(self) -> None:
        """``check_kek``, and write to the log how many data keys cannot be opened."""
        unknown = await self.check_kek()
        if unknown:
            async with self._store.transaction(EVERY_WORKSPACE) as rows:
                lost = await deks.count(rows.session, unknown)
            self._log.error("data keys are under a key-encryption key the vault does not have", count=lost)

    # -- DEKs ------------------------------------------------------------------------------------------------

    async def dek_for(self, workspace_id: int) -> Dek:
        """The workspace's active DEK; the first key of a workspace makes one, however many come at once.

        Raises OmniError ``not_found`` when the workspace has been shredded.
        """
        async with self._store.transaction(workspace_id) as rows:
            found = await deks.active(rows.session, workspace_id)
        if found:
            return found
        return await self._first_dek(workspace_id)

    async def _first_dek(self, workspace_id: int) -> Dek:
        made, _ = await self.new_dek(workspace_id)
        async with self._store.transaction(EVERY_WORKSPACE) as rows:
            await rotation_rows.wait_for_the_end(rows.session)
            if not await rotation_rows.is_retired(rows.session, made.place.kek_id):
                await deks.add(rows.session, made, self._clock.now())
                return await deks.active(rows.session, workspace_id) or made
        # A rotation has just finished that we have not heard of: look who is active now.
        self.ring.look(now=True)
        if self.ring.active.id == made.place.kek_id:
            raise unavailable(_ROTATED_AWAY)
        return await self._first_dek(workspace_id)

    async def new_dek(self, workspace_id: int) -> tuple[Dek, bytes]:
        """A new DEK under the active KEK, and its 32 bytes; not stored yet."""
        kek = self.ring.active
        plain = secrets.token_bytes(envelope.KEY_BYTES)
        place = DekPlace(workspace_id, uuid4(), kek.id)
        return Dek(place, await self.wrap(kek, plain, place)), plain

    async def wrap(self, kek: Kek, plain: bytes, place: DekPlace) -> bytes:
        """``plain`` under ``kek``, opened again to be sure: what is lost here is lost for good."""
        wrapped = await kek.wrap(plain, place)
        try:
            whole = hmac.compare_digest(await kek.unwrap(wrapped, place), plain)
        except CannotOpen:
            whole = False
        if not whole:
            self._log.error("a key-encryption key does not open what it has wrapped", name=kek.id)
            raise unavailable("The key-encryption key does not open what it has wrapped; nothing was changed.")
        return wrapped

    async def unwrap(self, dek: Dek) -> bytes:
        """The 32 bytes of a DEK, under whatever KEK of ours it is. Raises CannotOpen."""
        kek = self.ring.find(dek.place.kek_id)
        if kek is None or not dek.wrapped:
            raise CannotOpen
        return await kek.unwrap(dek.wrapped, dek.place)

    async def open(self, dek: Dek) -> bytes:
        """The 32 bytes of a DEK, unless its KEK is refused. Raises CannotOpen."""
        # The active KEK is not looked up on every call: `rotation.py` ends a vault whose active KEK is refused.
        if dek.place.kek_id != self.ring.active.id:
            async with self._store.transaction(EVERY_WORKSPACE) as rows:
                if await rotation_rows.is_retired(rows.session, dek.place.kek_id):
                    raise CannotOpen
        return await self.unwrap(dek)

    # -- keys ------------------------------------------------------------------------------------------------

    async def encrypt(self, key: Key, dek: Dek, secret: bytes) -> Key:
        """``key`` with ``secret`` encrypted under ``dek`` for exactly its place."""
        try:
            _must_match(key, dek)
            return encrypted(key, await self.open(dek), secret)
        except CannotOpen:
            raise self._cannot_open(key) from None

    async def decrypt(self, key: Key, dek: Dek) -> bytes:
        """The secret of ``key``. Raises OmniError ``unavailable`` when it cannot be opened, whatever the cause."""
        try:
            return await self._decrypt(key, dek)
        except CannotOpen:
            again = await self._again(key)
        if again is None or again == (key, dek):
            raise self._cannot_open(key)
        try:
            return await self._decrypt(*again)
        except CannotOpen:
            raise self._cannot_open(key) from None

    async def holds(self, key: Key, dek: Dek, secret: bytes) -> bool:
        """Whether ``secret`` is what ``key`` holds."""
        return hmac.compare_digest(await self.decrypt(key, dek), secret)

    async def _decrypt(self, key: Key, dek: Dek) -> bytes:
        _must_match(key, dek)
        return envelope.decrypt_key(await self.open(dek), key.ciphertext or b"", key.place())

    async def _again(self, key: Key) -> tuple[Key, Dek] | None:
        # A rotation may have finished since these rows were read: then the KEK they are under is refused by now.
        async with self._store.transaction(key.workspace_id) as rows:
            found = await rows.key_with_dek(key.workspace_id, key.id)
        same = found is not None and (found[0].version, found[0].host) == (key.version, key.host)
        return found if same else None

    def _cannot_open(self, key: Key) -> OmniError:
        self._log.error("a stored key cannot be opened", key_id=str(key.id), workspace_id=key.workspace_id)
        return unavailable("This key cannot be opened. If this stays so, enter it again.", key_id=str(key.id))


def encrypted(key: Key, plain_dek: bytes, secret: bytes) -> Key:
    """``key`` with ``secret`` encrypted for its place, under the 32 bytes of the DEK it names."""
    salt = secrets.token_bytes(envelope.SALT_BYTES)
    return replace(key, ciphertext=envelope.encrypt_key(plain_dek, secret, key.place(), salt))


def _must_match(key: Key, dek: Dek) -> None:
    if (dek.place.dek_id, dek.place.workspace_id) != (key.dek_id, key.workspace_id):
        raise CannotOpen
