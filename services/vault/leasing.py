"""Leases: the one thing the vault does on the path of every call, so it costs one round trip to the database."""

from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

from services.vault.connections import Connections
from services.vault.domain import keys
from services.vault.domain.keys import Key
from services.vault.domain.readers import bad_reader, reader_of
from services.vault.keyring import Keyring
from services.vault.store import Dek, leased
from shared import failpoints, sealing
from shared.clock import Clock
from shared.errors import not_found
from shared.messages.vault import LeaseKeyV1, LeaseV1

LEASE_TTL = timedelta(seconds=30)
# A key and exactly the data key it names, both of the workspace.
_KEY_WITH_DEK = """
    SELECT k.*, d.kek_id, d.wrapped
    FROM ai_provider_keys k JOIN workspace_deks d ON d.id = k.dek_id AND d.workspace_id = k.workspace_id
    WHERE k.id = %s AND k.workspace_id = %s
"""


class Leasing:
    """Grants leases."""

    def __init__(
        self, connections: Connections, keyring: Keyring, identity: sealing.VaultIdentity, clock: Clock
    ) -> None:
        self._connections, self._keyring, self._identity, self._clock = connections, keyring, identity, clock

    async def lease(self, request: LeaseKeyV1) -> LeaseV1:
        """The key, sealed to the asking router process for 30 seconds. Raises OmniError as the contract says."""
        failpoints.passing("vault.asked")
        reader = reader_of(request.public_key)
        key, dek = await self._found(keys.holder_of(request), keys.parse_key_id(request.key_id))
        problem = keys.may_lease(key, request)
        if problem:
            raise problem
        lease_id, expires_at = str(uuid4()), self._clock.now() + LEASE_TTL
        place: dict[str, Any] = {
            "lease_id": lease_id,
            "router_id": request.router_id,
            "workspace_id": key.workspace_id,
            "key_id": str(key.id),
            "version": key.version,
            "host": key.host,
            "expires_at": expires_at,
        }
        info = sealing.lease_info(**place)
        secret = await self._keyring.decrypt(key, dek)
        try:
            sealed = sealing.seal(secret, reader, info)
        except ValueError:
            raise bad_reader() from None
        signature = sealing.encode(sealing.sign(self._identity.signing, info, sealed))
        failpoints.passing("vault.leased")
        return LeaseV1(**place, sealed=sealing.encode(sealed), signature=signature)

    async def _found(self, workspace_id: int, key_id: UUID) -> tuple[Key, Dek]:
        row = await self._connections.first(workspace_id, _KEY_WITH_DEK, key_id, workspace_id)
        if row is None:
            raise not_found("key", key_id=str(key_id))
        return leased(row)
