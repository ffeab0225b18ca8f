"""The life of a stored key: created, changed, judged, revoked. Leasing it has a room of its own (``leasing.py``)."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TypeVar
from uuid import UUID

from services.vault import alerts, deks
from services.vault.audit import Audit
from services.vault.domain import audit, keys
from services.vault.domain.audit import Action, Entry, Fact
from services.vault.domain.keys import Key
from services.vault.domain.masking import mask
from services.vault.keyring import Keyring
from services.vault.revocation import Revocation
from services.vault.store import Dek, Rows, Store
from shared import sealing
from shared.clock import Clock
from shared.db import EVERY_WORKSPACE
from shared.errors import Code, OmniError, invalid, not_found, unavailable
from shared.messages.base import Done, Service
from shared.messages.custody import ActorV1
from shared.messages.health import PingVaultV1, ReadyV1
from shared.messages.vault import (
    CreateKeyV1,
    GetKeyV1,
    KeysV1,
    KeyV1,
    ListKeysV1,
    RecordVerdictV1,
    RevokeKeyV1,
    UpdateKeyV1,
)
from shared.messages.vocabulary import PLATFORM_WORKSPACE, KeyStatus

# A workspace's data key may be replaced while a secret is being encrypted with it.
TRIES = 3
_EDGE, _ROUTER = audit.by_service(Service.API), audit.by_service(Service.ROUTER)
T = TypeVar("T")


class VaultService:
    """One method per request; each raises OmniError as its contract says, and ``unavailable``.

    It serves the keys of workspaces, or those of the platform (``platform``), and to each the others do not exist.
    Every change is in the audit, in the same transaction. Locks are taken in the order data key, key, audit's head.
    """

    def __init__(
        self,
        store: Store,
        keyring: Keyring,
        identity: sealing.VaultIdentity,
        written: Audit,
        revocation: Revocation,
        clock: Clock,
        alerted: Callable[[], None] = lambda: None,
        *,
        platform: bool = False,
    ) -> None:
        """``alerted``: called when alerts wait to be published."""
        self._store, self._keyring, self._identity = store, keyring, identity
        self._audit, self._revocation, self._clock, self._alerted = written, revocation, clock, alerted
        self._platform = platform

    async def ping(self, _: PingVaultV1) -> ReadyV1:
        """The database answers and its keys are under our KEKs."""
        await self._keyring.check_kek()
        return ReadyV1(service=Service.VAULT)

    async def create(self, request: CreateKeyV1) -> KeyV1:
        """Store a key once per ``key_id``; the same id for anything else is a ``conflict``."""
        key_id = keys.parse_new_key_id(request.key_id)
        self._check_workspace(request.workspace_id)
        for name in ("provider", "host", "label"):
            keys.check_text(name, getattr(request, name))
        keys.check_restrictions(request.restrictions)
        info = sealing.key_info(
            workspace_id=request.workspace_id, key_id=request.key_id, provider=request.provider, host=request.host
        )
        secret = self._received(request.sealed, info)

        async def store(dek: Dek) -> tuple[Key, bool] | None:
            fresh = self._new(request, key_id, mask(secret), dek)
            key = await self._keyring.encrypt(fresh, dek, secret.encode())
            added = await self._add(key, dek, request.actor or _EDGE)
            return None if added is None else (key, added)

        key, added = await self._under_active_dek(request.workspace_id, store)
        if not added:
            key = await self._repeated(key, secret.encode())
        await self._announce(key)
        return key.public()

    async def list(self, request: ListKeysV1) -> KeysV1:
        """Keys of one workspace."""
        self._check_workspace(request.workspace_id)
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
        """Change label, scopes and restrictions, and replace the secret when one is given."""
        if request.label is not None:
            keys.check_text("label", request.label)
        if request.restrictions is not None:
            keys.check_restrictions(request.restrictions)
        if (request.sealed is None) != (request.host is None):
            raise invalid("A key is bound to its destination: change host only together with the key itself.")
        if request.sealed is not None and request.host is not None:
            key = await self._replace_secret(request, request.sealed, request.host)
        else:
            async with self._store.transaction(request.workspace_id) as rows:
                before = await self._load(rows, request.workspace_id, request.key_id, lock=True)
                key = await self._changed(rows, before, request)
                if key != before:
                    await rows.save(key)
        await self._announce(key)
        return key.public()

    async def revoke(self, request: RevokeKeyV1) -> Done:
        """Block at metering, destroy the ciphertext, and wait until nothing runs with the key."""
        async with self._store.transaction(request.workspace_id) as rows:
            key = await self._load(rows, request.workspace_id, request.key_id)
        block = await self._revocation.block(key.workspace_id, (key.id,))
        async with self._store.transaction(request.workspace_id) as rows:
            before = await self._load(rows, request.workspace_id, request.key_id, lock=True)
            key = keys.revoked(before, self._clock.now())
            if key != before:
                await rows.save(key)
                await self._note(rows, key, Action.KEY_REVOKED, request.actor or _EDGE, {"version": key.version})
        await self._announce(key)
        await self._revocation.quiet(block)
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
            if (key.status, key.status_reason) != (before.status, before.status_reason):
                await self._note_verdict(rows, key, request)
            if keys.stopped_working(before, key):
                await alerts.raise_alert(rows, key, self._clock.now())
        if keys.stopped_working(before, key):
            self._alerted()
        if key != before:
            await self._announce(key)
        return key.public()

    # -- creating --------------------------------------------------------------------------------------------

    def _new(self, request: CreateKeyV1, key_id: UUID, masked_key: str, dek: Dek) -> Key:
        now = self._clock.now()
        return Key(
            id=key_id,
            workspace_id=request.workspace_id,
            provider=request.provider,
            label=request.label,
            masked_key=masked_key,
            scopes=request.scopes,
            restrictions=request.restrictions,
            status=KeyStatus.UNVERIFIED,
            host=request.host,
            version=1,
            dek_id=dek.place.dek_id,
            ciphertext=None,
            created_at=now,
            updated_at=now,
        )

    async def _add(self, key: Key, dek: Dek, actor: ActorV1) -> bool | None:
        async with self._store.transaction(key.workspace_id) as rows:
            if not await deks.hold(rows.session, dek):
                return None
            added = await rows.add(key)
            if added:
                await self._note(rows, key, Action.KEY_CREATED, actor, audit.beginning(key))
        return added

    async def _repeated(self, asked: Key, secret: bytes) -> Key:
        async with self._store.transaction(asked.workspace_id) as rows:
            found = await rows.key_with_dek(asked.workspace_id, asked.id)
        if found is None or not keys.same_request(found[0], asked):
            raise _taken()
        if not await self._keyring.holds(*found, secret):
            raise _taken()
        return found[0]

    # -- changing --------------------------------------------------------------------------------------------

    async def _changed(self, rows: Rows, before: Key, request: UpdateKeyV1) -> Key:
        now = self._clock.now()
        key = keys.changed(before, request.label, request.scopes, request.restrictions, now)
        facts = audit.differences(before, key)
        if facts:
            await self._note(rows, key, Action.KEY_CHANGED, request.actor or _EDGE, facts)
        return key

    async def _replace_secret(self, request: UpdateKeyV1, sealed: str, host: str) -> Key:
        keys.check_text("host", host)
        async with self._store.transaction(request.workspace_id) as rows:
            known = await self._load(rows, request.workspace_id, request.key_id)
        info = sealing.key_info(
            workspace_id=request.workspace_id, key_id=request.key_id, provider=known.provider, host=host
        )
        secret = self._received(sealed, info)

        async def store(dek: Dek) -> Key | None:
            async with self._store.transaction(request.workspace_id) as rows:
                read = await self._load(rows, request.workspace_id, request.key_id)
            now, masked = self._clock.now(), mask(secret)
            fresh = keys.awaiting_secret(read, masked_key=masked, host=host, dek_id=dek.place.dek_id, now=now)
            # Encrypted before anything is locked: a key service may take its time.
            return await self._save_secret(request, await self._keyring.encrypt(fresh, dek, secret.encode()), dek)

        return await self._under_active_dek(request.workspace_id, store)

    async def _save_secret(self, request: UpdateKeyV1, fresh: Key, dek: Dek) -> Key | None:
        async with self._store.transaction(request.workspace_id) as rows:
            if not await deks.hold(rows.session, dek):
                return None
            before = await self._load(rows, request.workspace_id, request.key_id, lock=True)
            if not before.revoked and before.version + 1 != fresh.version:
                return None
            changed = await self._changed(rows, before, request)
            key = replace(fresh, label=changed.label, scopes=changed.scopes, restrictions=changed.restrictions)
            await rows.save(key)
            facts: dict[str, Fact] = {"version": key.version, "host": key.host}
            await self._note(rows, key, Action.SECRET_REPLACED, request.actor or _EDGE, facts)
        return key

    # -- steps -----------------------------------------------------------------------------------------------

    async def _under_active_dek(self, workspace_id: int, store: Callable[[Dek], Awaitable[T | None]]) -> T:
        for _ in range(TRIES):
            done = await store(await self._keyring.dek_for(workspace_id))
            if done is not None:
                return done
        raise unavailable("The workspace's keys are being changed by somebody else; try again shortly.")

    def _received(self, sealed: str, info: bytes) -> str:
        try:
            raw = sealing.unseal(sealing.decode(sealed), self._identity.sealing, info)
        except (sealing.CannotOpen, ValueError):
            raise invalid("The sealed key cannot be opened; it was sealed for something else.") from None
        return keys.parse_secret(raw)

    async def _load(self, rows: Rows, workspace_id: int | None, key_id: str, *, lock: bool = False) -> Key:
        key = await rows.key(keys.parse_key_id(key_id), lock=lock)
        if key is None or workspace_id not in {None, key.workspace_id} or not self._serves(key.workspace_id):
            raise not_found("key", key_id=key_id)
        return key

    def _serves(self, workspace_id: int) -> bool:
        return (workspace_id == PLATFORM_WORKSPACE) is self._platform

    def _check_workspace(self, workspace_id: int) -> None:
        if not self._platform:
            keys.check_workspace(workspace_id)
        elif not self._serves(workspace_id):
            raise not_found("workspace", workspace_id=workspace_id)

    async def _note(self, rows: Rows, key: Key, action: Action, actor: ActorV1, facts: dict[str, Fact]) -> None:
        await self._audit.write(rows, Entry(key.workspace_id, action, actor, key.id, facts))

    async def _note_verdict(self, rows: Rows, key: Key, request: RecordVerdictV1) -> None:
        actions = {KeyStatus.ACTIVE: Action.KEY_VERIFIED, KeyStatus.INVALID: Action.KEY_REFUSED}
        action = actions.get(request.status)
        if action:
            facts: dict[str, Fact] = {
                "version": request.version,
                "source": request.source,
                "reason": request.reason,
            }
            await self._note(rows, key, action, _ROUTER, facts)

    async def _announce(self, key: Key) -> None:
        await self._revocation.announce(key.workspace_id, key.id, revoked=key.revoked)


def _taken() -> OmniError:
    return OmniError(Code.CONFLICT, "Another key has this id; draw a new one.")
