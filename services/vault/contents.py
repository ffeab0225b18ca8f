"""Keys of stored content: given out fresh to routers, once more to people who may read, destroyed on demand.

The vault never sees content. Everything a workspace has stored hangs on its content root, which hangs on its data key.
"""

import secrets
from uuid import UUID, uuid4

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey

from services.vault import content_roots, deks
from services.vault.audit import Audit
from services.vault.connections import Connections
from services.vault.content_roots import Root
from services.vault.domain import contents, envelope, keys
from services.vault.domain.audit import Action, Entry
from services.vault.domain.envelope import RootPlace
from services.vault.domain.readers import bad_reader, reader_of
from services.vault.keyring import Keyring
from services.vault.store import Store
from shared import sealing
from shared.clock import Clock
from shared.contents import ContentPlace, key_info
from shared.errors import Code, OmniError, unavailable
from shared.messages.base import Done
from shared.messages.contents import ContentKeyV1, DestroyContentsV1, NewContentKeyV1, OpenContentKeyV1
from shared.sealing import CannotOpen

TRIES = 3


class Contents:
    """Each method answers one request, and raises OmniError as its contract says."""

    def __init__(
        self,
        connections: Connections,
        store: Store,
        keyring: Keyring,
        identity: sealing.VaultIdentity,
        audit: Audit,
        clock: Clock,
    ) -> None:
        self._connections, self._store, self._keyring = connections, store, keyring
        self._identity, self._audit, self._clock = identity, audit, clock

    async def new_key(self, request: NewContentKeyV1) -> ContentKeyV1:
        """A key nobody has had. The first one of a workspace makes its root."""
        keys.check_workspace(request.workspace_id)
        reader = reader_of(request.public_key)
        for _ in range(TRIES):
            found = await self._root(request.workspace_id)
            if found is None:
                await self._make_root(request.workspace_id)
                continue
            root_id, root = found
            place = contents.place_of(request.workspace_id, request.call_id, request.attempt_id, root_id)
            return self._given(root, secrets.token_bytes(contents.SALT_BYTES), place, reader)
        raise unavailable("The workspace's content root is being changed by somebody else; try again shortly.")

    async def open_key(self, request: OpenContentKeyV1) -> ContentKeyV1:
        """The key of a stored content, once the audit has it that ``actor`` reads it."""
        keys.check_workspace(request.workspace_id)
        reader, salt = reader_of(request.public_key), contents.parse_salt(request.salt)
        found = await self._root(request.workspace_id)
        if found is None or str(found[0]) != request.root_id:
            raise OmniError(Code.NOT_FOUND, "What this content could be opened with has been destroyed.")
        root_id, root = found
        place = contents.place_of(request.workspace_id, request.call_id, request.attempt_id, root_id)
        given = self._given(root, salt, place, reader)
        facts = {"attempt_id": place.attempt_id}
        async with self._store.transaction(request.workspace_id) as rows:
            entry = Entry(request.workspace_id, Action.CONTENT_OPENED, request.actor, facts=facts)
            await self._audit.write(rows, entry)
        return given

    async def destroy(self, request: DestroyContentsV1) -> Done:
        """Nothing the workspace has stored can be opened any more."""
        keys.check_workspace(request.workspace_id)
        async with self._store.transaction(request.workspace_id) as rows:
            if await content_roots.destroy(rows.session, request.workspace_id):
                entry = Entry(request.workspace_id, Action.CONTENTS_DESTROYED, request.actor)
                await self._audit.write(rows, entry)
        return Done()

    async def _root(self, workspace_id: int) -> tuple[UUID, bytes] | None:
        """The workspace's root in clear, None without one. Raises OmniError ``unavailable``, ``not_found``."""
        for _ in range(TRIES):
            row = await self._connections.first(workspace_id, content_roots.WITH_DEK, workspace_id)
            if row is None:
                return None
            root, dek = content_roots.root_and_dek(row)
            try:
                return root.place.root_id, envelope.decrypt_root(
                    await self._keyring.open(dek), root.ciphertext, root.place
                )
            except CannotOpen:
                continue  # a rotation may have finished since the row was read
        async with self._store.transaction(workspace_id) as rows:
            await deks.refuse_shredded(rows.session, workspace_id)
        raise unavailable("The workspace's content root cannot be opened.")

    async def _make_root(self, workspace_id: int) -> None:
        dek = await self._keyring.dek_for(workspace_id)
        place = RootPlace(workspace_id, uuid4(), dek.place.dek_id)
        try:
            plain_dek = await self._keyring.open(dek)
        except CannotOpen:
            raise unavailable("The workspace's data key cannot be opened.") from None
        root = sealed_root(place, plain_dek, secrets.token_bytes(envelope.KEY_BYTES))
        async with self._store.transaction(workspace_id) as rows:
            if await deks.hold(rows.session, dek):
                await content_roots.add(rows.session, root, self._clock.now())

    def _given(self, root: bytes, salt: bytes, place: ContentPlace, reader: X25519PublicKey) -> ContentKeyV1:
        info = key_info(place, salt)
        try:
            sealed = sealing.seal(contents.content_key(root, salt, place), reader, info)
        except ValueError:
            raise bad_reader() from None
        signature = sealing.sign(self._identity.signing, info, sealed)
        return ContentKeyV1(
            root_id=place.root_id,
            salt=sealing.encode(salt),
            sealed=sealing.encode(sealed),
            signature=sealing.encode(signature),
        )


def sealed_root(place: RootPlace, plain_dek: bytes, root: bytes) -> Root:
    """``root`` (32 bytes) encrypted for ``place`` under the 32 bytes of the data key it names."""
    salt = secrets.token_bytes(envelope.SALT_BYTES)
    return Root(place, envelope.encrypt_root(plain_dek, root, place, salt))
