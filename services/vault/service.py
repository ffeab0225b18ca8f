"""The life of a stored key, and leasing it to a router process."""

from datetime import timedelta
from uuid import UUID, uuid4

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey

from services.vault.domain import keys
from services.vault.domain.keys import Key
from services.vault.domain.masking import mask
from services.vault.keyring import Keyring
from services.vault.store import Dek, Rows, Store
from shared import logs, sealing
from shared.bus import Bus
from shared.clock import Clock
from shared.db import EVERY_WORKSPACE
from shared.errors import Code, OmniError, invalid, not_found, unavailable
from shared.messages.base import Done, Service
from shared.messages.health import PingVaultV1, ReadyV1
from shared.messages.metering import BlockedV1, BlockKeyV1
from shared.messages.vault import (
    CreateKeyV1,
    GetKeyV1,
    KeyChangedV1,
    KeysV1,
    KeyV1,
    LeaseKeyV1,
    LeaseV1,
    ListKeysV1,
    RecordVerdictV1,
    RevokeKeyV1,
    UpdateKeyV1,
)
from shared.messages.vocabulary import KeyStatus

LEASE_TTL = timedelta(seconds=30)
# Longer than metering waits for its own locks, so that a block which is committed is heard of.
BLOCK_TIMEOUT_S = 6.0


