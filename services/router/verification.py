"""Is a key accepted? Asked of the provider by a call that costs nothing, or learned from a refusal in live traffic."""

from contextlib import suppress

from services.router.catalogue import Catalogue, Entry
from services.router.client import ProviderClient
from services.router.keys import Leases, Wanted
from services.router.providers.base import Adapter, Failure
from shared.bus import Bus
from shared.errors import OmniError
from shared.messages.router import VerdictV1, VerifyKeyV1
from shared.messages.vault import GetKeyV1, KeyV1, RecordVerdictV1
from shared.messages.vocabulary import KeyStatus, Modality

CONNECT_S = 3.0
FIRST_BYTE_S = 10.0
TOTAL_S = 12.0
REFUSED = "refused_by_provider"


class Verdicts:
    """Finds out about keys and tells the vault."""

    def __init__(self, bus: Bus, catalogue: Catalogue, leases: Leases, client: ProviderClient) -> None:
        self._bus, self._catalogue, self._leases, self._client = bus, catalogue, leases, client

    async def verify(self, request: VerifyKeyV1) -> VerdictV1:
        """Ask the provider, tell the vault. Raises OmniError ``not_found``, or the vault's refusal of a lease."""
        key = await self._bus.request(GetKeyV1(workspace_id=request.workspace_id, key_id=request.key_id), KeyV1)
        verdict = await self._ask(key)
        if verdict.status is not KeyStatus.UNVERIFIED or key.status is KeyStatus.UNVERIFIED:
            # An unreachable provider takes nothing back that was known before.
            await self._tell(key.workspace_id, key.id, key.version, verdict)
        return verdict

    async def refused(self, workspace_id: int, key_id: str, version: int) -> None:
        """A provider has refused the key in a call: mark it, so that its owner sees why and no call tries it again."""
        with suppress(OmniError):
            await self._tell(workspace_id, key_id, version, VerdictV1(status=KeyStatus.INVALID, reason=REFUSED))

    async def _ask(self, key: KeyV1) -> VerdictV1:
        entry = (await self._catalogue.entries()).get(key.provider)
        if entry is None or entry.adapter is None:
            return VerdictV1(status=KeyStatus.UNVERIFIED, reason="no_adapter_yet")
        if entry.offer.host != key.host:
            return VerdictV1(status=KeyStatus.INVALID, reason="provider_address_changed")
        wanted = Wanted(key.workspace_id, key.id, key.version, key.host, Modality.TEXT, verifying=True)
        secret = await self._leases.key(wanted)
        return await self._judge(entry, entry.adapter, secret)

    async def _judge(self, entry: Entry, adapter: Adapter, secret: bytes) -> VerdictV1:
        delivery = await self._client.send(
            entry.row.base_url,
            adapter.verification,
            adapter.auth(secret.decode()),
            connect_s=CONNECT_S,
            first_byte_s=FIRST_BYTE_S,
            total_s=TOTAL_S,
        )
        if isinstance(delivery.result, Failure):
            return VerdictV1(status=KeyStatus.UNVERIFIED, reason="provider_unreachable")
        status, reason = adapter.judge(delivery.result)
        return VerdictV1(status=status, reason=reason)

    async def _tell(self, workspace_id: int, key_id: str, version: int, verdict: VerdictV1) -> None:
        record = RecordVerdictV1(
            workspace_id=workspace_id, key_id=key_id, version=version, status=verdict.status, reason=verdict.reason
        )
        await self._bus.request(record, KeyV1)