class VaultService:
    """One method per request; each raises OmniError as its contract says, and ``unavailable``."""

    def __init__(self, store: Store, keyring: Keyring, identity: sealing.VaultIdentity, bus: Bus, clock: Clock) -> None:
        self._store, self._keyring, self._identity = store, keyring, identity
        self._bus, self._clock = bus, clock
        self._log = logs.get()

    async def ping(self, _: PingVaultV1) -> ReadyV1:
        """The database answers and its keys are under our KEK."""
        await self._keyring.check_kek()
        return ReadyV1(service=Service.VAULT)

    async def create(self, request: CreateKeyV1) -> KeyV1:
        """Store a key once per ``key_id``; the same id for anything else is a ``conflict``."""
        key_id = keys.parse_new_key_id(request.key_id)
        keys.check_workspace(request.workspace_id)
        for name in ("provider", "host", "label"):
            keys.check_text(name, getattr(request, name))
        info = sealing.key_info(
            workspace_id=request.workspace_id, key_id=request.key_id, provider=request.provider, host=request.host
        )
        secret = self._received(request.sealed, info)
        dek = await self._keyring.dek_for(request.workspace_id)
        key = await self._keyring.encrypt(self._new(request, key_id, mask(secret), dek), dek, secret.encode())
        async with self._store.transaction(request.workspace_id) as rows:
            added = await rows.add(key)
        if not added:
            key = await self._repeated(key, secret.encode())
        await self._announce(key)
        return key.public()

    async def list(self, request: ListKeysV1) -> KeysV1:
        """Keys of one workspace."""
        keys.check_workspace(request.workspace_id)
        for provider in request.providers or ():
            keys.check_text("provider", provider)
        async with self._store.transaction(request.workspace_id) as rows:
            found = await rows.keys(request.workspace_id, request.providers)
        return KeysV1(items=tuple(key.public() for key in found))

    async def get(self, request: GetKeyV1) -> KeyV1:
        """One key; of any workspace when ``workspace_id`` is None."""
        scope = EVERY_WORKSPACE if request.workspace_id is None else request.workspace_id
        async with self._store.transaction(scope) as rows:
            key = await self._load(rows, request.workspace_id, request.key_id)
        return key.public()

    async def update(self, request: UpdateKeyV1) -> KeyV1:
        """Change label and scopes, and replace the secret when one is given."""
        if request.label is not None:
            keys.check_text("label", request.label)
        if (request.sealed is None) != (request.host is None):
            raise invalid("A key is bound to its destination: change host only together with the key itself.")
        if request.sealed is not None and request.host is not None:
            key = await self._replace_secret(request, request.sealed, request.host)
        else:
            async with self._store.transaction(request.workspace_id) as rows:
                key = await self._load(rows, request.workspace_id, request.key_id, lock=True)
                key = keys.changed(key, request.label, request.scopes, self._clock.now())
                await rows.save(key)
        await self._announce(key)
        return key.public()

    async def revoke(self, request: RevokeKeyV1) -> Done:
        """Block at metering, then destroy the ciphertext: no call starts with the key once this has answered."""
        async with self._store.transaction(request.workspace_id) as rows:
            key = await self._load(rows, request.workspace_id, request.key_id)
        if not key.revoked:
            await self._block(key)
            async with self._store.transaction(request.workspace_id) as rows:
                key = await self._load(rows, request.workspace_id, request.key_id, lock=True)
                key = keys.revoked(key, self._clock.now())
                await rows.save(key)
        await self._announce(key)
        return Done()

    async def record_verdict(self, request: RecordVerdictV1) -> KeyV1:
        """Write down whether the provider accepts this version of the key."""
        if request.reason is not None:
            keys.check_text("reason", request.reason)
        async with self._store.transaction(request.workspace_id) as rows:
            before = await self._load(rows, request.workspace_id, request.key_id, lock=True)
            key = keys.judged(before, request.version, request.status, request.reason, self._clock.now())
            if key != before:
                await rows.save(key)
        if key != before:
            await self._announce(key)
        return key.public()

    async def lease(self, request: LeaseKeyV1) -> LeaseV1:
        """The key, sealed to the asking router process for 30 seconds."""
        reader = _reader(request.public_key)
        async with self._store.transaction(request.workspace_id) as rows:
            found = await rows.key_with_dek(request.workspace_id, keys.parse_key_id(request.key_id))
        if found is None:
            raise not_found("key", key_id=request.key_id)
        key, dek = found
        problem = keys.may_lease(key, request)
        if problem:
            raise problem
        return await self._lease(request, reader, key, dek)

    # -- steps -----------------------------------------------------------------------------------------------

    def _new(self, request: CreateKeyV1, key_id: UUID, masked_key: str, dek: Dek) -> Key:
        now = self._clock.now()
        return Key(
            id=key_id,
            workspace_id=request.workspace_id,
            provider=request.provider,
            label=request.label,
            masked_key=masked_key,
            scopes=request.scopes,
            status=KeyStatus.UNVERIFIED,
            host=request.host,
            version=1,
            dek_id=dek.place.dek_id,
            ciphertext=None,
            created_at=now,
            updated_at=now,
        )

    async def _repeated(self, asked: Key, secret: bytes) -> Key:
        async with self._store.transaction(asked.workspace_id) as rows:
            found = await rows.key_with_dek(asked.workspace_id, asked.id)
        if found is None or not keys.same_request(found[0], asked):
            raise _taken()
        if not await self._keyring.holds(*found, secret):
            raise _taken()
        return found[0]

    async def _replace_secret(self, request: UpdateKeyV1, sealed: str, host: str) -> Key:
        keys.check_text("host", host)
        async with self._store.transaction(request.workspace_id) as rows:
            known = await self._load(rows, request.workspace_id, request.key_id)
        info = sealing.key_info(
            workspace_id=request.workspace_id, key_id=request.key_id, provider=known.provider, host=host
        )
        secret = self._received(sealed, info)
        dek = await self._keyring.dek_for(request.workspace_id)
        async with self._store.transaction(request.workspace_id) as rows:
            now = self._clock.now()
            key = await self._load(rows, request.workspace_id, request.key_id, lock=True)
            key = keys.changed(key, request.label, request.scopes, now)
            key = keys.awaiting_secret(key, masked_key=mask(secret), host=host, dek_id=dek.place.dek_id, now=now)
            key = await self._keyring.encrypt(key, dek, secret.encode())
            await rows.save(key)
        return key

    async def _lease(self, request: LeaseKeyV1, reader: X25519PublicKey, key: Key, dek: Dek) -> LeaseV1:
        lease_id, expires_at = str(uuid4()), self._clock.now() + LEASE_TTL
        info = sealing.lease_info(
            lease_id=lease_id,
            router_id=request.router_id,
            workspace_id=key.workspace_id,
            key_id=str(key.id),
            version=key.version,
            host=key.host,
            expires_at=expires_at,
        )
        secret = await self._keyring.decrypt(key, dek)
        try:
            sealed = sealing.seal(secret, reader, info)
        except ValueError:
            raise _bad_reader() from None
        return LeaseV1(
            lease_id=lease_id,
            router_id=request.router_id,
            workspace_id=key.workspace_id,
            key_id=str(key.id),
            version=key.version,
            host=key.host,
            expires_at=expires_at,
            sealed=sealing.encode(sealed),
            signature=sealing.encode(sealing.sign(self._identity.signing, info, sealed)),
        )

    def _received(self, sealed: str, info: bytes) -> str:
        try:
            raw = sealing.unseal(sealing.decode(sealed), self._identity.sealing, info)
        except (sealing.CannotOpen, ValueError):
            raise invalid("The sealed key cannot be opened; it was sealed for something else.") from None
        return keys.parse_secret(raw)

    async def _load(self, rows: Rows, workspace_id: int | None, key_id: str, *, lock: bool = False) -> Key:
        key = await rows.key(keys.parse_key_id(key_id), lock=lock)
        if key is None or workspace_id not in {None, key.workspace_id}:
            raise not_found("key", key_id=key_id)
        return key

    async def _block(self, key: Key) -> None:
        try:
            block = BlockKeyV1(workspace_id=key.workspace_id, key_id=str(key.id))
            await self._bus.request(block, BlockedV1, timeout=BLOCK_TIMEOUT_S)
        except OmniError as error:
            self._log.warning("metering did not block a key", key_id=str(key.id), code=error.code)
            detail = "The key is not revoked, but it may be blocked already; repeat the request to complete it."
            raise unavailable(detail, key_id=str(key.id)) from None

    async def _announce(self, key: Key) -> None:
        # The database is the truth and has committed: a lost announcement must not look like a failed change.
        try:
            event = KeyChangedV1(workspace_id=key.workspace_id, key_id=str(key.id), revoked=key.revoked)
            await self._bus.announce(event)
        except OmniError as error:
            self._log.warning("a changed key was not announced", key_id=str(key.id), code=error.code)


def _reader(public_key: str) -> X25519PublicKey:
    try:
        return X25519PublicKey.from_public_bytes(sealing.decode(public_key))
    except ValueError:
        raise _bad_reader() from None


def _bad_reader() -> OmniError:
    return invalid("public_key must be base64 of an X25519 public key (32 bytes).", field="public_key")


def _taken() -> OmniError:
    return OmniError(Code.CONFLICT, "Another key has this id; draw a new one.")
